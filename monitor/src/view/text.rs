//! Snapshots as plain text: aligned, for people and `grep`, without a single escape sequence.

use super::format::{bytes, count, duration, harmless, percent, short, signed_bytes, signed_change};
use super::log;
use super::verdict::{self, span};
use crate::model::{Chain, LargeClass, Process, SizeClass, Snapshot, State, ThreadState, Totals};
use std::io::{self, Write};

/// Unknown.
const DASH: &str = "-";

/// One line per process.
pub(crate) fn write_list(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    if snapshot.processes.is_empty() {
        return writeln!(out, "no preloaded process; start one with `statsmon run -- CMD`");
    }
    let mut table = Table::new(&[
        ("PID", Align::Right),
        ("STATE", Align::Left),
        ("REQUESTED", Align::Right),
        ("ALLOCATED", Align::Right),
        ("PINNED", Align::Right),
        ("CACHED", Align::Right),
        ("RSS", Align::Right),
        ("PEAK", Align::Right),
        ("BLOCKS", Align::Right),
        ("ALLOC/S", Align::Right),
        ("THREADS", Align::Right),
        ("DIAGNOSIS", Align::Left),
        ("COMMAND", Align::Left),
    ]);
    for process in &snapshot.processes {
        let totals = &process.totals;
        table.row(vec![
            process.pid.to_string(),
            if process.is_stopped() { "stopped" } else { process.state.as_str() }.into(),
            size(totals.requested_bytes),
            size(totals.allocated_bytes),
            size(totals.pinned_bytes),
            size(totals.cached_bytes),
            size(totals.rss_bytes),
            size(totals.peak_requested_bytes),
            totals.live_blocks.map_or(DASH.into(), count),
            process.rates.allocations_per_second.map_or(DASH.into(), short),
            process.threads.as_ref().map_or(DASH.into(), |threads| count(threads.live)),
            verdict::word(process).into(),
            harmless(&process.command).into_owned(),
        ]);
    }
    table.write(out)
}

/// Every process in full.
pub(crate) fn write_details(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    for (position, process) in snapshot.processes.iter().enumerate() {
        if position > 0 {
            writeln!(out)?;
        }
        write_process(process, out)?;
    }
    Ok(())
}

fn write_process(process: &Process, out: &mut impl Write) -> io::Result<()> {
    let mut about = vec![format!("{} {}", process.pid, process.state.as_str())];
    about.extend(process.is_stopped().then(|| "stopped".into()));
    about.extend(process.uptime_seconds.map(|seconds| format!("up {}", duration(seconds))));
    about.extend(process.uid.map(|uid| format!("uid {uid}")));
    about.extend(process.ppid.map(|ppid| format!("parent {ppid}")));
    about.extend(process.forked_from.map(|pid| format!("forked from {pid}")));
    writeln!(out, "{}", about.join(", "))?;
    writeln!(out, "{}", harmless(&process.command))?;
    match process.state {
        State::NoAccess => writeln!(out, "its heap is not shown: it belongs to another user")?,
        State::Unpublished => writeln!(out, "its heap is not shown: it publishes nothing")?,
        _ => {}
    }
    write_verdict(process, out)?;
    writeln!(out)?;
    write_totals(process, out)?;
    write_classes(process, out)?;
    write_large(process, out)?;
    write_threads(process, out)?;
    write_misuse(process, out)?;
    for unread in &process.unread {
        writeln!(out, "not read: {unread}")?;
    }
    write_log(process, out)
}

