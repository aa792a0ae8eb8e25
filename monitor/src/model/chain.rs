//! The chain of bytes from what was requested to what the system counts, and how its links have changed.

use super::{Point, Process, Time, Totals};
use serde::Serialize;

/// Every link in bytes; unknown is `None`.
///
/// `requested + rounding = allocated`, `allocated + pinned + cached + tables + other = resident`,
/// `resident + not_heap = rss`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Chain {
    /// What the program asked for.
    pub(crate) requested_bytes: Option<i64>,
    /// What its blocks have beyond that.
    pub(crate) rounding_bytes: Option<i64>,
    /// What its blocks take.
    pub(crate) allocated_bytes: Option<i64>,
    /// Free blocks in slabs in use.
    pub(crate) pinned_bytes: Option<i64>,
    /// Free slabs and spans.
    pub(crate) cached_bytes: Option<i64>,
    /// The allocator's tables.
    pub(crate) tables_bytes: Option<i64>,
    /// What none of these explains.
    pub(crate) other_bytes: Option<i64>,
    /// Memory behind the heap.
    pub(crate) resident_bytes: Option<i64>,
    /// Memory of the process that is not the heap's.
    pub(crate) not_heap_bytes: Option<i64>,
    /// All memory of the process.
    pub(crate) rss_bytes: Option<i64>,
}

impl Chain {
    /// The chain of these totals.
    pub(crate) fn of(totals: &Totals) -> Self {
        let signed = |bytes: Option<u64>| bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let (requested, allocated) = (signed(totals.requested_bytes), signed(totals.allocated_bytes));
        let (resident, rss) = (signed(totals.resident_bytes), signed(totals.rss_bytes));
        Self {
            requested_bytes: requested,
            rounding_bytes: minus(allocated, requested),
            allocated_bytes: allocated,
            pinned_bytes: signed(totals.pinned_bytes),
            cached_bytes: signed(totals.cached_bytes),
            tables_bytes: signed(totals.metadata_bytes),
            other_bytes: totals.other_bytes,
            resident_bytes: resident,
            not_heap_bytes: minus(rss, resident),
            rss_bytes: rss,
        }
    }

    /// The links that a point of the history knows.
    pub(crate) fn of_point(point: &Point) -> Self {
        let signed = |bytes: u64| Some(i64::try_from(bytes).unwrap_or(i64::MAX));
        Self {
            requested_bytes: signed(point.requested_bytes),
            rounding_bytes: signed(point.allocated_bytes.saturating_sub(point.requested_bytes)),
            allocated_bytes: signed(point.allocated_bytes),
            pinned_bytes: signed(point.pinned_bytes),
            cached_bytes: signed(point.cached_bytes),
            ..Self::default()
        }
    }

    /// How the links have changed from `before` to this.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let (now, then) = (self.links(), before.links());
        Self::from_links(std::array::from_fn(|at| minus(now[at], then[at])))
    }

    /// These changes within so many seconds, for each of them.
    pub(crate) fn per_second(&self, seconds: f64) -> Self {
        Self::from_links(self.links().map(|change| change.map(|change| (change as f64 / seconds).round() as i64)))
    }

    /// This, with what it lacks taken from `other`.
    pub(crate) fn or(&self, other: &Self) -> Self {
        let (own, other) = (self.links(), other.links());
        Self::from_links(std::array::from_fn(|at| own[at].or(other[at])))
    }

    /// The links in order.
    pub(crate) fn links(&self) -> [Option<i64>; 10] {
        [
            self.requested_bytes,
            self.rounding_bytes,
            self.allocated_bytes,
            self.pinned_bytes,
            self.cached_bytes,
            self.tables_bytes,
            self.other_bytes,
            self.resident_bytes,
            self.not_heap_bytes,
            self.rss_bytes,
        ]
    }

    fn from_links(links: [Option<i64>; 10]) -> Self {
        let [requested, rounding, allocated, pinned, cached, tables, other, resident, not_heap, rss] = links;
        Self {
            requested_bytes: requested,
            rounding_bytes: rounding,
            allocated_bytes: allocated,
            pinned_bytes: pinned,
            cached_bytes: cached,
            tables_bytes: tables,
            other_bytes: other,
            resident_bytes: resident,
            not_heap_bytes: not_heap,
            rss_bytes: rss,
        }
    }
}

/// The chain at `time` or the last known before it, from the history's seconds: by then it had begun.
pub(crate) fn in_history(process: &Process, time: Time) -> Option<Chain> {
    let seconds = &process.history.as_ref()?.seconds;
    seconds.iter().rev().find(|point| point.time <= time).map(Chain::of_point)
}

fn minus(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    Some(one?.saturating_sub(other?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_add_up_and_the_unknown_stays_unknown() {
        let totals = Totals {
            requested_bytes: Some(70),
            allocated_bytes: Some(80),
            pinned_bytes: Some(5),
            cached_bytes: Some(4),
            metadata_bytes: Some(3),
            other_bytes: Some(-2),
            resident_bytes: Some(90),
            rss_bytes: Some(100),
            ..Totals::default()
        };
        let chain = Chain::of(&totals);
        assert_eq!((chain.rounding_bytes, chain.not_heap_bytes), (Some(10), Some(10)));
        let before = Chain { requested_bytes: Some(100), ..Chain::default() };
        let change = chain.since(&before);
        assert_eq!((change.requested_bytes, change.rss_bytes), (Some(-30), None));
        assert_eq!(before.or(&chain).rss_bytes, Some(100));
        assert_eq!(before.or(&chain).requested_bytes, Some(100));
    }
}
