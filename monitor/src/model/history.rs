//! Totals over time, from the segment's rings.

use super::time::{NANOS, Time};
use super::{Line, Totals};
use serde::Serialize;
use shm_layout::layout::{HOURS, MINUTES, SECONDS};

/// Totals at the end of each past second, minute and hour, oldest first. Never holds the present one.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct History {
    /// The last two minutes.
    pub(crate) seconds: Vec<Point>,
    /// The last two hours.
    pub(crate) minutes: Vec<Point>,
    /// The last week.
    pub(crate) hours: Vec<Point>,
}

/// Totals at one time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Point {
    /// The end of the period.
    pub(crate) time: Time,
    /// As in the totals.
    pub(crate) requested_bytes: u64,
    /// As in the totals.
    pub(crate) allocated_bytes: u64,
    /// As in the totals.
    pub(crate) pinned_bytes: u64,
    /// As in the totals.
    pub(crate) cached_bytes: u64,
    /// As in the totals.
    pub(crate) allocations: u64,
    /// As in the totals.
    pub(crate) frees: u64,
    /// As in the totals.
    pub(crate) cumulative_requested_bytes: u64,
}

impl Point {
    /// The totals as they are `now`, where all are known.
    pub(crate) fn of(totals: &Totals, now: Time) -> Option<Self> {
        Some(Self {
            time: now,
            requested_bytes: totals.requested_bytes?,
            allocated_bytes: totals.allocated_bytes?,
            pinned_bytes: totals.pinned_bytes?,
            cached_bytes: totals.cached_bytes?,
            allocations: totals.allocations?,
            frees: totals.frees?,
            cumulative_requested_bytes: totals.cumulative_requested_bytes?,
        })
    }
}

/// Bytes of the size classes and buckets at the end of each past minute, those that ever had any.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct ClassHistory {
    /// The ends of the minutes, oldest first.
    pub(crate) times: Vec<Time>,
    /// The size classes, then the buckets.
    pub(crate) classes: Vec<ClassSeries>,
}

/// One size class or bucket over time: a figure for each of the [`ClassHistory::times`].
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct ClassSeries {
    /// Which.
    #[serde(flatten)]
    pub(crate) line: Line,
    /// As in the class.
    pub(crate) allocated_bytes: Vec<u64>,
    /// As in the class; nothing for a bucket.
    pub(crate) pinned_bytes: Vec<u64>,
}

impl ClassHistory {
    /// The series of a line.
    pub(crate) fn of(&self, line: Line) -> Option<&ClassSeries> {
        self.classes.iter().find(|series| series.line == line)
    }

    /// The minute at whose end most was allocated: its place among the times.
    pub(crate) fn highest(&self) -> Option<usize> {
        (0..self.times.len()).max_by_key(|&at| self.sum(at))
    }

    /// Bytes of all lines at the end of that minute.
    pub(crate) fn sum(&self, at: usize) -> u64 {
        self.classes.iter().map(|series| series.allocated_bytes[at]).fold(0, u64::saturating_add)
    }

    /// The last minute that had ended by `time`: its place among the times.
    pub(crate) fn at(&self, time: Time) -> Option<usize> {
        self.times.iter().rposition(|&end| end <= time)
    }
}

/// One of the three rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scale {
    /// Length of a period.
    pub(crate) period_seconds: u64,
    /// Periods in the ring.
    pub(crate) slots: u64,
}

/// One point a second.
pub(crate) const EVERY_SECOND: Scale = Scale { period_seconds: 1, slots: SECONDS as u64 };
/// One point a minute.
pub(crate) const EVERY_MINUTE: Scale = Scale { period_seconds: 60, slots: MINUTES as u64 };
/// One point an hour.
pub(crate) const EVERY_HOUR: Scale = Scale { period_seconds: 3600, slots: HOURS as u64 };

/// A slot as it was written: number of its period, and the totals at its end. The point's time is filled in here.
pub(crate) type Slot = (u64, Point);

/// When period `number` of a segment made at `created` ends.
pub(crate) fn end_of(number: u64, scale: Scale, created: Time) -> Time {
    created.plus_seconds(number.saturating_add(1).saturating_mul(scale.period_seconds))
}

/// The ring's points as a gapless series up to the last full period before `now`: a slot that was skipped, because
/// the program did nothing then, stands for the one before it. Starts with the oldest period that is known.
///
/// The work is bounded by the ring's length, whatever numbers the slots claim.
pub(crate) fn fill(slots: &[Slot], scale: Scale, created: Time, now: Time) -> Vec<Point> {
    let full_periods = now.0.saturating_sub(created.0) / NANOS / scale.period_seconds;
    let Some(last) = full_periods.checked_sub(1) else { return Vec::new() };
    let first = last.saturating_sub(scale.slots - 1);

    let mut slots: Vec<&Slot> = slots.iter().filter(|slot| slot.0 <= last).collect();
    slots.sort_by_key(|slot| slot.0);
    let mut slots = slots.into_iter().peekable();
    let mut held = None;
    let mut series = Vec::new();
    for number in first..=last {
        while let Some(slot) = slots.next_if(|slot| slot.0 <= number) {
            held = Some(slot.1);
        }
        series.extend(held.map(|point| Point { time: end_of(number, scale, created), ..point }));
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: Time = Time(1_000 * NANOS);

    fn slot(number: u64, requested_bytes: u64) -> Slot {
        let zero = Point {
            time: Time(0),
            requested_bytes,
            allocated_bytes: 0,
            pinned_bytes: 0,
            cached_bytes: 0,
            allocations: 0,
            frees: 0,
            cumulative_requested_bytes: 0,
        };
        (number, zero)
    }

    fn requested(slots: &[Slot], seconds_later: u64) -> Vec<u64> {
        let series = fill(slots, EVERY_SECOND, CREATED, CREATED.plus_seconds(seconds_later));
        series.iter().map(|point| point.requested_bytes).collect()
    }

    #[test]
    fn skipped_slots_hold_the_last_value_up_to_now() {
        assert_eq!(requested(&[slot(0, 10), slot(3, 40)], 6), [10, 10, 10, 40, 40, 40]);
    }

    #[test]
    fn a_program_idle_for_longer_than_the_ring_still_shows_its_last_value() {
        assert_eq!(requested(&[slot(5, 7)], 1000), [7; SECONDS]);
    }

    #[test]
    fn nothing_is_invented_before_the_first_known_slot() {
        assert_eq!(requested(&[slot(2, 5)], 4), [5, 5]);
        assert!(requested(&[], 100).is_empty());
        assert!(requested(&[slot(0, 5)], 0).is_empty());
    }

    #[test]
    fn slots_from_the_future_and_absurd_clocks_neither_show_nor_loop() {
        assert_eq!(requested(&[slot(1, 5), slot(u64::MAX, 9)], 3), [5, 5]);
        assert_eq!(fill(&[slot(0, 1)], EVERY_SECOND, Time(0), Time(u64::MAX)).len(), SECONDS);
        assert!(fill(&[slot(0, 1)], EVERY_HOUR, Time(u64::MAX), Time(0)).is_empty());
    }

    #[test]
    fn a_point_stands_at_the_end_of_its_period() {
        let minutes = fill(&[slot(0, 1)], EVERY_MINUTE, CREATED, CREATED.plus_seconds(125));
        assert_eq!(minutes.iter().map(|point| point.time.0 / NANOS).collect::<Vec<_>>(), [1060, 1120]);
    }
}
