//! The published figures equal a program's own count, as differences between two snapshots.

use shm_layout::class::{CLASSES, SMALL_MAX, SizeClass};
use std::process::Command;
use tests::script::{Do, Random, Script, TOO_MUCH};
use tests::{Run, program, snapshot};

#[test]
fn a_block_of_every_size_class_counts_in_its_class() {
    let mut script = Script::new();
    script.pause();
    let sizes = (0..CLASSES).flat_map(|class| {
        let size = SizeClass(class as u8).block_size() as u64;
        [size - 15, size - 1, size]
    });
    let sizes: Vec<u64> = sizes.collect();
    for (slot, size) in sizes.iter().enumerate() {
        script.malloc(slot as u32, *size);
    }
    script.pause();
    for slot in (0..sizes.len() as u32).step_by(2) {
        script.free(slot);
    }
    script.pause();
    for slot in (1..sizes.len() as u32).step_by(2) {
        script.free(slot);
    }
    script.pause();
    script.check();
}

#[test]
fn many_blocks_of_one_class_over_several_slabs_are_exact() {
    let mut script = Script::new();
    script.pause();
    for slot in 0..20_000 {
        script.malloc(slot, u64::from(slot % 64));
    }
    script.pause();
    for slot in 0..20_000 {
        // Every third slab or so empties, the others stay.
        if (slot / 1000) % 3 == 0 || slot % 7 == 0 {
            script.free(slot);
        }
    }
    script.pause();
    for slot in 0..20_000 {
        if (slot / 1000) % 3 == 0 || slot % 7 == 0 {
            script.malloc(slot, 50);
        }
    }
    script.pause();
    script.check();
}

/// What the library notes of a block above 1 KiB takes several entries, and the last block before a border of its tables has
/// little room. Of the small ones two have a block where such entries went wrong, and two shift the slabs of all others.
#[test]
fn blocks_at_the_ledgers_borders_leave_the_entries_of_others_alone() {
    const BLOCKS: u32 = 60_000;
    let mut script = Script::new();
    script.pause();
    let mut random = Random::new(1);
    for slot in 0..BLOCKS {
        let small = [16, 64, 80, 1024][random.below(4) as usize];
        let size = if random.below(3) == 0 { small } else { 1920 - random.below(128) };
        script.malloc(slot, size);
    }
    script.pause();
    for slot in 0..BLOCKS {
        script.free(slot);
    }
    script.pause().check();
}

#[test]
fn slabs_and_spans_beside_each_other_in_any_order_leave_each_others_records_alone() {
    const LARGE: [usize; 5] = [36 << 10, 60 << 10, 64 << 10, 96 << 10, 1 << 20];
    let small = (0..CLASSES).map(|class| SizeClass(class as u8).block_size());
    let sizes: Vec<String> = small.chain(LARGE).map(|size| size.to_string()).collect();
    for (seed, harden) in [("11", "0"), ("12", "0"), ("28", "0"), ("29", "1")] {
        let mut command = Command::new(program("beside.c"));
        let finished = command.args([seed, "100"]).args(&sizes).env("STATSALLOC_HARDEN", harden).preload().finish();
        assert_eq!(finished.success().out(), "apart\n", "seed {seed}");
    }
}

#[test]
fn large_blocks_count_whole_pages_in_their_buckets() {
    let sizes = [
        SMALL_MAX as u64 + 1,
        36 << 10,
        64 << 10,
        (64 << 10) + 1,
        100_000,
        128 << 10,
        (1 << 20) - 1,
        1 << 20,
        (1 << 20) + 1,
        5_000_000,
        64 << 20,
        (64 << 20) + 4097,
    ];
    let mut script = Script::new();
    script.pause();
    for (slot, size) in (0..).zip(sizes) {
        script.malloc(slot, size).calloc(slot + 100, size, 1).posix_memalign(slot + 200, 1 << 21, size);
    }
    script.pause();
    for slot in 0..sizes.len() as u32 {
        script.free(slot).free(slot + 200);
    }
    script.pause();
    for slot in 0..sizes.len() as u32 {
        script.free(slot + 100);
    }
    script.pause();
    script.check();
}

/// Such a block has the run of the one before as it stands.
#[test]
fn large_blocks_one_after_the_other_count_what_each_asked_for() {
    let mut script = Script::new();
    script.pause();
    let sizes = [100_000, 98_305, 102_400, 99_999, 40_000, 100_001, 36_865, 1 << 20, (1 << 20) - 4000, 98_304];
    for (slot, size) in (0..).zip(sizes) {
        for turn in 0..3 {
            script.malloc(slot, size - turn).free(slot).malloc(slot, size).realloc(slot, size - 7 * turn).free(slot);
        }
    }
    script.pause().malloc(20, 100_000).malloc(21, 40_000).pause().check();
    // A new peak, by one that fits the run of another.
    let mut script = Script::new();
    script.malloc(0, 98_400).free(0).malloc(0, 98_400).pause();
    script.malloc(1, 2 << 20).free(0).malloc(0, 102_400).pause().free(0).free(1).pause();
    let seen = script.check();
    assert_eq!(seen[1].total("peak_requested_bytes"), seen[1].total("requested_bytes"));
    assert_eq!(seen[2].total("peak_requested_bytes"), seen[1].total("requested_bytes"));
}

