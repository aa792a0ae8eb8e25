//! Fixed models.

use crate::model::diagnosis::{ClassShare, Finding, Kind, Numbers, ThreadShare};
use crate::model::history::ClassSeries;
use crate::model::log::{Entry, Event};
use crate::model::*;

pub(super) const NOW: Time = Time(1_769_860_800_123_000_000);
const MIB: u64 = 1 << 20;

/// A server with some of everything.
pub(super) fn process() -> Process {
    let requested = 1751 * MIB;
    let allocated = 1849 * MIB;
    Process {
        id: id(4711),
        pid: 4711,
        ppid: Some(1),
        uid: Some(1000),
        namespace_pid: Some(4711),
        state: State::Live,
        stopped: Some(false),
        name: "orderd".into(),
        command: "/usr/sbin/orderd --listen 0.0.0.0:8080".into(),
        executable: Some("/usr/sbin/orderd".into()),
        start_time: Some(Time(NOW.0 - 273_840 * 1_000_000_000)),
        uptime_seconds: Some(273_840.0),
        replaced_by: None,
        forked_from: None,
        totals: Totals {
            requested_bytes: Some(requested),
            allocated_bytes: Some(allocated),
            pinned_bytes: Some(211 * MIB),
            cached_bytes: Some(64 * MIB),
            metadata_bytes: Some(118 * MIB),
            other_bytes: Some(-3 * MIB as i64),
            resident_bytes: Some(2239 * MIB),
            resident_age_seconds: Some(1.0),
            rss_bytes: Some(2466 * MIB),
            rss_file_bytes: Some(190 * MIB),
            swap_bytes: Some(0),
            active_bytes: Some(allocated + 211 * MIB),
            committed_bytes: Some(2300 * MIB),
            retained_bytes: Some(61 * MIB),
            purged_bytes: Some(900 * MIB),
            internal_fragmentation_bytes: Some(allocated - requested),
            external_fragmentation_bytes: Some(211 * MIB),
            peak_requested_bytes: Some(1800 * MIB),
            peak_allocated_bytes: Some(1900 * MIB),
            peak_error_bytes: Some(64 << 10),
            peak_rss_bytes: Some(2600 * MIB),
            cumulative_requested_bytes: Some(90_000 * MIB),
            cumulative_allocated_bytes: Some(95_000 * MIB),
            live_blocks: Some(12_345_678),
            allocations: Some(987_654_321),
            frees: Some(975_308_643),
            reallocations: Some(54_321),
            remote_frees: Some(7_654_321),
        },
        rates: Rates {
            allocations_per_second: Some(45_678.9),
            frees_per_second: Some(43_210.0),
            requested_growth_bytes_per_second: Some(1_258_291.0),
        },
        misuse: Some(Misuse {
            foreign_frees: 1234,
            double_frees: 1,
            invalid_frees: 0,
            corruptions: 0,
            last: misuses(),
        }),
        threads: Some(Threads {
            live: 3,
            started: 20,
            ended: 17,
            without_row: 0,
            stranded_bytes: 4096,
            adopted_bytes: MIB,
            starts_per_second: Some(0.4),
            ends_per_second: Some(0.2),
            ended_lately: 1.0,
            gone: vec![],
            rows: vec![
                thread(4711, "orderd", ThreadState::Live, 10),
                thread(4712, "worker-1", ThreadState::Live, 400),
                thread(4713, "evil\x1b[31m\n", ThreadState::Live, 7000),
                thread(4699, "worker-0", ThreadState::Ended, 55),
                Thread { tid: None, ..thread(0, "(shared)", ThreadState::Shared, 1) },
            ],
        }),
        size_classes: Some((1..=72).map(class).collect()),
        large: Some(Large {
            live_blocks: 12,
            requested_bytes: 40 * MIB,
            allocated_bytes: 41 * MIB,
            page_moves: 2,
            purges: 17,
            classes: (0..4).map(bucket).collect(),
        }),
        history: Some(history(requested, allocated)),
        diagnosis: Some(leak()),
        last_minute: Some(last_minute()),
        limits: Some(Limits {
            cgroup_limit_bytes: 4096 * MIB,
            cgroup_used_bytes: 2900 * MIB,
            seconds_to_limit: Some(996.0),
            heap_growth_alone: false,
        }),
        decay_seconds: Some(1.0),
        class_history: Some(class_history()),
        log: log(),
        unread: vec!["the thread names: a test".into()],
        end: None,
        children: vec![],
    }
}

