//! Graphs over time from the history rings: stacked columns, from zero, with the last value in figures.

use super::app::Window;
use super::table::put;
use super::theme::Theme;
use crate::model::{History, Point, Process};
use crate::view::format::{bytes, short};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Rows below which a graph says nothing.
pub(super) const LEAST_ROWS: u16 = 4;
/// Columns left of the graph, for the scale.
const SCALE: u16 = 10;

/// What a graph shows: for every period of the window the upper edges of its layers, oldest first; `None` where
/// nothing is known.
struct Graph {
    title: &'static str,
    layers: &'static [&'static str],
    periods: Vec<Option<[f64; 3]>>,
    show: fn(f64) -> String,
    span: &'static str,
}

impl Window {
    /// Its ring, the number of periods, the seconds of one, and the whole in words.
    fn ring(self, history: &History) -> (&[Point], usize, f64, &'static str) {
        match self {
            Self::Minutes => (&history.seconds, 120, 1.0, "2 min"),
            Self::Hours => (&history.minutes, 120, 60.0, "2 h"),
            Self::Days => (&history.hours, 168, 3600.0, "7 d"),
        }
    }
}

/// Draws the graph of bytes, and that of allocations where there is room for both.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, process: &Process, window: Window, theme: &Theme) {
    if area.height < LEAST_ROWS || area.width < SCALE + 10 {
        return;
    }
    let nothing = History::default();
    let history = process.history.as_ref().unwrap_or(&nothing);
    if area.height < 2 * LEAST_ROWS + 3 {
        return render(buffer, area, &bytes_graph(process, history, window), theme);
    }
    let upper = Rect { height: (area.height * 3).div_ceil(5), ..area };
    let lower = Rect { y: area.y + upper.height, height: area.height - upper.height, ..area };
    render(buffer, upper, &bytes_graph(process, history, window), theme);
    render(buffer, lower, &rate_graph(process, history, window), theme);
}

fn bytes_graph(process: &Process, history: &History, window: Window) -> Graph {
    let (points, slots, _, span) = window.ring(history);
    let edges = |requested: u64, allocated: u64, pinned: u64| {
        let allocated = allocated.max(requested);
        [requested as f64, allocated as f64, allocated.saturating_add(pinned) as f64]
    };
    let totals = &process.totals;
    let now = totals.requested_bytes.zip(totals.allocated_bytes);
    let now = now.map(|(requested, allocated)| edges(requested, allocated, totals.pinned_bytes.unwrap_or(0)));
    let past = points.iter().map(|point| Some(edges(point.requested_bytes, point.allocated_bytes, point.pinned_bytes)));
    Graph {
        title: "bytes",
        layers: &["requested", "allocated", "with pinned"],
        periods: aligned(past.chain([now]), slots),
        show: |value| bytes(value as u64),
        span,
    }
}

fn rate_graph(process: &Process, history: &History, window: Window) -> Graph {
    let (points, slots, seconds, span) = window.ring(history);
    let past = points.windows(2).map(|pair| {
        let rate = pair[1].allocations.saturating_sub(pair[0].allocations) as f64 / seconds;
        Some([rate; 3])
    });
    let now = process.rates.allocations_per_second.map(|rate| [rate.max(0.0); 3]);
    Graph {
        title: "allocations per second",
        layers: &["allocations"],
        periods: aligned(past.chain([now]), slots),
        show: short,
        span,
    }
}

/// The last `slots` periods; the time before the first is unknown.
fn aligned(periods: impl Iterator<Item = Option<[f64; 3]>>, slots: usize) -> Vec<Option<[f64; 3]>> {
    let mut all: Vec<_> = periods.collect();
    all.drain(..all.len().saturating_sub(slots));
    let mut aligned = vec![None; slots - all.len()];
    aligned.append(&mut all);
    aligned
}

/// The highest of the periods that fall on each of `width` columns.
fn columns(periods: &[Option<[f64; 3]>], width: usize) -> Vec<Option<[f64; 3]>> {
    let highest = |column: usize| {
        let from = column * periods.len() / width;
        let to = ((column + 1) * periods.len() / width).max(from + 1).min(periods.len());
        periods[from..to].iter().flatten().copied().max_by(|one, other| one[2].total_cmp(&other[2]))
    };
    (0..width).map(highest).collect()
}

