//! What the graphs show: for each period of the window a stack of layers.

use super::app::Window;
use super::plot;
use super::theme::Theme;
use crate::model::{History, Line, Point, Process, SizeClass};
use crate::view::format::{bytes, short};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

pub(super) use super::plot::LEAST_ROWS;

/// The upper edges of three layers, the lowest first.
pub(super) type Edges = [f64; 3];

/// A graph over time.
pub(super) struct Graph {
    /// What it shows.
    pub(super) title: &'static str,
    /// The layers that are used, with their names and last values.
    pub(super) legend: Vec<(usize, &'static str, String)>,
    /// One for every period of the window, oldest first; `None` where nothing is known.
    pub(super) periods: Vec<Option<Edges>>,
    /// Values as text.
    pub(super) show: fn(f64) -> String,
    /// How far back it reaches, in words.
    pub(super) span: &'static str,
}

impl Window {
    /// In seconds, and in words.
    fn span(self) -> (u64, &'static str) {
        match self {
            Self::TwoMinutes => (120, "2 min"),
            Self::TenMinutes => (600, "10 min"),
            Self::HalfHour => (1800, "30 min"),
            Self::TwoHours => (7200, "2 h"),
            Self::Day => (86_400, "24 h"),
            Self::Week => (604_800, "7 d"),
        }
    }

    /// As the screen's top line has it.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::TwoMinutes => "2m",
            Self::TenMinutes => "10m",
            Self::HalfHour => "30m",
            Self::TwoHours => "2h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }

    /// The ring that covers it, the number of its periods, and the seconds of one.
    fn ring(self, history: &History) -> (&[Point], usize, f64) {
        let (seconds, _) = self.span();
        let (ring, period) = match self {
            Self::TwoMinutes => (&history.seconds, 1),
            Self::TenMinutes | Self::HalfHour | Self::TwoHours => (&history.minutes, 60),
            Self::Day | Self::Week => (&history.hours, 3600),
        };
        (ring, (seconds / period) as usize, period as f64)
    }
}

impl Graph {
    /// Requested, allocated and pinned bytes.
    pub(super) fn of_bytes(process: &Process, window: Window) -> Self {
        let nothing = History::default();
        let (points, slots, _) = window.ring(process.history.as_ref().unwrap_or(&nothing));
        let edges = |requested: u64, allocated: u64, pinned: u64| {
            let allocated = allocated.max(requested);
            [requested as f64, allocated as f64, allocated.saturating_add(pinned) as f64]
        };
        let totals = &process.totals;
        let now = match (totals.requested_bytes, totals.allocated_bytes, totals.pinned_bytes) {
            (Some(requested), Some(allocated), Some(pinned)) => Some(edges(requested, allocated, pinned)),
            _ => None,
        };
        let past =
            points.iter().map(|point| Some(edges(point.requested_bytes, point.allocated_bytes, point.pinned_bytes)));
        let value = |layer: usize| now.map_or("-".to_owned(), |edges| bytes(edges[layer] as u64));
        Self {
            title: "bytes",
            legend: vec![(0, "req", value(0)), (1, "alloc", value(1)), (2, "+pinned", value(2))],
            periods: aligned(past.chain([now]), slots),
            show: |value| bytes(value as u64),
            span: window.span().1,
        }
    }

    /// Allocations and frees per second: what there was of both, and what there was more of one.
    pub(super) fn of_rates(process: &Process, window: Window) -> Self {
        let nothing = History::default();
        let (points, slots, seconds) = window.ring(process.history.as_ref().unwrap_or(&nothing));
        let edges = |allocated: f64, freed: f64| {
            let (both, most) = (allocated.min(freed), allocated.max(freed));
            // The second layer is of allocations alone, the third of frees alone: one of them is empty.
            if allocated >= freed { [both, most, most] } else { [both, both, most] }
        };
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let past = points.windows(2).map(|pair| {
            Some(edges(rate(pair[1].allocations, pair[0].allocations), rate(pair[1].frees, pair[0].frees)))
        });
        let (allocated, freed) = (process.rates.allocations_per_second, process.rates.frees_per_second);
        let now = allocated.zip(freed).map(|(allocated, freed)| edges(allocated, freed));
        let value = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| short(rate).replace(' ', ""));
        Self {
            title: "calls/s",
            legend: vec![(1, "alloc", value(allocated)), (2, "free", value(freed)), (0, "both", String::new())],
            periods: aligned(past.chain([now]), slots),
            show: |value| short(value).replace(' ', ""),
            span: window.span().1,
        }
    }