fn write_verdict(process: &Process, out: &mut impl Write) -> io::Result<()> {
    let Some(verdict) = verdict::verdict(process) else { return Ok(()) };
    writeln!(out, "\n{}  {}", verdict.title, verdict.text)?;
    let also = verdict.also.map(|also| format!("also {also}"));
    for line in verdict.place.into_iter().chain(also).chain(verdict.also_place) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn write_log(process: &Process, out: &mut impl Write) -> io::Result<()> {
    if process.log.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nlog")?;
    for entry in &process.log {
        writeln!(out, "{}  {}", entry.time, log::words(&entry.event))?;
    }
    Ok(())
}

fn write_totals(process: &Process, out: &mut impl Write) -> io::Result<()> {
    let totals = &process.totals;
    let rates = &process.rates;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    for (name, figure, note) in byte_lines(totals) {
        table.row(vec![name.into(), figure, note]);
    }
    let per_second = |rate: Option<f64>| rate.map_or(String::new(), |rate| format!("{} a second", short(rate)));
    let plain = |figure: Option<u64>| figure.map_or(DASH.into(), count);
    table.row(vec!["live blocks".into(), plain(totals.live_blocks), String::new()]);
    table.row(vec!["allocations".into(), plain(totals.allocations), per_second(rates.allocations_per_second)]);
    table.row(vec!["frees".into(), plain(totals.frees), per_second(rates.frees_per_second)]);
    table.row(vec!["reallocations".into(), plain(totals.reallocations), String::new()]);
    table.row(vec!["remote frees".into(), plain(totals.remote_frees), String::new()]);
    if let Some(limits) = &process.limits {
        let room = limits
            .seconds_to_limit
            .filter(|_| !process.state.is_past())
            .map_or(String::new(), |left| format!(", met in {} {}", span(left), limits.whose_growth()));
        let used = format!("{} used{room}", bytes(limits.cgroup_used_bytes));
        table.row(vec!["cgroup limit".into(), bytes(limits.cgroup_limit_bytes), used]);
    }
    if totals.requested_bytes.is_none() {
        table.rows.retain(|row| row[1] != DASH);
    }
    table.write(out)?;
    match &process.last_minute {
        Some(change) => writeln!(out, "last minute    {}", changes(change)),
        None => Ok(()),
    }
}

/// What has changed in the chain of bytes, in one line.
fn changes(change: &Chain) -> String {
    const NAMES: [&str; 10] =
        ["requested", "rounding", "allocated", "pinned", "cached", "tables", "other", "resident", "not heap", "RSS"];
    let known = NAMES.iter().zip(change.links()).filter_map(|(name, change)| Some((name, change?)));
    let changed: Vec<String> = known.map(|(name, change)| format!("{name} {}", signed_change(change))).collect();
    changed.join(", ")
}

/// Lines of bytes: name, figure, and what else there is to say.
fn byte_lines(totals: &Totals) -> Vec<(&'static str, String, String)> {
    let peak = |peak: Option<u64>, error: Option<u64>| match (peak, error) {
        (Some(peak), Some(0)) => format!("peak {}", bytes(peak)),
        (Some(peak), error) => format!("peak {} +- {}", bytes(peak), size(error)),
        _ => String::new(),
    };
    let of_allocated = |part: Option<u64>| match (part, totals.allocated_bytes) {
        (Some(part), Some(whole)) if whole > 0 => format!("{} of allocated", percent(part, whole)),
        _ => String::new(),
    };
    let age = totals.resident_age_seconds.map_or(String::new(), |age| format!("measured {} ago", duration(age)));
    let sum = |sum: Option<u64>| sum.map_or(String::new(), |sum| format!("{} since the start", bytes(sum)));
    let rss_peak = peak(totals.peak_rss_bytes, Some(0));
    vec![
        ("requested", size(totals.requested_bytes), peak(totals.peak_requested_bytes, totals.peak_error_bytes)),
        ("allocated", size(totals.allocated_bytes), peak(totals.peak_allocated_bytes, totals.peak_error_bytes)),
        ("  rounding", size(totals.internal_fragmentation_bytes), of_allocated(totals.internal_fragmentation_bytes)),
        ("pinned", size(totals.pinned_bytes), of_allocated(totals.pinned_bytes)),
        ("cached", size(totals.cached_bytes), String::new()),
        ("metadata", size(totals.metadata_bytes), String::new()),
        ("other", totals.other_bytes.map_or(DASH.into(), signed_bytes), String::new()),
        ("resident", size(totals.resident_bytes), age),
        ("process RSS", size(totals.rss_bytes), rss_peak),
        ("  swapped", size(totals.swap_bytes), String::new()),
        ("committed", size(totals.committed_bytes), String::new()),
        ("retained", size(totals.retained_bytes), String::new()),
        ("purged", size(totals.purged_bytes), "since the start".into()),
        ("turnover", size(totals.cumulative_requested_bytes), sum_note(totals, sum)),
    ]
}

fn sum_note(totals: &Totals, sum: impl Fn(Option<u64>) -> String) -> String {
    match totals.cumulative_allocated_bytes {
        None => String::new(),
        allocated => format!("requested, {} allocated", sum(allocated).trim_end_matches(" since the start")),
    }
}

fn write_classes(process: &Process, out: &mut impl Write) -> io::Result<()> {
    let Some(classes) = &process.size_classes else { return Ok(()) };
    let used: Vec<&SizeClass> = classes.iter().filter(|class| class.allocations > 0).collect();
    if used.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nsize classes")?;
    let mut table = Table::new(&[
        ("BLOCK", Align::Right),
        ("LIVE", Align::Right),
        ("FREE", Align::Right),
        ("REQUESTED", Align::Right),
        ("ALLOCATED", Align::Right),
        ("PINNED", Align::Right),
        ("SLABS", Align::Right),
        ("ALLOCATIONS", Align::Right),
        ("FREES", Align::Right),
        ("WASTE", Align::Right),
        ("GROWTH/S", Align::Right),
    ]);
    for class in used {
        table.row(vec![
            class.block_size.to_string(),
            count(class.live_blocks),
            count(class.free_list_length),
            bytes(class.requested_bytes),
            bytes(class.allocated_bytes),
            bytes(class.pinned_bytes),
            count(class.slabs),
            count(class.allocations),
            count(class.frees),
            bytes(class.waste_bytes()),
            growth(class.growth_bytes_per_second),
        ]);
    }
    table.write(out)
}

fn growth(rate: Option<f64>) -> String {
    rate.map_or(DASH.into(), |rate| signed_change(rate.round() as i64))
}

fn write_large(process: &Process, out: &mut impl Write) -> io::Result<()> {
    let Some(large) = &process.large else { return Ok(()) };
    let used: Vec<&LargeClass> = large.classes.iter().filter(|class| class.allocations > 0).collect();
    if used.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nlarge blocks")?;
    let mut table = Table::new(&[
        ("UP TO", Align::Right),
        ("LIVE", Align::Right),
        ("REQUESTED", Align::Right),
        ("ALLOCATED", Align::Right),
        ("ALLOCATIONS", Align::Right),
        ("FREES", Align::Right),
        ("GROWTH/S", Align::Right),
    ]);
    for class in used {
        table.row(vec![
            class.up_to_bytes.map_or("any".into(), bytes),
            count(class.live_blocks),
            bytes(class.requested_bytes),
            bytes(class.allocated_bytes),
            count(class.allocations),
            count(class.frees),
            growth(class.growth_bytes_per_second),
        ]);
    }
    table.write(out)?;
    writeln!(out, "{} page moves, {} purges", count(large.page_moves), count(large.purges))
}

/// Threads that a text shows one by one; the JSON has them all.
const MOST_THREADS: usize = 32;

fn write_threads(process: &Process, out: &mut impl Write) -> io::Result<()> {
    let Some(threads) = &process.threads else { return Ok(()) };
    let mut summary = format!("{} live, {} started, {} ended", threads.live, threads.started, threads.ended);
    if threads.stranded_bytes > 0 {
        summary.push_str(&format!(", {} stranded", bytes(threads.stranded_bytes)));
    }
    if let Some(ends) = threads.ends_per_second.filter(|&ends| ends >= 0.1) {
        summary.push_str(&format!(", {} end a second", short(ends)));
    }
    writeln!(out, "\nthreads: {summary}")?;
    let mut rows: Vec<_> = threads.rows.iter().filter(|row| row.state != ThreadState::Ended).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.allocated_by_bytes));
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        ("TID", Align::Right),
        ("ALLOCATIONS", Align::Right),
        ("FREES", Align::Right),
        ("ALLOCATED BY", Align::Right),
        ("FREED BY", Align::Right),
        ("REMOTE OUT", Align::Right),
        ("REMOTE IN", Align::Right),
        ("NAME", Align::Left),
    ]);
    for row in rows.iter().take(MOST_THREADS) {
        table.row(vec![
            row.tid.map_or(DASH.into(), |tid| tid.to_string()),
            count(row.allocations),
            count(row.frees),
            bytes(row.allocated_by_bytes),
            bytes(row.freed_by_bytes),
            count(row.remote_frees),
            row.remote_collected.map_or(DASH.into(), count),
            harmless(&row.name).into_owned(),
        ]);
    }
    table.write(out)?;
    match rows.len().saturating_sub(MOST_THREADS) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more"),
    }
}

