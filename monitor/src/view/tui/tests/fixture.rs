//! Fixed models.

use crate::model::*;

pub(super) const NOW: Time = Time(1_769_860_800_123_000_000);
const MIB: u64 = 1 << 20;

/// A server with some of everything.
pub(super) fn process() -> Process {
    let requested = 1751 * MIB;
    let allocated = 1849 * MIB;
    Process {
        pid: 4711,
        ppid: Some(1),
        uid: Some(1000),
        namespace_pid: Some(4711),
        state: State::Live,
        name: "orderd".into(),
        command: "/usr/sbin/orderd --listen 0.0.0.0:8080".into(),
        executable: Some("/usr/sbin/orderd".into()),
        start_time: Some(Time(NOW.0 - 273_840 * 1_000_000_000)),
        uptime_seconds: Some(273_840.0),
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
            foreign_frees: 3,
            double_frees: 1,
            invalid_frees: 0,
            corruptions: 0,
            last: vec![MisuseEvent {
                number: 4,
                kind: "double_free",
                call: "free",
                address: "0x7f12a0001040".into(),
                caller: "0x55d0c3a01234".into(),
                block_size: Some(64),
                requested_bytes: Some(50),
                tid: 4713,
                time: Time(NOW.0 - 5_000_000_000),
            }],
        }),
        threads: Some(Threads {
            live: 3,
            started: 20,
            ended: 17,
            without_row: 0,
            stranded_bytes: 4096,
            adopted_bytes: MIB,
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
            classes: vec![],
        }),
        history: Some(history(requested, allocated)),
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
    };
    let dip = |ago: u64| if (30..40).contains(&ago) { 300 } else { 1000 - ago * 5 };
    History {
        seconds: (1..=120).rev().map(|ago| point(ago, dip(ago))).collect(),
        minutes: (1..=120).rev().map(|ago| point(ago * 60, 1000 - ago * 8)).collect(),
        hours: vec![],
    }
}

/// The same process a second earlier, for rates.
pub(super) fn a_second_earlier() -> Process {
    let mut process = process();
    for class in process.size_classes.iter_mut().flatten() {
        class.allocations = class.allocations.saturating_sub(1200);
    }
    for thread in process.threads.iter_mut().flat_map(|threads| &mut threads.rows) {
        thread.allocations -= 500;
    }
    process
}

/// Processes in every state.
pub(super) fn processes() -> Vec<Process> {
    let bare = |pid: u32, state: State, name: &str, command: &str| Process {
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
        ..process()
    };
    let mut less = process();
    less.pid = 812;
    less.name = "less".into();
    less.command = "less README.md\x1b]0;owned\x07".into();
    less.totals.allocated_bytes = Some(312 * 1024);
    less.totals.requested_bytes = Some(300 * 1024);
    less.totals.rss_bytes = Some(3 * MIB);
    less.misuse = Some(Misuse { foreign_frees: 0, double_frees: 0, invalid_frees: 0, corruptions: 0, last: vec![] });
    let mut crashed = less.clone();
    crashed.pid = 999_999;
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
