//! Figures from a read segment and what is known around it.

mod misuse;
mod threads;

use super::history::ClassSeries;
use super::history::{self, EVERY_HOUR, EVERY_MINUTE, EVERY_SECOND, Slot};
use super::limits::Growth;
use super::rates::{self, Sample};
use super::time::Time;
use super::{
    ClassHistory, History, Identity, Large, LargeClass, Limits, Line, Point, Process, SizeClass, State, Totals,
};
use shm_layout::class::LINES;
use shm_layout::reader::{LineTotals, Reader, Ring, RowView};
use std::collections::BTreeMap;
pub(crate) use threads::main_threads_name;

/// What is known about a process without its segment.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct About {
    pub(crate) id: Identity,
    pub(crate) pid: u32,
    pub(crate) ppid: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) namespace_pid: Option<u32>,
    pub(crate) state: State,
    pub(crate) stopped: Option<bool>,
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) executable: Option<String>,
    pub(crate) start_time: Option<Time>,
    pub(crate) memory: Memory,
    /// The program without the library that it has become.
    pub(crate) replaced_by: Option<String>,
    /// Limit and use of the control group, in bytes.
    pub(crate) cgroup: Option<(u64, u64)>,
    pub(crate) children: Vec<u32>,
    /// What could not be read, and why.
    pub(crate) unread: Vec<String>,
}

/// Memory as the system counts it, in bytes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Memory {
    /// Of the whole process.
    pub(crate) rss: Option<u64>,
    /// Of that, mapped files and shared memory.
    pub(crate) rss_files: Option<u64>,
    /// Its highest.
    pub(crate) peak_rss: Option<u64>,
    /// Of the whole process.
    pub(crate) swap: Option<u64>,
    /// Of the heap, its tables and the segment; and the seconds since that was measured.
    pub(crate) resident: Option<(u64, f64)>,
}

/// A process whose segment cannot be read: everything about its heap is unknown.
pub(crate) fn without_segment(about: About, now: Time) -> Process {
    let totals = Totals {
        rss_bytes: about.memory.rss,
        rss_file_bytes: about.memory.rss_files,
        peak_rss_bytes: about.memory.peak_rss,
        swap_bytes: about.memory.swap,
        ..Totals::default()
    };
    Process {
        id: about.id,
        pid: about.pid,
        ppid: about.ppid,
        uid: about.uid,
        namespace_pid: about.namespace_pid,
        state: about.state,
        stopped: about.stopped.filter(|_| !about.state.is_dead()),
        name: about.name,
        command: about.command,
        executable: about.executable,
        uptime_seconds: about.start_time.filter(|_| !about.state.is_dead()).map(|start| now.seconds_since(start)),
        start_time: about.start_time,
        replaced_by: about.replaced_by,
        forked_from: None,
        totals,
        rates: rates::Rates::default(),
        misuse: None,
        threads: None,
        size_classes: None,
        large: None,
        history: None,
        diagnosis: None,
        last_minute: None,
        limits: about.cgroup.map(|(limit, used)| Limits::at_growth(limit, used, &Growth::default())),
        decay_seconds: None,
        class_history: None,
        log: Vec::new(),
        unread: about.unread,
        end: None,
        children: about.children,
    }
}

/// How much of a segment is made something of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Detail {
    /// What one line among many shows.
    Line,
    /// Everything.
    Full,
}

/// What a look at a segment needs besides its bytes.
pub(crate) struct Look<'a> {
    /// The present.
    pub(crate) now: Time,
    /// The last look that found it alive.
    pub(crate) seen_alive: Option<Time>,
    /// Present names of threads, where known.
    pub(crate) thread_names: &'a BTreeMap<u32, String>,
    /// Earlier looks, for the rates.
    pub(crate) earlier: &'a [Sample],
    /// How much is wanted.
    pub(crate) detail: Detail,
    /// The classes' minutes, where they are wanted and known.
    pub(crate) class_history: Option<&'a ClassHistory>,
}

