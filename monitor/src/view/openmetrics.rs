//! Snapshots for Prometheus and its like: OpenMetrics, in base units, every name with `malloc_` before it.
//!
//! Processes of one name are summed, since a label with a PID makes a new series of every restart; `--label-pid` keeps
//! them apart. A counter's metadata carry `_total` like its samples: so does Prometheus's own parser, and `promtool`,
//! want it. Counters of a name fall when one of its processes ends, which a scraper takes for a restart of all of them:
//! the README says so. A HELP has to be true of the sum, and of one process too. Of the dead is written that they are,
//! and nothing else: their last figures are no present ones.

use super::format::harmless;
use crate::model::{Process, Snapshot, State};
use std::collections::HashMap;
use std::io::{self, Write};

/// What a family of metrics is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Gauge,
    Counter,
}

/// Labels besides the process's, in OpenMetrics' own writing, and a value.
type Sample = (String, f64);

/// A family of metrics.
struct Family {
    name: &'static str,
    kind: Type,
    help: &'static str,
    /// Of which processes it is.
    of: fn(State) -> bool,
    /// What a process has of it; nothing where that is unknown.
    samples: fn(&Process) -> Vec<Sample>,
}

/// Writes the figures of all living processes of `snapshot`, and how many are dead.
pub(crate) fn write(snapshot: &Snapshot, label_pid: bool, out: &mut impl Write) -> io::Result<()> {
    for family in FAMILIES {
        // In the order of their first process, and there in the family's own.
        let mut samples: Vec<Sample> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for process in snapshot.processes.iter().filter(|process| (family.of)(process.state)) {
            let process_labels = labels_of(process, label_pid);
            for (labels, value) in (family.samples)(process) {
                let comma = if labels.is_empty() { "" } else { "," };
                let all = format!("{process_labels}{comma}{labels}");
                match places.get(&all) {
                    Some(&place) => samples[place].1 += value,
                    None => {
                        places.insert(all.clone(), samples.len());
                        samples.push((all, value));
                    }
                }
            }
        }
        // Stable from look to look: the samples of one name stay together.
        samples.sort_by(|(one, _), (other, _)| process_of(one).cmp(process_of(other)));
        write_family(family, samples.into_iter(), out)?;
    }
    writeln!(out, "# EOF")
}

fn write_family(family: &Family, samples: impl Iterator<Item = Sample>, out: &mut impl Write) -> io::Result<()> {
    let Family { name, kind, help, .. } = family;
    let word = if *kind == Type::Counter { "counter" } else { "gauge" };
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {word}")?;
    // A unit must be the name's end, which a counter's is not.
    if name.ends_with("_bytes") {
        writeln!(out, "# UNIT {name} bytes")?;
    }
    for (labels, value) in samples {
        writeln!(out, "{name}{{{labels}}} {value}")?;
    }
    Ok(())
}

fn labels_of(process: &Process, label_pid: bool) -> String {
    let name = label("process", &process.name);
    if label_pid { format!("{name},pid=\"{}\"", process.pid) } else { name }
}

/// The first label: the process's.
fn process_of(labels: &str) -> &str {
    labels.split("\",").next().unwrap_or(labels)
}

fn label(name: &str, value: &str) -> String {
    let value = harmless(value).replace('\\', "\\\\").replace('"', "\\\"");
    format!("{name}=\"{value}\"")
}

fn one(figure: Option<u64>) -> Vec<Sample> {
    figure.map(|figure| (String::new(), figure as f64)).into_iter().collect()
}

/// A figure of every size class and bucket. All of them, so that series do not come and go.
fn by_size(process: &Process, class: fn(u64, u64) -> u64) -> Vec<Sample> {
    let classes = process
        .size_classes
        .iter()
        .flatten()
        .map(|one| (one.block_size.to_string(), class(one.live_blocks, one.allocated_bytes)));
    let buckets = process.large.iter().flat_map(|large| &large.classes).map(|one| {
        let limit = one.up_to_bytes.map_or("+Inf".to_owned(), |limit| limit.to_string());
        (limit, class(one.live_blocks, one.allocated_bytes))
    });
    classes.chain(buckets).map(|(size, value)| (label("block_bytes", &size), value as f64)).collect()
}

fn is_live(state: State) -> bool {
    state == State::Live
}

const fn gauge(name: &'static str, help: &'static str, samples: fn(&Process) -> Vec<Sample>) -> Family {
    Family { name, kind: Type::Gauge, help, of: is_live, samples }
}

const fn counter(name: &'static str, help: &'static str, samples: fn(&Process) -> Vec<Sample>) -> Family {
    Family { name, kind: Type::Counter, help, of: is_live, samples }
}

