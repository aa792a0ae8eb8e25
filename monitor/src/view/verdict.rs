//! The diagnosis in words. Text and screen say the same.

use super::format::{bytes, count, duration, harmless, short};
use crate::model::diagnosis::{ClassShare, Finding, Kind, ThreadShare};
use crate::model::{Line, Misuse, MisuseEvent, Process, State, Time};

/// What leads, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    /// In capitals: `LEAK SUSPECTED`.
    pub(crate) title: &'static str,
    /// The figures behind it.
    pub(crate) text: String,
    /// Where it comes from: sizes, and threads.
    pub(crate) place: Vec<String>,
    /// What is true as well.
    pub(crate) also: Option<String>,
    /// Where that comes from, of a process that is dead: what was in the heap is what there is to find out.
    pub(crate) also_place: Vec<String>,
    /// Whether somebody should look into it.
    pub(crate) alarms: bool,
}

/// What is to be said of a process; nothing where too little is known.
pub(crate) fn verdict(process: &Process) -> Option<Verdict> {
    match process.state {
        State::Crashed => return Some(crash(process)),
        State::Exited | State::Replaced => return Some(exit(process)),
        _ => {}
    }
    let diagnosis = process.diagnosis.as_ref()?;
    let finding = &diagnosis.finding;
    let also = diagnosis.also.as_ref().map(|also| format!("{}: {}", title(also.kind).to_lowercase(), text(also)));
    let wrong = || process.misuse.as_ref().and_then(gravest).map(|event| format!("misuse: {}", misuse(event)));
    Some(Verdict {
        title: title(finding.kind),
        text: text(finding),
        place: place(finding),
        also: also.or_else(wrong),
        also_place: Vec::new(),
        alarms: matches!(finding.kind, Kind::LeakSuspected | Kind::NotHeap | Kind::Fragmentation | Kind::Stranded),
    })
}

/// The diagnosis in a word, for a column. A misuse stands before what is no trouble, and for how a process has crashed.
pub(crate) fn word(process: &Process) -> &'static str {
    let kind = process.diagnosis.as_ref().map(|diagnosis| diagnosis.finding.kind);
    let is_told = process.state == State::Crashed || matches!(kind, None | Some(Kind::Stable | Kind::Varying));
    if is_told && process.misuse.as_ref().and_then(gravest).is_some() {
        return "misuse!";
    }
    match kind {
        Some(Kind::LeakSuspected) => "leak?",
        Some(Kind::NotHeap) => "not heap",
        Some(Kind::WarmingUp) => "warming",
        Some(Kind::Fragmentation) => "fragment.",
        Some(Kind::ThreadChurn) => "threads",
        Some(kind) => kind.as_str(),
        None => "-",
    }
}

/// A kind of finding in capitals.
pub(crate) fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::NotHeap => "NOT THE HEAP",
        Kind::LeakSuspected => "LEAK SUSPECTED",
        Kind::WarmingUp => "WARMING UP",
        Kind::Growing => "GROWING",
        Kind::Filling => "FILLING",
        Kind::Fragmentation => "FRAGMENTATION",
        Kind::Rounding => "ROUNDING",
        Kind::Cache => "CACHE",
        Kind::Churn => "CHURN",
        Kind::ThreadChurn => "THREAD CHURN",
        Kind::Stranded => "STRANDED",
        Kind::Stable => "STABLE",
        Kind::Varying => "VARYING",
    }
}

/// A size class, or a bucket of large blocks.
pub(crate) fn line(line: Line) -> String {
    match (line.block_size, line.up_to_bytes) {
        (Some(size), _) => format!("class {size}"),
        (None, Some(limit)) => format!("large to {}", bytes(limit)),
        (None, None) => "largest".to_owned(),
    }
}

/// A time of day, UTC: `12:00:05Z`.
pub(crate) fn clock(time: Time) -> String {
    let stamp = time.to_string();
    format!("{}Z", stamp.get(11..19).unwrap_or_default())
}

/// A span of time in one unit, or two where one says little: `40 s`, `17 min`, `2 h 05 min`, `3 d 04 h`.
pub(crate) fn span(seconds: f64) -> String {
    match seconds.max(0.0) as u64 {
        // From two minutes on: what was 99 s would else be one minute a second later.
        whole @ 0..120 => format!("{whole} s"),
        whole @ 120..3600 => format!("{} min", whole / 60),
        _ => duration(seconds),
    }
}

