mod rows;

use super::*;
use crate::class::{BUCKETS, CLASSES, LINES, SizeClass, UNIT, bucket_limit};
use crate::layout::*;
use crate::tally::{Counts, Scale, Tally, Way};
use core::mem::offset_of;
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec;

/// A segment under construction.
struct Image(Vec<u8>);

impl Image {
    /// A valid, empty segment with `rows` rows in use.
    fn new(rows: usize) -> Self {
        let mut image = Self(std::vec![0; ROWS_OFFSET + rows * size_of::<Row>()]);
        image.word(offset_of!(Header, magic), MAGIC);
        image.word(offset_of!(Header, segment_bytes), SEGMENT_BYTES as u64);
        image.word(offset_of!(Header, rows_offset), ROWS_OFFSET as u64);
        let slots = offset_of!(Header, totals_slots);
        for (offset, value) in [
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
            (slots, SECONDS),
            (slots + 4, MINUTES),
            (slots + 8, HOURS),
            (offset_of!(Header, class_ring_slots), CLASS_MINUTES),
            (offset_of!(Header, class_ring_offset), CLASS_RING_OFFSET),
            (offset_of!(Header, class_slot_bytes), size_of::<ClassSlot>()),
            (offset_of!(Header, row_bytes), size_of::<Row>()),
            (offset_of!(Header, row_count), ROWS),
            (offset_of!(Header, pid), 4711),
        ] {
            image.half(offset, value as u32);
        }
        image.global(offset_of!(Globals, rows_used), rows as u64);
        for line in 0..LINES {
            let start = CLASSES_OFFSET + line * size_of::<ClassInfo>();
            if line < CLASSES {
                let class = SizeClass(line as u8);
                image.word(start + offset_of!(ClassInfo, block_size), class.block_size() as u64);
                image.half(start + offset_of!(ClassInfo, slab_blocks), class.slab_blocks() as u32);
                image.half(start + offset_of!(ClassInfo, slab_bytes), (class.slab_units() * UNIT) as u32);
            } else {
                image.word(start + offset_of!(ClassInfo, block_size), bucket_limit(line - CLASSES));
            }
        }
        image
    }