static FAMILIES: &[Family] = &[
    gauge("malloc_processes", "Living processes whose statistics can be read.", |_| vec![(String::new(), 1.0)]),
    Family {
        of: State::is_dead,
        ..gauge("malloc_dead_processes", "Processes that have ended, as long as their last state is kept.", |process| {
            vec![(label("state", process.state.as_str()), 1.0)]
        })
    },
    gauge("malloc_requested_bytes", "Bytes the program asked for, live.", |process| {
        one(process.totals.requested_bytes)
    }),
    gauge("malloc_allocated_bytes", "Bytes of the blocks that hold what was asked for.", |process| {
        one(process.totals.allocated_bytes)
    }),
    gauge("malloc_pinned_bytes", "Bytes of free blocks in slabs that are in use.", |process| {
        one(process.totals.pinned_bytes)
    }),
    gauge("malloc_cached_bytes", "Bytes of free slabs and spans that are kept for reuse.", |process| {
        one(process.totals.cached_bytes)
    }),
    gauge("malloc_metadata_bytes", "Bytes of the allocator's own tables.", |process| {
        one(process.totals.metadata_bytes)
    }),
    gauge("malloc_other_bytes", "Resident bytes of the heap that nothing else explains; may be negative.", |process| {
        process.totals.other_bytes.map(|bytes| (String::new(), bytes as f64)).into_iter().collect()
    }),
    gauge(
        "malloc_resident_bytes",
        "Resident bytes of the heap and its tables; pages that processes share count in each.",
        |process| one(process.totals.resident_bytes),
    ),
    gauge(
        "malloc_process_resident_bytes",
        "Resident bytes of the whole process; pages that processes share count in each.",
        |process| one(process.totals.rss_bytes),
    ),
    gauge("malloc_process_swap_bytes", "Swapped-out bytes of the whole process.", |process| {
        one(process.totals.swap_bytes)
    }),
    gauge("malloc_committed_bytes", "Accessible bytes of the heap's address range.", |process| {
        one(process.totals.committed_bytes)
    }),
    gauge("malloc_retained_bytes", "Accessible bytes with no memory behind them.", |process| {
        one(process.totals.retained_bytes)
    }),
    gauge("malloc_stranded_bytes", "Bytes of slabs of ended threads that no thread has taken over.", |process| {
        one(process.threads.as_ref().map(|threads| threads.stranded_bytes))
    }),
    gauge(
        "malloc_peak_requested_bytes",
        "Most bytes requested at one time in each process, added up: together they may have had less.",
        |process| one(process.totals.peak_requested_bytes),
    ),
    gauge(
        "malloc_peak_allocated_bytes",
        "Most bytes allocated at one time in each process, added up: together they may have had less.",
        |process| one(process.totals.peak_allocated_bytes),
    ),
    gauge("malloc_live_blocks", "Blocks in the program's hands.", |process| one(process.totals.live_blocks)),
    gauge("malloc_threads", "Threads that use the heap.", |process| {
        one(process.threads.as_ref().map(|threads| threads.live))
    }),
    gauge("malloc_class_live_blocks", "Live blocks by size.", |process| by_size(process, |blocks, _| blocks)),
    gauge("malloc_class_allocated_bytes", "Allocated bytes by size.", |process| by_size(process, |_, bytes| bytes)),
    gauge("malloc_diagnosis", "Processes whose diagnosis this is, or of which it is true besides.", |process| {
        let findings = process.diagnosis.iter().flat_map(|known| std::iter::once(&known.finding).chain(&known.also));
        findings.map(|finding| (label("kind", finding.kind.as_str()), 1.0)).collect()
    }),
    counter("malloc_allocations_total", "Blocks handed out in living processes.", |process| {
        one(process.totals.allocations)
    }),
    counter("malloc_frees_total", "Blocks taken back in living processes.", |process| one(process.totals.frees)),
    counter("malloc_reallocations_total", "Reallocations of live blocks in living processes.", |process| {
        one(process.totals.reallocations)
    }),
    counter("malloc_remote_frees_total", "Frees by another thread than the owner in living processes.", |process| {
        one(process.totals.remote_frees)
    }),
    counter(
        "malloc_cumulative_requested_bytes_total",
        "Bytes requested since the start in living processes.",
        |process| one(process.totals.cumulative_requested_bytes),
    ),
    counter("malloc_purged_bytes_total", "Bytes given back to the system by living processes.", |process| {
        one(process.totals.purged_bytes)
    }),
    counter("malloc_threads_started_total", "Threads that have used the heap in living processes.", |process| {
        one(process.threads.as_ref().map(|threads| threads.started))
    }),
    counter(
        "malloc_threads_ended_total",
        "Threads that have used the heap and ended in living processes.",
        |process| one(process.threads.as_ref().map(|threads| threads.ended)),
    ),
    counter(
        "malloc_misuses_total",
        "Wrong frees, and memory of the heap found overwritten, in living processes.",
        |process| {
            let Some(misuse) = &process.misuse else { return Vec::new() };
            let kinds = [
                ("double", misuse.double_frees),
                ("invalid", misuse.invalid_frees),
                ("foreign", misuse.foreign_frees),
                ("corrupt", misuse.corruptions),
            ];
            kinds.iter().map(|(kind, count)| (label("kind", kind), *count as f64)).collect()
        },
    ),
];