fn write_misuse(process: &Process, out: &mut impl Write) -> io::Result<()> {
    let Some(misuse) = &process.misuse else { return Ok(()) };
    let counts = [
        ("foreign", misuse.foreign_frees),
        ("double", misuse.double_frees),
        ("invalid", misuse.invalid_frees),
        ("corrupt", misuse.corruptions),
    ];
    if counts.iter().all(|(_, count)| *count == 0) {
        return Ok(());
    }
    let counts: Vec<String> = counts.iter().map(|(name, figure)| format!("{} {name}", count(*figure))).collect();
    writeln!(out, "\nmisuse: {}", counts.join(", "))?;
    for event in &misuse.last {
        let of = match (event.block_size, event.requested_bytes) {
            (Some(block), Some(requested)) => format!(", a block of {block} bytes ({requested} requested)"),
            (Some(block), None) => format!(", a block of {block} bytes"),
            _ => String::new(),
        };
        let kind = event.kind.replace('_', " ");
        let code = match (&event.module, &event.module_offset) {
            (Some(module), Some(offset)) => format!(" ({}+{offset})", harmless(module)),
            _ => String::new(),
        };
        let more = match event.frees {
            Some(frees) if frees > 1 => format!(", and {} more from there", count(frees - 1)),
            _ => String::new(),
        };
        writeln!(
            out,
            "{}  {kind}: {}({}){of}, called from {}{code} in thread {}{more}",
            event.time, event.call, event.address, event.caller, event.tid
        )?;
    }
    Ok(())
}

fn size(figure: Option<u64>) -> String {
    figure.map_or(DASH.into(), bytes)
}

/// On which side of its column a cell stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Figures.
    Right,
}

/// Cells in columns that are as wide as their widest cell.
pub(crate) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; no line of names where all are empty.
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let rows = if names.iter().all(String::is_empty) { Vec::new() } else { vec![names] };
        Self { columns: columns.iter().map(|(_, align)| *align).collect(), rows }
    }

    /// Adds a row with one cell per column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Writes it, without blanks at the ends of lines.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.columns).map(|((cell, &width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
