//! The threads of a segment.

use super::{Clock, Detail, Look};
use crate::model::threads::RATE_AGE;
use crate::model::{Line, Part, Thread, ThreadLine, ThreadState, Threads};
use shm_layout::class::LINES;
use shm_layout::layout::row_state;
use shm_layout::reader::{Reader, RowView};

pub(super) fn threads(reader: &Reader<'_>, rows: &[RowView<'_>], clock: &Clock, look: &Look<'_>) -> Threads {
    let globals = reader.globals();
    // With a single look there is but the average since the start, as long as there is a sign that it still goes on.
    let last = rows.iter().map(|row| row.started_ns.max(row.ended_ns)).max().map(|ns| clock.time_of_day(ns));
    let seconds = look.now.seconds_since(clock.created);
    let goes_on = last.is_some_and(|last| look.now.seconds_since(last) < RATE_AGE) && seconds > 1.0;
    let rate = |count: u64| Some(if goes_on { count as f64 / seconds } else { 0.0 });
    Threads {
        live: globals.threads_started.saturating_sub(globals.threads_ended),
        started: globals.threads_started,
        ended: globals.threads_ended,
        without_row: globals.threads_without_row,
        stranded_bytes: globals.stranded,
        adopted_bytes: globals.adopted,
        starts_per_second: rate(globals.threads_started),
        ends_per_second: rate(globals.threads_ended),
        ended_lately: rate(globals.threads_ended).unwrap_or(0.0) * seconds.min(RATE_AGE),
        rows: rows.iter().filter_map(|row| thread(row, clock, look)).collect(),
        gone: Vec::new(),
    }
}

/// The name of the main thread, which is the process's own (`comm`), as it was when its row began; `None` where it has none.
pub(crate) fn main_threads_name(reader: &Reader<'_>) -> Option<String> {
    let pid = reader.identity().pid;
    let has_name = |row: &RowView<'_>| matches!(row.state, row_state::LIVE | row_state::ENDED) && row.name[0] != 0;
    reader.rows().find(|row| row.is_settled && row.tid == pid && has_name(row)).map(|row| name_at_start(&row))
}

fn name_at_start(row: &RowView<'_>) -> String {
    let name = row.name.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

fn thread(row: &RowView<'_>, clock: &Clock, look: &Look<'_>) -> Option<Thread> {
    if !row.is_settled {
        return None;
    }
    let state = match row.state {
        row_state::LIVE => ThreadState::Live,
        row_state::ENDED => ThreadState::Ended,
        row_state::SHARED if row.allocations != 0 || row.frees != 0 => ThreadState::Shared,
        _ => return None,
    };
    let [allocations, frees, requested_in, requested_out, reallocations, remote_frees] = row.base;
    let tid = Some(row.tid).filter(|_| state != ThreadState::Shared);
    let present_name = tid.filter(|_| state == ThreadState::Live).and_then(|tid| look.thread_names.get(&tid));
    // A forked child's row has its parent's figures from the start.
    let is_first = row.generation <= 1 && row.base == [0; 6];
    let own = |of_row: u64| Some(of_row).filter(|&of_row| of_row == 0 || is_first);
    Some(Thread {
        tid,
        name: match present_name {
            Some(name) => name.clone(),
            None if state == ThreadState::Shared => "(shared)".into(),
            None => name_at_start(row),
        },
        state,
        allocations: row.allocations.saturating_sub(allocations),
        frees: row.frees.saturating_sub(frees),
        allocated_by_bytes: row.requested_in.saturating_sub(requested_in),
        freed_by_bytes: row.requested_out.saturating_sub(requested_out),
        reallocations: row.reallocations.saturating_sub(reallocations),
        remote_frees: row.remote_frees.saturating_sub(remote_frees),
        start_time: Some(row.started_ns).filter(|&ns| ns != 0).map(|ns| clock.time_of_day(ns)),
        end_time: Some(row.ended_ns).filter(|&ns| ns != 0).map(|ns| clock.time_of_day(ns)),
        allocations_per_second: None,
        frees_per_second: None,
        row: row.index,
        row_generation: row.generation,
        remote_collected: own(row.remote_collected),
        abandoned_bytes: own(row.abandoned),
        adopted_bytes: own(row.adopted),
        row_remote_collected: row.remote_collected,
        row_abandoned_bytes: row.abandoned,
        row_adopted_bytes: row.adopted,
        classes: if look.detail == Detail::Full { thread_lines(row) } else { Vec::new() },
    })
}

fn thread_lines(row: &RowView<'_>) -> Vec<ThreadLine> {
    let lines = (0..LINES).map(|at| (at, row.line(at)));
    let [allocations, frees, requested_in, requested_out, ..] = row.base;
    let part = |of_row: u64, total: u64, base: u64| Part::of(of_row, total.saturating_sub(base), base);
    let used = lines.filter(|(_, line)| line.allocations != 0 || line.frees != 0);
    used.map(|(at, line)| ThreadLine {
        line: Line::at(at),
        allocations: part(line.allocations, row.allocations, allocations),
        frees: part(line.frees, row.frees, frees),
        allocated_by_bytes: part(line.requested_in, row.requested_in, requested_in),
        freed_by_bytes: part(line.requested_out, row.requested_out, requested_out),
        row_allocations: line.allocations,
        row_frees: line.frees,
        row_allocated_by_bytes: line.requested_in,
        row_freed_by_bytes: line.requested_out,
    })
    .collect()
}