/// A process with everything its segment says. `floor` reads the same two copies the other way round: its live
/// figures are never above the truth, while those of `reader` are never below.
pub(crate) fn with_segment(reader: &Reader<'_>, floor: &Reader<'_>, about: About, look: &Look<'_>) -> Process {
    let lines: Vec<LineTotals> = reader.lines().collect();
    let rows: Vec<RowView<'_>> = reader.rows().collect();
    let clock = Clock::of(reader);
    let totals = totals(reader, floor, &lines, &rows, &about.memory);
    let end = about.state.is_past().then(|| end(reader, look.seen_alive));
    let present_time = look.now;
    let look = &Look { now: end.unwrap_or(look.now), ..*look };
    let present = Point::of(&totals, look.now);
    let (history, slots) = history(reader, look.now, present);
    let rates = match end {
        Some(_) => rates::Rates::default(),
        None => present_rates(&totals, look, &slots, clock.created),
    };
    let decay_ms = reader.identity().decay_ms;
    Process {
        class_history: look.class_history.cloned(),
        decay_seconds: (decay_ms != u32::MAX).then(|| f64::from(decay_ms) / 1000.0),
        forked_from: Some(reader.identity().forked_from).filter(|&pid| pid != 0),
        rates,
        misuse: Some(misuse::misuse(reader, &clock)),
        threads: Some(threads::threads(reader, &rows, &clock, look)),
        size_classes: Some(lines.iter().filter(|line| !line.is_bucket).map(size_class).collect()),
        large: Some(large(reader, &lines)),
        history: Some(history),
        totals,
        end,
        // A process lives on without its heap.
        ..without_segment(about, present_time)
    }
}

/// The end of a dead process, which no later look moves.
///
/// Nobody knows when it died: its last sign is the second in which it last wrote its history, or a look that found it
/// alive after that.
fn end(reader: &Reader<'_>, seen_alive: Option<Time>) -> Time {
    let created = Time(reader.identity().created_realtime_ns);
    let written = created.plus_seconds(reader.globals().last_second);
    seen_alive.map_or(written, |seen| seen.max(written))
}

/// The counters that rates are made of.
pub(crate) fn sample(process: &Process, now: Time) -> Option<Sample> {
    let totals = &process.totals;
    Some(Sample {
        time: now,
        allocations: totals.allocations?,
        frees: totals.frees?,
        requested_bytes: totals.requested_bytes?,
    })
}

/// Turns times on the segment's clock into times of day.
struct Clock {
    created: Time,
    created_monotonic_ns: u64,
}

impl Clock {
    fn of(reader: &Reader<'_>) -> Self {
        let identity = reader.identity();
        Self { created: Time(identity.created_realtime_ns), created_monotonic_ns: identity.created_monotonic_ns }
    }

    fn time_of_day(&self, monotonic_ns: u64) -> Time {
        if monotonic_ns >= self.created_monotonic_ns {
            Time(self.created.0.saturating_add(monotonic_ns - self.created_monotonic_ns))
        } else {
            Time(self.created.0.saturating_sub(self.created_monotonic_ns - monotonic_ns))
        }
    }
}

