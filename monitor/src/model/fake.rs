//! Segments made up for tests.

use super::Time;
use super::derive::{About, Memory};
use super::time::NANOS;
use super::{Identity, Process, State, derive};
use shm_layout::class::{BUCKETS, CLASSES, LINES, SizeClass, UNIT, bucket_limit};
use shm_layout::layout::*;
use shm_layout::reader::Reader;
use shm_layout::tally::{Counts, Scale, Way};
use shm_layout::{LAYOUT_VERSION, MAGIC};
use std::collections::BTreeMap;
use std::mem::offset_of;

/// When every made-up segment was made: 2026-01-31T12:00:00Z, on both clocks.
pub(crate) const CREATED: Time = Time(1_769_860_800 * NANOS);
/// What `CLOCK_MONOTONIC` said then.
pub(crate) const CREATED_MONOTONIC: u64 = 5_000 * NANOS;

/// The bytes of a segment.
pub(crate) struct Fake {
    /// From the header to the end of the last row.
    pub(crate) bytes: Vec<u8>,
}

/// Counters of one line: frees, requested_out, allocations, requested_in, capacity_in, capacity_out, slabs_in,
/// slabs_out.
pub(crate) type Line = [u64; 8];

impl Fake {
    /// A complete segment of a process that has done nothing, with `rows` rows.
    pub(crate) fn new(pid: u32, rows: usize) -> Self {
        let mut fake = Self { bytes: vec![0; ROWS_OFFSET + rows * size_of::<Row>()] };
        fake.word(offset_of!(Header, magic), MAGIC);
        let halves = [
            (offset_of!(Header, layout_version), LAYOUT_VERSION as usize),
            (offset_of!(Header, header_bytes), size_of::<Header>()),
            (offset_of!(Header, globals_offset), GLOBALS_OFFSET),
            (offset_of!(Header, globals_bytes), size_of::<Globals>()),
            (offset_of!(Header, classes_offset), CLASSES_OFFSET),
            (offset_of!(Header, class_count), CLASSES),
            (offset_of!(Header, bucket_count), BUCKETS),
            (offset_of!(Header, class_bytes), size_of::<ClassInfo>()),
            (offset_of!(Header, totals_offset), TOTALS_OFFSET),
            (offset_of!(Header, totals_bytes), size_of::<TotalsSlot>()),
            (offset_of!(Header, totals_slots), SECONDS),
            (offset_of!(Header, totals_slots) + 4, MINUTES),
            (offset_of!(Header, totals_slots) + 8, HOURS),
            (offset_of!(Header, class_ring_slots), CLASS_MINUTES),
            (offset_of!(Header, class_ring_offset), CLASS_RING_OFFSET),
            (offset_of!(Header, class_slot_bytes), size_of::<ClassSlot>()),
            (offset_of!(Header, row_bytes), size_of::<Row>()),
            (offset_of!(Header, row_count), ROWS),
            (offset_of!(Header, pid), pid as usize),
            (offset_of!(Header, uid), rustix::process::getuid().as_raw() as usize),
        ];
        for (offset, value) in halves {
            fake.half(offset, value as u32);
        }
        fake.word(offset_of!(Header, segment_bytes), SEGMENT_BYTES as u64);
        fake.word(offset_of!(Header, rows_offset), ROWS_OFFSET as u64);
        fake.word(offset_of!(Header, created_realtime_ns), CREATED.0);
        fake.word(offset_of!(Header, created_monotonic_ns), CREATED_MONOTONIC);
        fake.word(GLOBALS_OFFSET + offset_of!(Globals, rows_used), rows as u64);
        for line in 0..LINES {
            let class = SizeClass(line as u8);
            let start = CLASSES_OFFSET + line * size_of::<ClassInfo>();
            let size = if line < CLASSES { class.block_size() as u64 } else { bucket_limit(line - CLASSES) };
            fake.word(start + offset_of!(ClassInfo, block_size), size);
            if line < CLASSES {
                fake.half(start + offset_of!(ClassInfo, slab_blocks), class.slab_blocks() as u32);
                fake.half(start + offset_of!(ClassInfo, slab_bytes), (class.slab_units() * UNIT) as u32);
            }
        }
        fake.executable("/usr/bin/fake");
        fake
    }