fn thread(tid: u32, name: &str, state: ThreadState, scale: u64) -> Thread {
    Thread {
        tid: Some(tid),
        name: name.into(),
        state,
        allocations: scale * 1000,
        frees: scale * 900,
        allocated_by_bytes: scale * MIB,
        freed_by_bytes: scale * MIB / 2,
        reallocations: scale,
        remote_frees: scale * 3,
        start_time: Some(NOW),
        end_time: None,
        allocations_per_second: Some(500.0),
        frees_per_second: Some(450.0),
        row: tid as usize,
        row_generation: 1,
        remote_collected: Some(scale),
        abandoned_bytes: Some(0),
        adopted_bytes: Some(0),
        row_remote_collected: scale,
        row_abandoned_bytes: 0,
        row_adopted_bytes: 0,
        classes: (1..=72)
            .map(|number| {
                ThreadLine::whole(Line::class(number * 16), [scale * number, scale, scale * number * 1000, scale * 900])
            })
            .collect(),
    }
}

/// Class `number` of 72; every tenth was never used.
fn class(number: u64) -> SizeClass {
    let used = u64::from(!number.is_multiple_of(10));
    let live_blocks = used * 5_000_000 / (number * number);
    let block_size = number * 16;
    SizeClass {
        block_size,
        live_blocks,
        free_list_length: used * number * 7,
        requested_bytes: live_blocks * (block_size - 5),
        allocated_bytes: live_blocks * block_size,
        pinned_bytes: used * number * 7 * block_size,
        allocations: live_blocks * 9,
        frees: live_blocks * 8,
        slabs: used * (live_blocks * block_size).div_ceil(65536),
        slab_bytes: 65536,
        cumulative_requested_bytes: live_blocks * 9 * block_size,
        allocations_per_second: Some(1200.0),
        frees_per_second: Some(1100.0),
        growth_bytes_per_second: Some(100.0 * block_size as f64),
        recent_bytes: (0..30).map(|at| allocated_then(at, live_blocks * block_size, number)).collect(),
    }
}

/// Two minutes of growth with a dip, the minutes of two hours, no hours yet.
fn history(requested: u64, allocated: u64) -> History {
    let point = |ago: u64, part: u64| Point {
        time: Time(NOW.0 - ago * 1_000_000_000),
        requested_bytes: requested / 1000 * part,
        allocated_bytes: allocated / 1000 * part,
        pinned_bytes: allocated / 10_000 * part,
        cached_bytes: 40 * MIB,
        allocations: 987_000_000 - ago * (40_000 + part),
        frees: 975_000_000 - ago * 39_000,
        cumulative_requested_bytes: 90_000 * MIB - ago * MIB,
    };
    let dip = |ago: u64| if (30..40).contains(&ago) { 300 } else { 1000 - ago * 5 };
    History {
        seconds: (1..=120).rev().map(|ago| point(ago, dip(ago))).collect(),
        minutes: (1..=120).rev().map(|ago| point(ago * 60, 1000 - ago * 8)).collect(),
        hours: vec![],
    }
}

fn bucket(number: u64) -> LargeClass {
    LargeClass {
        up_to_bytes: (number < 3).then(|| 65536 << number),
        live_blocks: 3 * number,
        requested_bytes: 10 * MIB * number,
        allocated_bytes: 11 * MIB * number,
        allocations: 100 * number,
        frees: 97 * number,
        allocations_per_second: Some(2.5 * number as f64),
        frees_per_second: Some(2.0 * number as f64),
        growth_bytes_per_second: Some(-4096.0 * number as f64),
        recent_bytes: (0..20).map(|at| at * number).collect(),
    }
}

fn leak() -> Diagnosis {
    let class = |size: u64, share: f64| ClassShare { line: Line::class(size), share, bytes: (share * 1e9) as u64 };
    let thread = |tid: u32, name: &str, share: f64| ThreadShare {
        tid: Some(tid),
        name: name.into(),
        share,
        certain_share: share,
        allocated_by_bytes: (share * 2e9) as u64,
    };
    let cache = Finding {
        kind: Kind::Cache,
        since: Some(NOW),
        numbers: Numbers { bytes: Some(64 * MIB), share: Some(0.03), seconds: Some(1.0), ..Numbers::default() },
        classes: vec![],
        threads: vec![],
    };
    let finding = Finding {
        kind: Kind::LeakSuspected,
        since: Some(Time(NOW.0 - 1020 * 1_000_000_000)),
        numbers: Numbers {
            bytes: Some(1224 * MIB),
            share: Some(0.66),
            bytes_per_second: Some(1_258_291.0),
            seconds: Some(1020.0),
            ..Numbers::default()
        },
        classes: vec![class(64, 0.96)],
        threads: vec![thread(4714, "worker-3", 0.71), thread(4712, "evil\x1b[31m\n", 0.22)],
    };
    Diagnosis { finding, also: Some(cache) }
}

