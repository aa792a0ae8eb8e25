//! What stands in the cells of tables: it shows itself, and sorts by itself.

use super::theme::Theme;
use crate::model::{Part, Time};
use crate::view::{comparison, format, verdict};
use std::cmp::Ordering;

/// What stands in a cell; it sorts by itself, and the unknown sorts below everything.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Text(String),
    /// A time of day.
    Clock(Time),
    Bytes(Option<u64>),
    Count(Option<u64>),
    /// Bytes, or blocks, where perhaps only the most that they may be is known.
    BytesUpTo(Part),
    CountUpTo(Part),
    /// A number without grouping, such as a PID.
    Id(Option<u64>),
    /// A change per second, in blocks.
    Rate(Option<f64>),
    /// A change per second, in bytes.
    Growth(Option<f64>),
    /// A change of so many bytes.
    Change(Option<i64>),
    /// A change of so many bytes, or of so many of something else; it sorts by its size, whichever way it goes.
    Distance(Option<i64>),
    CountDistance(Option<i64>),
    /// A change as a share of what was.
    ShareOfChange(Option<f64>),
    /// A figure in bytes that may be negative.
    Signed(Option<i64>),
    /// A figure over time.
    Trend(Vec<u64>),
}

impl Value {
    /// As text; a dash for the unknown.
    pub(super) fn show(&self, theme: &Theme) -> String {
        let shown = match self {
            Self::Text(text) => Some(format::harmless(text).into_owned()),
            Self::Clock(time) => Some(verdict::clock(*time)),
            Self::Change(change) | Self::Distance(change) => change.map(format::signed_change),
            Self::CountDistance(change) => change.map(short_change),
            Self::ShareOfChange(change) => change.map(format::share_of_change),
            Self::Signed(bytes) => bytes.map(format::signed_bytes),
            Self::Trend(figures) => Some(trend(figures, theme)),
            Self::Bytes(bytes) => {
                bytes.map(|bytes| if bytes == u64::MAX { "any".to_owned() } else { format::bytes(bytes) })
            }
            Self::Count(count) => count.map(|count| format::short(count as f64).replace(' ', "")).map(whole),
            Self::BytesUpTo(part) => return up_to(*part, Self::Bytes(Some(part.most)), theme),
            Self::CountUpTo(part) => return up_to(*part, Self::Count(Some(part.most)), theme),
            Self::Id(id) => id.map(|id| id.to_string()),
            Self::Rate(rate) => rate.map(|rate| format::short(rate).replace(' ', "")),
            Self::Growth(rate) => rate.map(|rate| format::signed_change(rate.round() as i64)),
        };
        shown.unwrap_or_else(|| "-".to_owned())
    }

    /// Figures of one column may be of several kinds: bytes in one row, blocks in the next.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.to_lowercase().cmp(&other.to_lowercase()),
            (
                Self::Rate(one) | Self::Growth(one) | Self::ShareOfChange(one),
                Self::Rate(other) | Self::Growth(other) | Self::ShareOfChange(other),
            ) => match (one, other) {
                (Some(one), Some(other)) => one.total_cmp(other),
                (one, other) => one.is_some().cmp(&other.is_some()),
            },
            (one, other) => one.whole().cmp(&other.whole()),
        }
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Bytes(figure) | Self::Count(figure) | Self::Id(figure) => figure.map(i128::from),
            Self::BytesUpTo(part) | Self::CountUpTo(part) => Some(part.most.into()),
            Self::Distance(figure) | Self::CountDistance(figure) => figure.map(|figure| figure.unsigned_abs().into()),
            Self::Change(figure) | Self::Signed(figure) => figure.map(i128::from),
            Self::Trend(figures) => Some(climb(figures)),
            Self::Clock(time) => Some(time.0.into()),
            Self::Text(_) | Self::Rate(_) | Self::Growth(_) | Self::ShareOfChange(_) => None,
        }
    }
}

/// A change of a count, in three digits where all of them would not fit a column.
fn short_change(change: i64) -> String {
    const LONG: u64 = 1_000_000_000;
    if change.unsigned_abs() < LONG {
        return comparison::counted_change(change);
    }
    let sign = if change > 0 { "+" } else { "" };
    format!("{sign}{}", format::short(change as f64).replace(' ', ""))
}

fn up_to(part: Part, most: Value, theme: &Theme) -> String {
    let mark = if part.exact().is_some() { "" } else { theme.symbols.at_most };
    format!("{mark}{}", most.show(theme))
}

/// From the first figure to the last.
fn climb(figures: &[u64]) -> i128 {
    let (first, last) = (figures.first().copied().unwrap_or(0), figures.last().copied().unwrap_or(0));
    i128::from(last) - i128::from(first)
}

/// Cells of a trend.
pub(super) const TREND: u16 = 8;

/// Figures as a line of small columns, each between the least and the most of them; flat where nothing moves.
fn trend(figures: &[u64], theme: &Theme) -> String {
    let (Some(&least), Some(&most)) = (figures.iter().min(), figures.iter().max()) else { return String::new() };
    let steps = theme.symbols.sparks;
    // What moves by less than a twentieth is drawn as what it is: flat.
    let range = (most - least).max(most / 20).max(1) as f64;
    let cells = usize::from(TREND).min(figures.len());
    let cell = |cell: usize| {
        let (from, to) = (cell * figures.len() / cells, ((cell + 1) * figures.len() / cells).max(1));
        let highest = figures[from..to.max(from + 1)].iter().max().copied().unwrap_or(0);
        let level = (highest - least) as f64 / range * (steps.len() - 1) as f64;
        steps[(level.round() as usize).min(steps.len() - 1)]
    };
    (0..cells).map(cell).collect()
}

/// A count below a thousand has no fraction.
fn whole(shown: String) -> String {
    match shown.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte.is_ascii_digit()) => whole.to_owned(),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_flat_where_nothing_moves_and_never_too_wide() {
        let theme = Theme::new(true, true);
        assert_eq!(trend(&[], &theme), "");
        assert_eq!(trend(&[1_000_000, 1_000_001], &theme).chars().collect::<std::collections::BTreeSet<_>>().len(), 1);
        let climb: Vec<u64> = (0..100).map(|at| at * at).collect();
        let drawn = trend(&climb, &theme);
        assert_eq!(drawn.chars().count(), usize::from(TREND));
        assert!(drawn.chars().is_sorted(), "{drawn}");
        assert_eq!(trend(&[u64::MAX, 0], &theme).chars().count(), 2);
    }

    #[test]
    fn counts_are_whole_the_unknown_is_a_dash_and_a_bound_is_marked() {
        let theme = Theme::new(true, true);
        assert_eq!(Value::Count(Some(5)).show(&theme), "5");
        assert_eq!(Value::Count(Some(12_345)).show(&theme), "12.3k");
        assert_eq!(Value::Bytes(None).show(&theme), "-");
        assert_eq!(Value::CountDistance(Some(-999_999_999)).show(&theme), "-999,999,999");
        assert_eq!(Value::CountDistance(Some(1_000_000_000)).show(&theme), "+1.00G");
        assert_eq!(Value::CountDistance(Some(i64::MIN)).show(&theme), "-9223372T");
        assert_eq!(Value::BytesUpTo(Part::of(60_000, 2048, 60_000)).show(&theme), "≤2.00 KiB");
        assert_eq!(Value::CountUpTo(Part::of(5, 5, 0)).show(&theme), "5");
        assert_eq!(Value::Text("a\x1b[2J".into()).show(&theme), "a\\x1b[2J");
    }
}