    fn word(&mut self, offset: usize, value: u64) {
        self.0[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn half(&mut self, offset: usize, value: u32) {
        self.0[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn global(&mut self, field: usize, value: u64) {
        self.word(GLOBALS_OFFSET + field, value);
    }

    fn row(&mut self, row: usize, field: usize, value: u64) {
        self.word(ROWS_OFFSET + row * size_of::<Row>() + field, value);
    }

    fn line(&mut self, row: usize, line: usize, field: usize, value: u64) {
        self.row(row, offset_of!(Row, lines) + line * size_of::<ClassCounters>() + field, value);
    }

    fn counts(&mut self, row: usize, line: usize, way: Way, calls: u64, requested: u64) {
        let tally = match way {
            Way::In => offset_of!(ClassCounters, allocated),
            Way::Out => offset_of!(ClassCounters, freed),
        };
        let [sum, base] = Scale::line(line).pack(way, Counts { calls, requested });
        self.line(row, line, tally + offset_of!(Tally, sum), sum);
        self.line(row, line, tally + offset_of!(Tally, base), base);
    }

    fn slot(&mut self, ring_start: usize, slot: usize, stamp: u64, allocated: u64) {
        let start = TOTALS_OFFSET + (ring_start + slot) * size_of::<TotalsSlot>();
        self.word(start, stamp);
        self.word(start + offset_of!(TotalsSlot, allocated), allocated);
    }

    fn misuse(&mut self, slot: usize, stamp: u64, kind: u32) {
        let start = GLOBALS_OFFSET + offset_of!(Globals, misuse) + slot * size_of::<MisuseSlot>();
        self.word(start, stamp);
        self.half(start + offset_of!(MisuseSlot, kind), kind);
        self.half(start + offset_of!(MisuseSlot, call), 1);
        self.word(start + offset_of!(MisuseSlot, requested_plus_one), 1);
    }
}

/// Writes record `number` of a caller with a module's path of `path` bytes.
fn foreign(image: &mut Image, number: u64, path: u32) {
    let start = FOREIGN_OFFSET + (number as usize % FOREIGNERS) * size_of::<ForeignSlot>();
    image.word(start, number);
    image.word(start + offset_of!(ForeignSlot, frees), ForeignSlot::frees_word(number, 3));
    image.half(start + offset_of!(ForeignSlot, module_len), path);
    image.0[start + offset_of!(ForeignSlot, module)..][..MODULE_BYTES].fill(b'm');
}

/// Calls everything there is and runs every iterator to its end; the sum keeps it from being optimised away.
fn exercise(first: &[u8], second: &[u8]) -> Result<u64, ReadError> {
    if let Ok(bytes) = Reader::used_bytes(second) {
        assert!((ROWS_OFFSET..=SEGMENT_BYTES).contains(&bytes));
    }
    let reader = Reader::new(first, second)?;
    let mut sum = reader.globals().rows_used ^ reader.rows_missing() as u64;
    assert!(reader.identity().executable.len() <= 256);
    for line in reader.lines() {
        for value in [
            line.live_blocks(),
            line.requested(),
            line.allocated(),
            line.free_list_length(),
            line.pinned(),
            line.slabs(),
        ] {
            sum ^= value;
        }
    }
    assert_eq!(reader.lines().count(), LINES);
    for row in reader.rows() {
        sum ^= row.allocations
            ^ row.base[5]
            ^ row.line(0).allocated()
            ^ row.line(LINES).frees
            ^ row.line(usize::MAX).frees;
    }
    assert!(reader.rows().count() <= ROWS);
    let foreign: Vec<_> = reader.foreign_callers().collect();
    assert!(foreign.len() <= FOREIGNERS && foreign.is_sorted_by(|a, b| a.number < b.number));
    assert!(foreign.iter().filter_map(|caller| caller.module).all(|module| module.path.len() <= MODULE_BYTES));
    let misuses: Vec<_> = reader.misuses().collect();
    assert!(misuses.len() <= MISUSES && misuses.is_sorted_by(|a, b| a.number < b.number));
    for ring in [Ring::Seconds, Ring::Minutes, Ring::Hours] {
        let slots: Vec<_> = reader.totals_ring(ring).collect();
        assert!(slots.len() <= ring.slots() && slots.is_sorted_by(|a, b| a.0 < b.0));
    }
    for line in [0, LINES - 1, LINES, usize::MAX] {
        assert!(reader.class_minutes(line).count() <= CLASS_MINUTES);
    }
    Ok(sum)
}

#[test]
fn an_empty_segment_is_read() {
    let image = Image::new(1);
    assert_eq!(Reader::used_bytes(&image.0[..CLASSES_OFFSET]), Ok(image.0.len()));
    let reader = Reader::new(&image.0, &image.0).unwrap();
    assert_eq!(reader.identity().pid, 4711);
    assert_eq!(reader.lines().map(|line| line.allocations).sum::<u64>(), 0);
    assert_eq!(reader.lines().nth(8).unwrap().block_size, 144);
    assert!(reader.lines().last().unwrap().is_bucket);
    assert_eq!(reader.rows().count(), 1);
    exercise(&image.0, &image.0).unwrap();
}

#[test]
fn every_wrong_layout_number_is_named() {
    let image = Image::new(1);
    for offset in (0..offset_of!(Header, pid)).step_by(4) {
        let mut wrong = Image(image.0.clone());
        wrong.0[offset] ^= 0x40;
        let error = Reader::new(&wrong.0, &wrong.0).err().unwrap();
        match offset {
            0 | 4 => assert_eq!(error, ReadError::NotASegment),
            8 => assert_eq!(error, ReadError::Version { found: LAYOUT_VERSION ^ 0x40 }),
            _ => assert!(matches!(error, ReadError::BadLayout(name) if !name.is_empty()), "{offset}: {error}"),
        }
        assert_eq!(Reader::used_bytes(&wrong.0), Err(error));
    }
}

#[test]
fn short_and_unready_bytes_say_so() {
    let mut image = Image::new(1);
    assert_eq!(
        Reader::used_bytes(&image.0[..CLASSES_OFFSET - 1]),
        Err(ReadError::TooShort { needed: CLASSES_OFFSET, got: CLASSES_OFFSET - 1 })
    );
    let short = &image.0[..ROWS_OFFSET - 1];
    let error = Reader::new(short, &image.0).err().unwrap();
    assert_eq!(error, ReadError::TooShort { needed: ROWS_OFFSET, got: ROWS_OFFSET - 1 });
    assert!(error.to_string().contains("cut short"));
    assert!(matches!(Reader::new(&[], &[]).err(), Some(ReadError::TooShort { got: 0, .. })));
    image.word(0, 0);
    assert_eq!(Reader::new(&image.0, &image.0).err(), Some(ReadError::NotReady));
}

#[test]
fn copies_of_different_processes_are_refused() {
    let one = Image::new(1);
    let mut other = Image::new(1);
    other.half(offset_of!(Header, pid), 4712);
    assert!(matches!(Reader::new(&one.0, &other.0).err(), Some(ReadError::BadLayout(_))));
}

#[test]
fn rings_give_complete_slots_oldest_first() {
    let mut image = Image::new(1);
    // Seconds 119..=121 in slots 119, 0 and 1; an old one, a misplaced one and one being written beside them.
    image.slot(0, 119, 120, 1);
    image.slot(0, 0, 121, 2);
    image.slot(0, 1, 122, 3);
    image.slot(0, 2, 3 + 120, 4);
    image.slot(0, 3, 4, 5);
    image.slot(0, 4, 99, 6);
    image.slot(0, 5, 0, 7);
    let reader = Reader::new(&image.0, &image.0).unwrap();
    let slots: Vec<_> = reader.totals_ring(Ring::Seconds).map(|(second, copy)| (second, copy.allocated)).collect();
    assert_eq!(slots, [(3, 5), (119, 1), (120, 2), (121, 3), (122, 4)]);
    image.slot(0, 3, 124, 8);
    let reader = Reader::new(&image.0, &image.0).unwrap();
    assert_eq!(reader.totals_ring(Ring::Seconds).last().unwrap().1.allocated, 8);
    assert_eq!(reader.totals_ring(Ring::Hours).count(), 0);
}

#[test]
fn a_slot_rewritten_during_the_second_copy_is_taken_from_the_first() {
    let mut first = Image::new(1);
    first.slot(0, 0, 1, 10);
    let mut second = Image(first.0.clone());
    second.slot(0, 0, 1, 999);
    second.slot(0, 1, 2, 20);
    let reader = Reader::new(&first.0, &second.0).unwrap();
    let slots: Vec<_> = reader.totals_ring(Ring::Seconds).map(|(_, copy)| copy.allocated).collect();
    assert_eq!(slots, [10, 20]);
}

#[test]
fn class_minutes_follow_the_minutes_ring() {
    let mut image = Image::new(1);
    image.slot(SECONDS, 5, 6, 0);
    let entry = CLASS_RING_OFFSET + (5 * LINES + 7) * size_of::<ClassSlot>();
    image.word(entry, 4096);
    image.word(entry + 8, 128);
    image.word(CLASS_RING_OFFSET + (6 * LINES + 7) * size_of::<ClassSlot>(), 1);
    let reader = Reader::new(&image.0, &image.0).unwrap();
    assert_eq!(reader.class_minutes(7).collect::<Vec<_>>(), [(5, 4096, 128)]);
    assert_eq!(reader.class_minutes(LINES).count(), 0);
}

#[test]
fn misuses_come_in_order_and_only_when_complete() {
    let mut image = Image::new(1);
    for number in 10..=20_u64 {
        image.misuse((number % 16) as usize, number, MisuseKind::DoubleFree as u32);
    }
    image.misuse(20 % 16, 20, 77);
    image.misuse(19 % 16, 0, 1);
    image.misuse(9, 4, 1);
    let reader = Reader::new(&image.0, &image.0).unwrap();
    let numbers: Vec<_> = reader.misuses().map(|event| event.number).collect();
    assert_eq!(numbers, (10..=18).collect::<Vec<_>>());
    let event = reader.misuses().next().unwrap();
    assert_eq!(
        (event.kind, event.call, event.block_size, event.requested),
        (MisuseKind::DoubleFree, "realloc", None, Some(0))
    );
}

#[test]
fn foreign_callers_come_in_order_and_only_when_nobody_wrote_them_meanwhile() {
    let mut first = Image::new(1);
    (10..=20).for_each(|number| foreign(&mut first, number, number as u32 * 5));
    foreign(&mut first, 17, 0);
    let mut second = Image(first.0.clone());
    // One was begun, one came, and one counts, between the copies.
    foreign(&mut second, 11 + 16, 4);
    foreign(&mut second, 12 | ForeignSlot::WRITING, 4);
    second.word(FOREIGN_OFFSET + 13 * 160 + offset_of!(ForeignSlot, frees), ForeignSlot::frees_word(13, 4));
    second.word(FOREIGN_OFFSET + 14 * 160 + offset_of!(ForeignSlot, frees), ForeignSlot::frees_word(30, 9));
    let reader = Reader::new(&first.0, &second.0).unwrap();
    let seen: Vec<_> = reader.foreign_callers().map(|caller| (caller.number, caller.frees)).collect();
    assert_eq!(seen, [(10, 3), (13, 4), (14, 3), (15, 3), (16, 3), (17, 3), (18, 3), (19, 3), (20, 3)]);
    let module = |number| reader.foreign_callers().find(|caller| caller.number == number).unwrap().module;
    let length = |number| module(number).map(|module| (module.path.len(), module.is_cut));
    assert_eq!((length(10), length(17), length(20)), (Some((50, false)), None, Some((MODULE_BYTES, true))));
}

/// A valid image with numbers everywhere, for mutation.
fn busy() -> Image {
    let mut image = Image::new(3);
    for row in 0..3 {
        for line in 0..LINES {
            for field in 0..8 {
                image.line(row, line, field * 8, (row * 1000 + line * 10 + field) as u64);
            }
        }
    }
    for slot in 0..SECONDS + MINUTES + HOURS {
        image.slot(0, slot, slot as u64 + 1, 77);
    }
    for number in 1..=16 {
        image.misuse((number % 16) as usize, number, 1 + number as u32 % 5);
        foreign(&mut image, number, number as u32 * 10);
    }
    image
}

/// Places where a changed byte reaches a decision: header, counters, stamps, rows; else anywhere.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..size_of::<Header>(),
        GLOBALS_OFFSET..GLOBALS_OFFSET + size_of::<Globals>(),
        (0..SECONDS + MINUTES + HOURS, 0..8_usize).prop_map(|(slot, byte)| TOTALS_OFFSET + slot * 64 + byte),
        FOREIGN_OFFSET..TOTALS_OFFSET,
        0..ROWS_OFFSET + 3 * size_of::<Row>(),
    ]
}

proptest! {
    #[test]
    fn random_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(exercise(&bytes, &bytes).is_err());
    }

    #[test]
    fn random_bytes_behind_a_valid_header_are_read(seed in any::<[u8; 32]>(), cut in 0..3 * size_of::<Row>()) {
        let mut image = Image::new(3);
        for (at, byte) in image.0.iter_mut().enumerate().skip(size_of::<Header>()) {
            *byte = seed[at % 31].wrapping_mul(at as u8).wrapping_add(seed[at / 4096 % 32]);
        }
        image.0.truncate(ROWS_OFFSET + cut);
        prop_assert!(exercise(&image.0, &image.0).is_ok());
    }

    #[test]
    fn mutated_segments_are_refused_or_read(
        edits in prop::collection::vec((place(), any::<u8>(), any::<bool>()), 1..40),
        keep in prop::option::of(0..ROWS_OFFSET + 3 * size_of::<Row>()),
    ) {
        let mut first = busy();
        let mut second = busy();
        for (at, byte, in_first) in edits {
            if in_first { first.0[at] = byte } else { second.0[at] = byte }
        }
        if let Some(keep) = keep {
            second.0.truncate(keep);
        }
        let _ = exercise(&first.0, &second.0);
    }
}