fn render(buffer: &mut Buffer, area: Rect, graph: &Graph, theme: &Theme) {
    let plot = Rect { x: area.x + SCALE, y: area.y + 1, width: area.width - SCALE, height: area.height - 2 };
    let columns = columns(&graph.periods, usize::from(plot.width));
    let top = columns.iter().flatten().map(|edges| edges[2]).fold(0.0, f64::max);

    legend(buffer, area, graph, theme);
    let scale = SCALE - 1;
    put(buffer, (area.x, plot.y), scale, &(graph.show)(top), true, theme.quiet(), theme);
    put(buffer, (area.x, plot.bottom() - 1), scale, "0", true, theme.quiet(), theme);
    for (x, edges) in (plot.x..).zip(&columns) {
        if let Some(edges) = edges {
            stack(buffer, x, plot, edges.map(|edge| edge / top.max(f64::MIN_POSITIVE)), graph.layers.len(), theme);
        }
    }
    let axis = Rect { y: plot.bottom(), height: 1, ..plot };
    buffer.set_stringn(axis.x, axis.y, theme.symbols.rule.repeat(axis.width.into()), axis.width.into(), theme.quiet());
    buffer.set_stringn(axis.x, axis.y, format!("-{} ", graph.span), axis.width.into(), theme.quiet());
    put(buffer, (axis.right() - 4, axis.y), 4, " now", true, theme.quiet(), theme);
}

/// The title, and each layer's mark, name and last value, as far as they fit.
fn legend(buffer: &mut Buffer, area: Rect, graph: &Graph, theme: &Theme) {
    let last = graph.periods.last().copied().flatten();
    let (mut x, _) = buffer.set_stringn(area.x, area.y, graph.title, area.width.into(), theme.strong());
    for (layer, name) in graph.layers.iter().enumerate() {
        let value = last.map_or("-".to_owned(), |edges| (graph.show)(edges[layer]));
        let text = format!(" {name} {value}");
        let left = area.right().saturating_sub(x);
        if usize::from(left) < text.len() + 3 {
            break;
        }
        (x, _) = buffer.set_stringn(x + 2, area.y, theme.symbols.layers[layer], 1, theme.layer(layer));
        (x, _) = buffer.set_stringn(x, area.y, text, left.into(), Style::new());
    }
}

/// One column; the edges are shares of the plot's height.
fn stack(buffer: &mut Buffer, x: u16, plot: Rect, edges: [f64; 3], layers: usize, theme: &Theme) {
    let rising = theme.symbols.rising;
    for step in 0..plot.height {
        let floor = f64::from(step);
        let filled = edges.map(|edge| (edge * f64::from(plot.height) - floor).clamp(0.0, 1.0));
        let eighths = (filled[0] * 8.0).round() as usize;
        let above = (1..layers).find(|&layer| filled[layer] >= 0.5);
        let (symbol, style) = if eighths >= 8 {
            (theme.symbols.layers[0], theme.layer(0))
        } else if eighths >= 1 && rising.len() == 8 {
            let style = above.map_or(theme.layer(0), |above| theme.layer_over(0, above));
            (rising[eighths - 1], style)
        } else if eighths >= 4 {
            (theme.symbols.layers[0], theme.layer(0))
        } else if let Some(layer) = above {
            (theme.symbols.layers[layer], theme.layer(layer))
        } else if step == 0 && filled[0] > 0.0 {
            (rising[0], theme.layer(0))
        } else {
            break;
        };
        buffer.set_stringn(x, plot.bottom() - 1 - step, symbol, 1, style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_shows_the_highest_of_its_periods() {
        let period = |height: f64| Some([height; 3]);
        let periods = [None, period(1.0), period(9.0), period(2.0)];
        assert_eq!(columns(&periods, 2), [period(1.0), period(9.0)]);
        assert_eq!(columns(&periods, 8)[7], period(2.0));
        assert_eq!(columns(&periods, 1), [period(9.0)]);
    }

    #[test]
    fn the_time_before_the_first_point_stays_empty() {
        let periods = aligned([Some([1.0; 3])].into_iter(), 3);
        assert_eq!(periods, [None, None, Some([1.0; 3])]);
        assert_eq!(aligned((0..5).map(|n| Some([f64::from(n); 3])), 2).len(), 2);
    }
}
