//! Rows: whose they are, and what two copies say together.

use super::*;

#[test]
fn frees_come_from_the_first_copy_and_allocations_from_the_second() {
    let mut first = Image::new(2);
    let mut second = Image::new(2);
    for row in 0..2 {
        for (image, n) in [(&mut first, 10), (&mut second, 20)] {
            image.counts(row, 3, Way::In, n, n * 50);
            image.counts(row, 3, Way::Out, n, n * 50);
            image.line(row, 3, offset_of!(ClassCounters, capacity_in), n * 2);
        }
    }
    let reader = Reader::new(&first.0, &second.0).unwrap();
    let line = reader.lines().nth(3).unwrap();
    assert_eq!((line.allocations, line.frees, line.live_blocks()), (40, 20, 20));
    assert_eq!((line.requested(), line.allocated()), (1000, 20 * 64));
    assert_eq!((line.free_list_length(), line.pinned()), (60, 60 * 64));
    // Of one thread alone all is from the first, in which nothing of a later one can be.
    let row = reader.rows().nth(1).unwrap();
    assert_eq!((row.allocations, row.frees, row.line(3).requested_in), (10, 10, 500));
}

#[test]
fn a_row_that_another_thread_is_taking_is_nobodys() {
    let mut image = Image::new(2);
    let fields = |generation: u64, taken: u64, tid: u64| {
        [
            (offset_of!(Row, generation), generation),
            (offset_of!(Row, taken), taken),
            (offset_of!(Row, state), tid << 32),
        ]
    };
    let mut with = |generation, taken, tid| {
        fields(generation, taken, tid).into_iter().for_each(|(field, value)| image.row(1, field, value));
        image.0.clone()
    };
    let settled = |first: &[u8], second: &[u8]| {
        Reader::new(first, second).unwrap().rows().nth(1).is_some_and(|row| row.is_settled)
    };
    let (before, begun, after) = (with(4, 4, 70), with(4, 5, 71), with(5, 5, 71));
    assert!(settled(&before, &before) && settled(&after, &after));
    assert!(!settled(&before, &begun) && !settled(&begun, &begun) && !settled(&begun, &after));
    assert!(!settled(&before, &after));
    // A library from before there was the one counter.
    let (one, other) = (with(4, 0, 70), with(5, 0, 71));
    assert!(settled(&one, &one) && !settled(&one, &other));
}

#[test]
fn threads_that_came_between_the_copies_are_counted() {
    let first = Image::new(1);
    let mut second = Image::new(3);
    second.counts(2, 0, Way::In, 7, 0);
    let reader = Reader::new(&first.0, &second.0).unwrap();
    assert_eq!((reader.rows().count(), reader.rows_missing()), (3, 0));
    assert_eq!(reader.lines().next().unwrap().live_blocks(), 7);
    let cut = Reader::new(&first.0, &second.0[..ROWS_OFFSET + 2 * size_of::<Row>()]).unwrap();
    assert_eq!((cut.rows().count(), cut.rows_missing()), (2, 1));
}

#[test]
fn rows_in_use_are_capped() {
    let mut image = Image::new(2);
    image.global(offset_of!(Globals, rows_used), u64::MAX);
    assert_eq!(Reader::new(&image.0, &image.0).unwrap().rows().count(), 2);
    assert!(Reader::used_bytes(&image.0).unwrap() <= SEGMENT_BYTES);
}