fn last_minute() -> Chain {
    let mib = |figure: f64| Some((figure * MIB as f64) as i64);
    Chain {
        requested_bytes: mib(72.0),
        rounding_bytes: mib(4.1),
        allocated_bytes: mib(76.1),
        pinned_bytes: mib(0.2),
        cached_bytes: Some(0),
        rss_bytes: mib(80.0),
        ..Chain::default()
    }
}

fn class_history() -> ClassHistory {
    let series = |number: u64| ClassSeries {
        line: Line::class(number * 16),
        allocated_bytes: (0..60).map(|at| MIB * number * (60 - at % 50)).collect(),
        pinned_bytes: (0..60).map(|at| MIB / 16 * at).collect(),
    };
    ClassHistory {
        times: (0..60).map(|at| Time(NOW.0 - (60 - at) * 60_000_000_000)).collect(),
        classes: (1..20).map(series).collect(),
    }
}

fn log() -> Vec<Entry> {
    let at = |ago: u64, event: Event| Entry { time: Time(NOW.0 - ago * 1_000_000_000), event };
    vec![
        at(273_840, Event::Started { name: "orderd\x1b[2J".into() }),
        at(600, Event::Attached),
        at(300, Event::Peak { allocated_bytes: 1900 * MIB, requested_bytes: 1800 * MIB }),
        at(200, Event::Diagnosis { before: Some(Kind::Growing), kind: Kind::LeakSuspected }),
        at(100, Event::Forked { child: 4800 }),
        at(
            5,
            Event::Misuse {
                number: 4,
                kind: "double_free",
                call: "free",
                address: "0x7f12a0001040".into(),
                caller: "0x55d0c3a01234".into(),
                module: None,
                module_offset: None,
                tid: 4713,
            },
        ),
    ]
}

/// A double free between two callers of foreign frees, the first in no file.
fn misuses() -> Vec<MisuseEvent> {
    let double = MisuseEvent {
        number: 4,
        kind: "double_free",
        call: "free",
        address: "0x7f12a0001040".into(),
        caller: "0x55d0c3a01234".into(),
        module: None,
        module_offset: None,
        frees: None,
        block_size: Some(64),
        requested_bytes: Some(50),
        tid: 4713,
        time: Time(NOW.0 - 5_000_000_000),
    };
    let foreign = |number: u64, ago: u64, frees: u64, module: Option<&str>| MisuseEvent {
        number,
        kind: "foreign",
        address: "0x55d0c4b07320".into(),
        caller: "0x7f12b87301f4".into(),
        module: module.map(str::to_owned),
        module_offset: module.map(|_| "0x121f4".into()),
        frees: Some(frees),
        block_size: None,
        requested_bytes: None,
        time: Time(NOW.0 - ago * 1_000_000_000),
        ..double.clone()
    };
    let module = "/usr/lib/x86_64-linux-gnu/libcodec\x1b[31m.so.5";
    vec![foreign(1, 70_000, 1, None), double.clone(), foreign(2, 2, 1233, Some(module))]
}

/// What tells the process of this PID from others.
pub(super) fn id(pid: u32) -> Identity {
    Identity::Process { pid, start_ticks: 7 }
}

/// Processes in every state.
pub(super) fn processes() -> Vec<Process> {
    let bare = |pid: u32, state: State, name: &str, command: &str| Process {
        id: id(pid),
        pid,
        state,
        name: name.into(),
        command: command.into(),
        totals: Totals::default(),
        rates: Rates::default(),
        misuse: None,
        threads: None,
        size_classes: None,
        large: None,
        history: None,
        diagnosis: None,
        last_minute: None,
        limits: None,
        class_history: None,
        log: vec![],
        ..process()
    };
    let mut less = process();
    (less.id, less.pid) = (id(812), 812);
    less.name = "less".into();
    less.command = "less README.md\x1b]0;owned\x07".into();
    less.totals.allocated_bytes = Some(312 * 1024);
    less.totals.requested_bytes = Some(300 * 1024);
    less.totals.rss_bytes = Some(3 * MIB);
    less.misuse = Some(Misuse { foreign_frees: 0, double_frees: 0, invalid_frees: 0, corruptions: 0, last: vec![] });
    let mut crashed = less.clone();
    (crashed.id, crashed.pid) = (id(999_999), 999_999);
    crashed.state = State::Crashed;
    crashed.name = "worker".into();
    crashed.command = "worker --once".into();
    vec![
        process(),
        less,
        crashed,
        bare(77, State::NoAccess, "postgres", "postgres"),
        bare(78, State::Unpublished, "init", "init"),
    ]
}

/// A climb, a standstill or a fall, by the class's number.
fn allocated_then(at: u64, bytes: u64, number: u64) -> u64 {
    match number % 3 {
        0 => bytes,
        1 => bytes / 30 * (at + 1),
        _ => bytes / 30 * (30 - at),
    }
}