    /// Allocated and pinned bytes of one class: by the minute, or at the last looks where the window is short.
    pub(super) fn of_class(process: &Process, class: &SizeClass, window: Window) -> Self {
        let edges = |allocated: u64, pinned: u64| {
            let both = allocated.saturating_add(pinned) as f64;
            Some([allocated as f64, both, both])
        };
        let now = edges(class.allocated_bytes, class.pinned_bytes);
        let history = process.class_history.as_ref().and_then(|history| history.of(Line::class(class.block_size)));
        let (periods, span) = match (window, history) {
            (Window::TwoMinutes, _) | (_, None) => {
                let looks = class.recent_bytes.iter().map(|&allocated| edges(allocated, 0));
                (aligned(looks, 60), "60 looks")
            }
            (_, Some(series)) => {
                let past = series.allocated_bytes.iter().zip(&series.pinned_bytes);
                let past = past.map(|(&allocated, &pinned)| edges(allocated, pinned));
                let (seconds, span) = window.span();
                let minutes = (seconds / 60).min(120) as usize;
                (aligned(past.chain([now]), minutes), if minutes == 120 { "2 h" } else { span })
            }
        };
        Self {
            title: "bytes",
            legend: vec![(0, "allocated", bytes(class.allocated_bytes)), (1, "pinned", bytes(class.pinned_bytes))],
            periods,
            show: |value| bytes(value as u64),
            span,
        }
    }

    /// Draws it; nothing where there is too little room.
    pub(super) fn draw(&self, buffer: &mut Buffer, area: Rect, theme: &Theme) {
        plot::draw(buffer, area, self, theme);
    }
}

/// Columns from which two graphs stand side by side, unless there are rows for both.
const SIDE_BY_SIDE: u16 = 70;

/// Draws the graph of bytes, and that of rates where there is room for both.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, process: &Process, window: Window, theme: &Theme) {
    let (of_bytes, of_rates) = (Graph::of_bytes(process, window), Graph::of_rates(process, window));
    if area.height >= 2 * LEAST_ROWS + 4 {
        let upper = Rect { height: (area.height * 3).div_ceil(5), ..area };
        let lower = Rect { y: area.y + upper.height, height: area.height - upper.height, ..area };
        of_bytes.draw(buffer, upper, theme);
        of_rates.draw(buffer, lower, theme);
    } else if area.width >= SIDE_BY_SIDE {
        let left = Rect { width: area.width / 2, ..area };
        let right = Rect { x: area.x + left.width + 1, width: area.width - left.width - 1, ..area };
        of_bytes.draw(buffer, left, theme);
        of_rates.draw(buffer, right, theme);
    } else {
        of_bytes.draw(buffer, area, theme);
    }
}

/// The last `slots` periods; the time before the first is unknown.
fn aligned(periods: impl Iterator<Item = Option<Edges>>, slots: usize) -> Vec<Option<Edges>> {
    let mut all: Vec<_> = periods.collect();
    all.drain(..all.len().saturating_sub(slots));
    let mut aligned = vec![None; slots - all.len()];
    aligned.append(&mut all);
    aligned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_before_the_first_point_stays_empty() {
        let periods = aligned([Some([1.0; 3])].into_iter(), 3);
        assert_eq!(periods, [None, None, Some([1.0; 3])]);
        assert_eq!(aligned((0..5).map(|n| Some([f64::from(n); 3])), 2).len(), 2);
    }
}