#[test]
fn blocks_of_no_bytes_are_blocks() {
    let mut script = Script::new();
    script.pause().malloc(0, 0).calloc(1, 0, 8).calloc(2, 8, 0).posix_memalign(3, 64, 0).realloc(4, 0).pause();
    for slot in 0..5 {
        script.free(slot);
    }
    script.pause().check();
}

#[test]
fn calloc_requests_count_times_size() {
    let mut script = Script::new();
    script.pause().calloc(0, 7, 13).calloc(1, 1, 1000).calloc(2, 333, 333).calloc(3, 12_345, 67).pause().check();
}

#[test]
fn aligned_blocks_count_their_own_class() {
    let mut script = Script::new();
    script.pause();
    let mut slot = 0;
    for shift in 3..=20 {
        for size in [0, 1, 24, 100, 1000, 4097, 32_768, 40_000] {
            script.posix_memalign(slot, 1 << shift, size).aligned_alloc(slot + 1, 1 << shift, size);
            slot += 2;
        }
    }
    script.pause();
    for slot in 0..slot {
        script.free(slot);
    }
    script.pause().check();
}

#[test]
fn realloc_counts_one_reallocation_a_free_and_an_allocation() {
    let mut script = Script::new();
    script.pause();
    // Nothing there yet: an allocation and nothing else.
    script.realloc(0, 100).pause();
    // In place, then to another class, then to a large block.
    script.realloc(0, 110).realloc(0, 97).realloc(0, 112).pause();
    script.realloc(0, 113).realloc(0, 5000).pause();
    script.realloc(0, 50_000).pause();
    script.reallocarray(0, 1000, 60).pause();
    script.free(0).pause();
    script.check();
}

#[test]
fn a_growing_block_is_exact_and_no_peak_holds_both_copies() {
    let mut script = Script::new();
    script.pause().malloc(0, 1);
    let mut size = 1;
    while size < 64 << 20 {
        size += size / 3 + 1;
        script.realloc(0, size);
        if size % 5 == 0 {
            // Something behind it, so that it cannot always grow where it is.
            script.malloc(size as u32 % 1000 + 1, 10_000 + size % 100_000);
            script.free(size as u32 % 1000 + 1);
        }
    }
    script.pause().free(0).pause();
    script.check();
}

#[test]
fn shrinking_requests_less_whatever_the_block_does() {
    let mut script = Script::new();
    script.pause().malloc(0, 30_000).malloc(1, 3 << 20).pause();
    script.realloc(0, 100).realloc(1, 100_000).pause();
    let mut player = script.start(|_| {});
    let mut seen = Vec::new();
    for _ in 0..3 {
        player.line();
        seen.push(snapshot(player.pid()).figures());
        player.go();
    }
    let change = &seen[2] - &seen[1];
    assert_eq!(change.requested, 100 + 100_000 - 30_000 - (3 << 20));
    assert_eq!((change.allocations, change.frees, change.reallocations), (2, 2, 2));
    assert_eq!(change.cumulative_requested, 100_100);
    let whole = &seen[2] - &seen[0];
    assert!(whole.allocated >= 100 + 100_000, "a block is at least as large as what it holds: {whole:?}");
    player.finish().success();
}

#[test]
fn null_frees_and_failed_calls_count_nothing() {
    let mut script = Script::new();
    script.malloc(0, 1000).malloc(1, 100_000).pause();
    script.step(Do::FreeNull, 0, 0, 0);
    script.step(Do::FailMalloc, 2, TOO_MUCH, 0).step(Do::FailMalloc, 2, u64::MAX, 0);
    script.step(Do::FailCalloc, 2, 1 << 40, 1 << 40).step(Do::FailCalloc, 2, TOO_MUCH, 1);
    script.step(Do::FailRealloc, 0, TOO_MUCH, 0).step(Do::FailRealloc, 1, u64::MAX, 0);
    script.step(Do::FailMemalign, 2, 64, TOO_MUCH).step(Do::FailMemalign, 2, 3, 100);
    script.step(Do::FreeNull, 0, 0, 0).pause();
    let seen = script.check();
    assert_eq!(seen[0].figures(), seen[1].figures());
    for peak in ["peak_requested_bytes", "peak_allocated_bytes"] {
        assert_eq!(seen[0].total(peak), seen[1].total(peak), "a failed call raised a peak");
    }
}

#[test]
fn a_peak_between_two_snapshots_is_kept() {
    let mut script = Script::new();
    script.pause();
    for slot in 0..100 {
        script.malloc(slot, 10_000);
    }
    script.malloc(100, 20 << 20).free(100).free(99).malloc(99, 9_000);
    for slot in 0..100 {
        script.free(slot);
    }
    script.pause().malloc(0, 1).pause();
    let seen = script.check();
    assert!(seen[1].total("peak_requested_bytes") - seen[0].total("requested_bytes") == (20 << 20) + 1_000_000);
}