fn totals(
    reader: &Reader<'_>,
    floor: &Reader<'_>,
    lines: &[LineTotals],
    rows: &[RowView<'_>],
    memory: &Memory,
) -> Totals {
    let globals = reader.globals();
    let requested = sum(lines, LineTotals::requested);
    let allocated = sum(lines, LineTotals::allocated);
    let pinned = sum(lines, LineTotals::pinned);
    let surely_requested = floor.lines().fold(0u64, |sum, line| sum.saturating_add(line.requested()));
    let surely_allocated = floor.lines().fold(0u64, |sum, line| sum.saturating_add(line.allocated()));
    let explained = [allocated, pinned, globals.cached, globals.metadata];
    let explained = explained.iter().fold(0u64, |sum, part| sum.saturating_add(*part));
    let resident = memory.resident.map(|(bytes, _)| bytes);
    let allocations = sum(lines, |line| line.allocations);
    let frees = sum(lines, |line| line.frees);
    Totals {
        requested_bytes: Some(requested),
        allocated_bytes: Some(allocated),
        pinned_bytes: Some(pinned),
        cached_bytes: Some(globals.cached),
        metadata_bytes: Some(globals.metadata),
        other_bytes: resident.map(|resident| difference(resident, explained)),
        resident_bytes: resident,
        resident_age_seconds: memory.resident.map(|(_, age)| age),
        rss_bytes: memory.rss,
        rss_file_bytes: memory.rss_files,
        swap_bytes: memory.swap,
        active_bytes: Some(allocated.saturating_add(pinned)),
        committed_bytes: Some(globals.committed),
        retained_bytes: Some(globals.retained),
        purged_bytes: Some(globals.purged),
        internal_fragmentation_bytes: Some(allocated.saturating_sub(requested)),
        external_fragmentation_bytes: Some(pinned),
        peak_requested_bytes: Some(globals.peak_requested.max(surely_requested)),
        peak_allocated_bytes: Some(globals.peak_allocated.max(surely_allocated)),
        peak_error_bytes: Some(globals.peak_error),
        peak_rss_bytes: memory.peak_rss,
        cumulative_requested_bytes: Some(sum(lines, |line| line.requested_in)),
        cumulative_allocated_bytes: Some(sum(lines, cumulative_allocated)),
        live_blocks: Some(allocations.saturating_sub(frees)),
        allocations: Some(allocations),
        frees: Some(frees),
        reallocations: Some(rows.iter().fold(0, |sum, row| row.reallocations.saturating_add(sum))),
        remote_frees: Some(rows.iter().fold(0, |sum, row| row.remote_frees.saturating_add(sum))),
    }
}

fn sum(lines: &[LineTotals], figure: impl Fn(&LineTotals) -> u64) -> u64 {
    lines.iter().fold(0, |sum, line| figure(line).saturating_add(sum))
}

fn cumulative_allocated(line: &LineTotals) -> u64 {
    if line.is_bucket { line.capacity_in } else { line.allocations.saturating_mul(line.block_size) }
}

fn difference(one: u64, other: u64) -> i64 {
    let magnitude = i64::try_from(one.abs_diff(other)).unwrap_or(i64::MAX);
    if one < other { -magnitude } else { magnitude }
}

fn size_class(line: &LineTotals) -> SizeClass {
    SizeClass {
        block_size: line.block_size,
        live_blocks: line.live_blocks(),
        free_list_length: line.free_list_length(),
        requested_bytes: line.requested(),
        allocated_bytes: line.allocated(),
        pinned_bytes: line.pinned(),
        allocations: line.allocations,
        frees: line.frees,
        slabs: line.slabs(),
        slab_bytes: line.slab_bytes.into(),
        cumulative_requested_bytes: line.requested_in,
        allocations_per_second: None,
        frees_per_second: None,
        growth_bytes_per_second: None,
        recent_bytes: Vec::new(),
    }
}

fn large(reader: &Reader<'_>, lines: &[LineTotals]) -> Large {
    let buckets: Vec<LineTotals> = lines.iter().filter(|line| line.is_bucket).copied().collect();
    Large {
        live_blocks: sum(&buckets, LineTotals::live_blocks),
        requested_bytes: sum(&buckets, LineTotals::requested),
        allocated_bytes: sum(&buckets, LineTotals::allocated),
        page_moves: reader.globals().page_moves,
        purges: reader.globals().purges,
        classes: buckets
            .iter()
            .map(|line| LargeClass {
                up_to_bytes: Some(line.block_size).filter(|&limit| limit != u64::MAX),
                live_blocks: line.live_blocks(),
                requested_bytes: line.requested(),
                allocated_bytes: line.allocated(),
                allocations: line.allocations,
                frees: line.frees,
                allocations_per_second: None,
                frees_per_second: None,
                growth_bytes_per_second: None,
                recent_bytes: Vec::new(),
            })
            .collect(),
    }
}

/// The newest minute in the history, counted from the start.
pub(crate) fn newest_minute(reader: &Reader<'_>) -> Option<u64> {
    reader.totals_ring(Ring::Minutes).last().map(|(minute, _)| minute)
}

/// The classes' minutes that had ended before the newest one began: that is written still. Periods that were skipped
/// hold the values before them.
pub(crate) fn class_history(reader: &Reader<'_>) -> ClassHistory {
    let created = Time(reader.identity().created_realtime_ns);
    let Some(newest) = newest_minute(reader) else { return ClassHistory::default() };
    let first = reader.totals_ring(Ring::Minutes).next().map_or(newest, |(minute, _)| minute);
    let minutes = first.max(newest.saturating_sub(EVERY_MINUTE.slots))..newest;
    let times = minutes.clone().map(|minute| history::end_of(minute, EVERY_MINUTE, created)).collect();
    let mut classes = Vec::new();
    for at in 0..LINES {
        let mut slots = reader.class_minutes(at).peekable();
        let mut held = (0, 0);
        let (mut allocated_bytes, mut pinned_bytes) = (Vec::new(), Vec::new());
        for minute in minutes.clone() {
            while let Some(slot) = slots.next_if(|slot| slot.0 <= minute) {
                held = (slot.1, slot.2);
            }
            allocated_bytes.push(held.0);
            pinned_bytes.push(held.1);
        }
        if allocated_bytes.iter().chain(&pinned_bytes).any(|&bytes| bytes != 0) {
            classes.push(ClassSeries { line: Line::at(at), allocated_bytes, pinned_bytes });
        }
    }
    ClassHistory { times, classes }
}

/// The three series up to `now`, or to the end of a dead process, and the seconds' slots as they were written.
///
/// What a slot holds is older than the end of its period, by some time that the program has let pass. The last one of a
/// ring has nothing behind it that would say more: at the end of its period the program was what it is at `present`.
/// Rings that were never due belong to a program that has gone idle in its first moments: it has been that since.
fn history(reader: &Reader<'_>, now: Time, present: Option<Point>) -> (History, Vec<Slot>) {
    let created = Time(reader.identity().created_realtime_ns);
    let idle = present.filter(|_| reader.globals().last_second == 0);
    let written =
        |ring| -> Vec<Slot> { reader.totals_ring(ring).map(|(number, totals)| (number, point(&totals))).collect() };
    let series = |mut slots: Vec<Slot>, scale| {
        if slots.is_empty() {
            slots.extend(idle.map(|point| (0, point)));
        }
        if let (Some(last), Some(point)) = (slots.last_mut(), present)
            && history::end_of(last.0, scale, created) <= now
        {
            last.1 = point;
        }
        history::fill(&slots, scale, created, now)
    };
    let seconds = written(Ring::Seconds);
    let history = History {
        seconds: series(seconds.clone(), EVERY_SECOND),
        minutes: series(written(Ring::Minutes), EVERY_MINUTE),
        hours: series(written(Ring::Hours), EVERY_HOUR),
    };
    (history, seconds)
}

fn point(totals: &shm_layout::reader::TotalsCopy) -> Point {
    Point {
        time: Time(0),
        requested_bytes: totals.requested,
        allocated_bytes: totals.allocated,
        pinned_bytes: totals.pinned,
        cached_bytes: totals.cached,
        allocations: totals.allocations,
        frees: totals.frees,
        cumulative_requested_bytes: totals.cumulative_requested,
    }
}

fn present_rates(totals: &Totals, look: &Look<'_>, slots: &[Slot], created: Time) -> rates::Rates {
    let (Some(allocations), Some(frees), Some(requested_bytes)) =
        (totals.allocations, totals.frees, totals.requested_bytes)
    else {
        return rates::Rates::default();
    };
    let from_rings = slots.iter().map(|(number, point)| Sample {
        time: history::end_of(*number, EVERY_SECOND, created),
        allocations: point.allocations,
        frees: point.frees,
        requested_bytes: point.requested_bytes,
    });
    let now = Sample { time: look.now, allocations, frees, requested_bytes };
    rates::present(now, from_rings, look.earlier.iter().copied())
}