    pub(crate) fn word(&mut self, offset: usize, value: u64) {
        self.bytes[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
    }

    pub(crate) fn half(&mut self, offset: usize, value: u32) {
        self.bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }

    pub(crate) fn global(&mut self, offset: usize, value: u64) {
        self.word(GLOBALS_OFFSET + offset, value);
    }

    pub(crate) fn executable(&mut self, path: &str) {
        let start = offset_of!(Header, executable);
        self.bytes[start..start + path.len()].copy_from_slice(path.as_bytes());
        self.half(offset_of!(Header, executable_len), path.len() as u32);
    }

    /// Sets a row's thread: state, TID and name.
    pub(crate) fn thread(&mut self, row: usize, state: u32, tid: u32, name: &[u8]) {
        let start = ROWS_OFFSET + row * size_of::<Row>();
        self.half(start + offset_of!(Row, state), state);
        self.half(start + offset_of!(Row, tid), tid);
        let at = start + offset_of!(Row, name);
        self.bytes[at..at + name.len()].copy_from_slice(name);
        self.word(start + offset_of!(Row, started_ns), CREATED_MONOTONIC + NANOS);
    }

    /// Sets one of a row's own words.
    pub(crate) fn row_word(&mut self, row: usize, offset: usize, value: u64) {
        self.word(ROWS_OFFSET + row * size_of::<Row>() + offset, value);
    }

    /// Sets a row's counters for a line.
    pub(crate) fn line(&mut self, row: usize, line: usize, counters: Line) {
        let start = ROWS_OFFSET + row * size_of::<Row>() + offset_of!(Row, lines) + line * size_of::<ClassCounters>();
        let [frees, requested_out, allocations, requested_in, rest @ ..] = counters;
        let pack = |way, calls, requested| Scale::line(line).pack(way, Counts { calls, requested });
        let words = pack(Way::Out, frees, requested_out).into_iter().chain(pack(Way::In, allocations, requested_in));
        for (position, value) in words.chain(rest).enumerate() {
            self.word(start + 8 * position, value);
        }
    }

    /// Writes the seconds' slot of period `number`.
    pub(crate) fn second(&mut self, number: u64, requested: u64, allocations: u64) {
        let start = TOTALS_OFFSET + (number as usize % SECONDS) * size_of::<TotalsSlot>();
        self.global(offset_of!(Globals, last_second), number + 1);
        let values = [number + 1, requested, requested + 8, 16, 32, allocations, 0, requested];
        for (position, value) in values.into_iter().enumerate() {
            self.word(start + 8 * position, value);
        }
    }

    /// Writes the minutes' slot of period `number`, with one line of the class ring.
    pub(crate) fn minute(&mut self, number: u64, line: usize, allocated: u64, pinned: u64) {
        let slot = number as usize % MINUTES;
        let start = TOTALS_OFFSET + (SECONDS + slot) * size_of::<TotalsSlot>();
        let values = [number + 1, allocated, allocated, pinned, 0, number, 0, allocated];
        for (position, value) in values.into_iter().enumerate() {
            self.word(start + 8 * position, value);
        }
        let entry = CLASS_RING_OFFSET + (slot * LINES + line) * size_of::<ClassSlot>();
        self.word(entry, allocated);
        self.word(entry + 8, pinned);
    }

    /// Writes misuse event `number`: a double free.
    pub(crate) fn double_free(&mut self, number: u64) {
        let slot = number as usize % MISUSES;
        let start = GLOBALS_OFFSET + offset_of!(Globals, misuse) + slot * size_of::<MisuseSlot>();
        let words = [
            (offset_of!(MisuseSlot, stamp), number),
            (offset_of!(MisuseSlot, address), 0x7f12_3456_7890),
            (offset_of!(MisuseSlot, caller), 0x5555_5555_0042),
            (offset_of!(MisuseSlot, block_size), 64),
            (offset_of!(MisuseSlot, requested_plus_one), 50),
            (offset_of!(MisuseSlot, time_ns), CREATED_MONOTONIC + 2 * NANOS),
        ];
        for (offset, value) in words {
            self.word(start + offset, value);
        }
        self.half(start + offset_of!(MisuseSlot, kind), MisuseKind::DoubleFree as u32);
        self.half(start + offset_of!(MisuseSlot, tid), 1235);
    }

    /// Writes a caller of foreign frees.
    pub(crate) fn foreign_caller(&mut self, number: u64, module: &[u8]) {
        let start = FOREIGN_OFFSET + (number as usize % FOREIGNERS) * size_of::<ForeignSlot>();
        let words = [
            (offset_of!(ForeignSlot, stamp), number),
            (offset_of!(ForeignSlot, address), 0x5555_5700_0010),
            (offset_of!(ForeignSlot, caller), 0x7f98_0000_1234),
            (offset_of!(ForeignSlot, module_offset), 0x1234),
            (offset_of!(ForeignSlot, frees), ForeignSlot::frees_word(number, 2)),
            (offset_of!(ForeignSlot, time_ns), CREATED_MONOTONIC + NANOS),
        ];
        for (offset, value) in words {
            self.word(start + offset, value);
        }
        self.half(start + offset_of!(ForeignSlot, tid), 1234);
        self.half(start + offset_of!(ForeignSlot, module_len), module.len() as u32);
        let end = &module[module.len().saturating_sub(MODULE_BYTES)..];
        let at = start + offset_of!(ForeignSlot, module);
        self.bytes[at..at + end.len()].copy_from_slice(end);
    }

    /// What the model makes of it, `seconds` after it was made.
    pub(crate) fn process(&self, about: About, seconds: u64) -> Process {
        self.process_seen(about, None, seconds)
    }

    /// The same, after a look at `seen` seconds found it alive.
    pub(crate) fn process_seen(&self, about: About, seen: Option<u64>, seconds: u64) -> Process {
        let reader = Reader::new(&self.bytes, &self.bytes).unwrap();
        let classes = derive::class_history(&reader);
        let look = derive::Look {
            now: CREATED.plus_seconds(seconds),
            seen_alive: seen.map(|seen| CREATED.plus_seconds(seen)),
            thread_names: &BTreeMap::new(),
            earlier: &[],
            detail: derive::Detail::Full,
            class_history: Some(&classes),
        };
        derive::with_segment(&reader, &reader, about, &look)
    }
}

/// A process of that state, about which everything is known.
pub(crate) fn about(state: State) -> About {
    About {
        id: Identity::Process { pid: 1234, start_ticks: 0 },
        pid: 1234,
        ppid: Some(1),
        uid: Some(1000),
        namespace_pid: Some(1234),
        state,
        stopped: Some(false),
        name: "less".into(),
        command: "less README.md".into(),
        executable: Some("/usr/bin/less".into()),
        start_time: Some(CREATED),
        memory: Memory {
            rss: Some(3 << 20),
            rss_files: Some(1 << 20),
            peak_rss: Some(4 << 20),
            swap: Some(0),
            resident: Some((1 << 20, 0.25)),
        },
        replaced_by: None,
        cgroup: None,
        children: Vec::new(),
        unread: Vec::new(),
    }
}

/// A program with two threads, one size class and one large block in use, and one double free.
pub(crate) fn busy() -> Fake {
    let mut fake = Fake::new(1234, 4);
    fake.thread(0, row_state::SHARED, 0, b"");
    fake.thread(1, row_state::LIVE, 1234, b"less");
    fake.thread(2, row_state::LIVE, 1235, b"evil\x1b[31m");
    fake.thread(3, row_state::ENDED, 1236, b"gone");
    // Class 3 is that of 64 bytes; the second thread frees what the first has allocated.
    fake.line(1, 3, [10, 500, 100, 5_000, 1_024, 0, 1, 0]);
    fake.line(2, 3, [40, 2_000, 20, 1_000, 0, 0, 0, 0]);
    fake.line(3, 0, [7, 70, 7, 70, 4_096, 4_096, 1, 1]);
    fake.line(1, CLASSES + 1, [1, 100_000, 2, 200_000, 204_800, 102_400, 0, 0]);
    fake.row_word(1, offset_of!(Row, reallocations), 3);
    fake.row_word(2, offset_of!(Row, remote_frees), 40);
    fake.row_word(2, offset_of!(Row, base) + 8, 30);
    fake.row_word(2, offset_of!(Row, base) + 24, 1_500);
    for (offset, value) in [
        (offset_of!(Globals, threads_started), 3),
        (offset_of!(Globals, threads_ended), 1),
        (offset_of!(Globals, peak_requested), 150_000),
        (offset_of!(Globals, peak_allocated), 90_000),
        (offset_of!(Globals, peak_error), 512),
        (offset_of!(Globals, committed), 2 << 20),
        (offset_of!(Globals, metadata), 65_536),
        (offset_of!(Globals, cached), 131_072),
        (offset_of!(Globals, purged), 4_096),
        (offset_of!(Globals, retained), 1 << 20),
        (offset_of!(Globals, stranded), 8_192),
        (offset_of!(Globals, adopted), 16_384),
        (offset_of!(Globals, double_frees), 1),
        (offset_of!(Globals, foreign_frees), 2),
        (offset_of!(Globals, misuse_events), 1),
    ] {
        fake.global(offset, value);
    }
    fake.double_free(1);
    fake.foreign_caller(1, b"/usr/lib/lib\x1b[31mx.so.1");
    fake.second(0, 1_000, 10);
    fake.second(3, 60_000, 80);
    fake.second(7, 103_000, 100);
    fake
}

/// A segment whose row 1 a thread has taken over that asked for 32 bytes twice, from one that did much.
pub(crate) fn taken_over() -> Fake {
    let mut fake = Fake::new(77, 2);
    fake.thread(1, row_state::LIVE, 1234, b"innocent");
    fake.line(1, 0, [2, 32, 2, 32, 16_384, 0, 1, 0]);
    fake.line(1, 3, [500, 30_000, 1_000, 60_000, 65_536, 0, 1, 0]);
    let words = [(offset_of!(Row, generation), 2), (offset_of!(Row, taken), 2)];
    let bases = [1_000, 500, 60_000, 30_000].into_iter().enumerate();
    let bases = bases.map(|(at, base)| (offset_of!(Row, base) + 8 * at, base));
    let kept = [(offset_of!(Row, remote_collected), 9), (offset_of!(Row, abandoned), 10 << 20)];
    words.into_iter().chain(bases).chain(kept).for_each(|(field, value)| fake.row_word(1, field, value));
    fake
}