fn text(finding: &Finding) -> String {
    let numbers = &finding.numbers;
    let size = |figure: Option<u64>| figure.map_or("?".to_owned(), bytes);
    let rate =
        |figure: Option<f64>| figure.map_or("?".to_owned(), |figure| format!("{}/s", bytes(figure.max(0.0) as u64)));
    let share = |figure: Option<f64>| figure.map_or("?".to_owned(), |share| format!("{:.0} %", share * 100.0));
    let time = numbers.seconds.map_or("some time".to_owned(), span);
    let amount = size(numbers.bytes);
    match finding.kind {
        Kind::NotHeap => match numbers.bytes_per_second {
            Some(_) => format!("+{}, outside the heap", rate(numbers.bytes_per_second)),
            None => format!("{amount}, {} of RSS, are not the heap's", share(numbers.share)),
        },
        Kind::LeakSuspected => {
            format!("+{}, steady for {time}; the floor has not fallen", rate(numbers.bytes_per_second))
        }
        Kind::WarmingUp => format!("+{} over {time}, and slowing", rate(numbers.bytes_per_second)),
        Kind::Growing => {
            let more = match numbers.high_bytes {
                Some(_) => format!("a climb to {} came back before", size(numbers.high_bytes)),
                None => "too short to say more".to_owned(),
            };
            format!("+{} for {time}; {more}", rate(numbers.bytes_per_second))
        }
        Kind::Filling => format!("+{} resident, in blocks allocated before", rate(numbers.bytes_per_second)),
        Kind::Fragmentation => format!("{amount} pinned, {} of the heap: free between live", share(numbers.share)),
        Kind::Rounding => format!("{amount}, {} of allocated, was not asked for", share(numbers.share)),
        Kind::Cache => format!("{amount} free but kept, {} of the heap", share(numbers.share)),
        Kind::Churn => format!(
            "{} freed and allocated anew, {} allocations/s",
            rate(numbers.bytes_per_second),
            short(numbers.allocations_per_second.unwrap_or(0.0)),
        ),
        Kind::ThreadChurn => {
            format!("{} threads end a second", short(numbers.thread_ends_per_second.unwrap_or(0.0)))
        }
        Kind::Stranded => format!("{amount} in slabs of ended threads, {} of allocated", share(numbers.share)),
        Kind::Stable => format!("{} allocated, for {time}", size(numbers.high_bytes)),
        Kind::Varying => {
            format!("{} - {} allocated, in {time}", size(numbers.low_bytes), size(numbers.high_bytes))
        }
    }
}

fn place(finding: &Finding) -> Vec<String> {
    let numbers = &finding.numbers;
    if finding.kind == Kind::Cache {
        return vec![match numbers.seconds {
            Some(seconds) => {
                format!("goes back at one of the next 4,096 frees once it has lain for {}", duration(seconds))
            }
            None => "never returns: STATSALLOC_DECAY_MS=never".to_owned(),
        }];
    }
    if finding.kind == Kind::NotHeap {
        let (files, others) = match numbers.file_bytes {
            Some(files) => (format!("{} in files; else ", bytes(files)), "maps, stacks, other allocators"),
            None => (String::new(), "maps, stacks, files, other allocators"),
        };
        return vec![format!("{files}{others}: see /proc/PID/smaps")];
    }
    let mut parts = Vec::new();
    let of = match finding.kind {
        Kind::LeakSuspected | Kind::WarmingUp | Kind::Growing => " of growth",
        Kind::Filling => " of allocated",
        _ => "",
    };
    let comma = if finding.classes.len() == 1 { "," } else { "" };
    let size = |class: &ClassShare| format!("{}{comma} {:.0} %", line(class.line), class.share * 100.0);
    let mut sizes: Vec<String> = finding.classes.iter().map(size).collect();
    if let (Some(live), Some(carved), Some(slabs), Some(first)) =
        (numbers.live_blocks, numbers.carved_blocks, numbers.slabs, finding.classes.first())
    {
        sizes = vec![format!(
            "{}, {:.0} %: {} live of {} carved blocks in {} slabs",
            line(first.line),
            first.share * 100.0,
            count(live),
            count(carved),
            count(slabs)
        )];
    }
    if !sizes.is_empty() {
        parts.push(format!("where: {}{of}", sizes.join(", ")));
    }
    let threads: Vec<String> = finding.threads.iter().map(|thread| thread_share(thread, &finding.threads)).collect();
    if !threads.is_empty() {
        parts.push(format!("alloc. by: {}", threads.join(", ")));
    }
    parts
}

/// A thread and its share, "up to" which it is where a hundredth or more of the whole may be another's; with its number if
/// others of those named are called so too.
fn thread_share(thread: &ThreadShare, all: &[ThreadShare]) -> String {
    let bound = if thread.share - thread.certain_share >= 0.01 { "up to " } else { "" };
    let is_shared = all.iter().filter(|other| other.name == thread.name).count() > 1;
    let number = thread.tid.filter(|_| is_shared).map_or(String::new(), |tid| format!(" ({tid})"));
    format!("{}{number} {bound}{:.0} %", harmless(&thread.name), thread.share * 100.0)
}

/// What was last said of a process that has ended.
fn last_said(process: &Process) -> Option<String> {
    let finding = &process.diagnosis.as_ref()?.finding;
    Some(format!("{} before: {}", title(finding.kind).to_lowercase(), text(finding)))
}

/// Where that came from. What the living may still give back, or have mapped, is not to be found any more.
fn last_place(process: &Process) -> Vec<String> {
    let finding = process.diagnosis.as_ref().map(|diagnosis| &diagnosis.finding);
    finding.filter(|finding| !matches!(finding.kind, Kind::Cache | Kind::NotHeap)).map_or_else(Vec::new, place)
}

/// Of a process that has become another program.
const BEFORE: &str = "these are the figures from before that";

fn exit(process: &Process) -> Verdict {
    let now = process.replaced_by.as_deref().map(harmless);
    let (title, text) = match (process.state, now) {
        (State::Replaced, now) => {
            ("REPLACED", format!("has become {}, without the library", now.unwrap_or("?".into())))
        }
        (_, Some(now)) => ("EXITED", format!("it had become {now}, without the library, and has ended")),
        (_, None) => ("EXITED", "it has ended in an orderly way; these are its last figures".to_owned()),
    };
    Verdict {
        title,
        text,
        place: process.replaced_by.iter().map(|_| BEFORE.to_owned()).chain(last_said(process)).collect(),
        also: None,
        also_place: last_place(process),
        alarms: false,
    }
}

/// The last misuse that was more than a foreign pointer: the likely cause of a crash.
pub(crate) fn gravest(misuse: &Misuse) -> Option<&MisuseEvent> {
    misuse.last.iter().rev().find(|event| event.kind != "foreign")
}

fn crash(process: &Process) -> Verdict {
    let cause = process.misuse.as_ref().and_then(gravest);
    Verdict {
        title: "CRASHED",
        text: match cause {
            Some(event) => format!("likely cause: {}", misuse(event)),
            None => at_its_limit(process)
                .unwrap_or_else(|| "killed, crashed or replaced by exec: it ended without a word".to_owned()),
        },
        place: vec![match cause {
            Some(event) => format!("at {}, thread {}", clock(event.time), event.tid),
            None if process.misuse.as_ref().is_some_and(|misuse| misuse.foreign_frees > 0) => {
                "no misuse of the heap but foreign frees was seen before".to_owned()
            }
            None => "no misuse of the heap was seen before".to_owned(),
        }],
        also: last_said(process),
        also_place: if cause.is_none() { last_place(process) } else { Vec::new() },
        alarms: true,
    }
}

/// Of one that was seen to be about to meet the limit of its control group: what has most likely ended it.
fn at_its_limit(process: &Process) -> Option<String> {
    /// This share of the limit was used, or it would have been met within so many seconds.
    const NEAR: (f64, f64) = (0.95, 5.0);
    let limits = process.limits.as_ref()?;
    let share = limits.cgroup_used_bytes as f64 / limits.cgroup_limit_bytes.max(1) as f64;
    let is_near = share >= NEAR.0 || limits.seconds_to_limit.is_some_and(|left| left < NEAR.1);
    let limit = bytes(limits.cgroup_limit_bytes);
    is_near.then(|| format!("out of memory? its cgroup had used {:.0} % of {limit} when last seen", share * 100.0))
}

/// A misuse in one line.
pub(crate) fn misuse(event: &MisuseEvent) -> String {
    let kind = event.kind.replace('_', " ");
    let size = event.requested_bytes.or(event.block_size).map_or(String::new(), |size| format!(" of {}", bytes(size)));
    let code = code(&event.caller, event.module.as_deref(), event.module_offset.as_deref());
    format!("{kind} in {}({}){size} from {code}", event.call, harmless(&event.address))
}

/// A return address: with the file's name and the address in it, where they are known.
pub(crate) fn code(caller: &str, module: Option<&str>, offset: Option<&str>) -> String {
    let caller = harmless(caller);
    match (module, offset) {
        (Some(module), Some(offset)) => {
            let file = module.rsplit('/').next().unwrap_or(module);
            format!("{}+{} ({caller})", harmless(file), harmless(offset))
        }
        _ => caller.into_owned(),
    }
}

/// All wrong frees and corruptions.
pub(crate) fn misuse_count(misuse: &Misuse) -> u64 {
    [misuse.foreign_frees, misuse.double_frees, misuse.invalid_frees, misuse.corruptions]
        .into_iter()
        .fold(0, u64::saturating_add)
}
