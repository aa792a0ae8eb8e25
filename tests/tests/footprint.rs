//! Memory that a program has freed goes back, and large blocks neither scatter nor use up the mappings.

use std::process::Command;
use tests::{Run, Running, library, program, snapshot};

fn start(mode: &str) -> Running {
    let mut running = Command::new(program("footprint.c")).arg(mode).preload().begin();
    number(&mut running);
    running
}

/// The program, and the KiB that it says beyond those at its start.
fn grown(mode: &str) -> (Running, i64) {
    let mut running = Command::new(program("footprint.c")).arg(mode).preload().begin();
    let low = number(&mut running);
    let most = number(&mut running) - low;
    (running, most)
}

fn number(running: &mut Running) -> i64 {
    running.line().parse().unwrap()
}

#[test]
fn malloc_trim_gives_freed_memory_back() {
    let mut running = start("trim");
    let high = number(&mut running);
    assert!(high > 240 << 10, "{high} KiB, all touched");
    let low = number(&mut running);
    assert!(low < 40 << 10, "{low} KiB of {high} are still there");
    let seen = snapshot(running.pid());
    assert!(seen.total("purged_bytes") >= 200 << 20, "{}", seen.0["totals"]);
    assert!(seen.total("cached_bytes") < 20 << 20, "{}", seen.0["totals"]);
    assert!(seen.total("peak_requested_bytes") >= 240_000_000);
    running.go();
    running.finish().success();
}

/// Of every mapping of the process its size in KiB, whether it is accessible, and whether it is left out of dumps.
fn mappings(pid: u32) -> Vec<(u64, bool, bool)> {
    let mut mappings = Vec::new();
    let (mut kib, mut accessible) = (0, false);
    for line in std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap().lines() {
        let mut words = line.split_whitespace();
        match words.next().unwrap() {
            "Size:" => kib = words.next().unwrap().parse().unwrap(),
            "VmFlags:" => mappings.push((kib, accessible, words.any(|flag| flag == "dd"))),
            range if !range.ends_with(':') => accessible = !words.next().unwrap().starts_with("---"),
            _ => {}
        }
    }
    mappings
}

/// `gcore` writes every byte of what is reserved, unless it is told otherwise: more than any disk holds.
#[test]
fn a_debuggers_dump_has_what_is_in_use_and_not_what_is_reserved() {
    let mut running = start("trim");
    number(&mut running);
    let mappings = mappings(running.pid());
    let reserved = |of: &&(u64, bool, bool)| of.0 >= 1 << 20 && !of.1;
    assert!(mappings.iter().filter(reserved).count() >= 2, "the window and its tables: {mappings:?}");
    assert!(mappings.iter().filter(reserved).all(|of| of.2), "{mappings:?}");
    let dumped: u64 = mappings.iter().filter(|of| of.1 && !of.2).map(|of| of.0).sum();
    assert!(dumped > 240 << 10, "{dumped} KiB, of which a dump has all: {mappings:?}");
    number(&mut running);
    running.go();
    running.finish().success();
}

#[test]
fn large_blocks_go_back_at_once_beyond_a_small_cache() {
    let mut running = start("large");
    let high = number(&mut running);
    assert!(high > 200 << 10, "{high} KiB, all touched");
    let low = number(&mut running);
    assert!(low < 24 << 10, "{low} KiB of {high} are still there");
    running.go();
    running.finish().success();
}

#[test]
fn freed_memory_decays_while_the_program_goes_on() {
    let mut running = start("decay");
    number(&mut running);
    // It goes on until little is left; the deadline ends a program that keeps all.
    number(&mut running);
    let seen = snapshot(running.pid());
    assert!(seen.total("purged_bytes") >= 100 << 20, "{}", seen.0["totals"]);
    running.go();
    running.finish().success();
}

#[test]
fn growing_blocks_do_not_use_up_the_mappings() {
    let mut running = start("moves");
    let maps = number(&mut running);
    // The kernel allows 65,530.
    assert!(maps < 30_000, "{maps} mappings");
    running.go();
    running.finish().success();
}

#[test]
fn pages_are_moved_for_as_long_as_there_are_few_mappings() {
    let mut running = start("doubling");
    let maps = number(&mut running);
    assert!(maps < 1000, "{maps} mappings");
    let moves = snapshot(running.pid()).number("/large/page_moves");
    assert!(moves >= 15_000, "{moves} moves for 8,000 buffers");
    running.go();
    running.finish().success();
}

/// Each move adds a mapping, and all but the last are moved as well as that.
#[test]
fn a_buffer_that_has_been_moved_often_is_moved_again_and_not_copied() {
    let mut running = start("pieces");
    let line = running.line();
    let (moved, resident) = line.split_once(' ').unwrap();
    assert!(moved.parse::<i64>().unwrap() >= 10, "{moved} times");
    // It lies in one mapping the first time, in ten the last.
    let pieces = snapshot(running.pid()).number("/large/page_moves");
    assert!(pieces >= 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10, "{pieces} pieces");
    // It has 3 GiB, of which 13 MiB are touched.
    assert!(resident.parse::<i64>().unwrap() < 64 << 10, "{resident} KiB");
    running.go();
    running.finish().success();
}

#[test]
fn zeroed_blocks_in_slabs_take_no_memory_before_they_are_written_to() {
    let mut command = Command::new(program("footprint.c"));
    let mut running = command.arg("blank").preload().env("STATSALLOC_HUGE", "never").begin();
    number(&mut running);
    let more = number(&mut running);
    assert!(more < 4 << 10, "{more} KiB for 64 MiB");
    running.go();
    running.finish().success();
}

/// With too many mappings what is touched is copied, and what is not stays so: 64 GB of which 80 MB are touched.
#[test]
fn what_was_never_touched_takes_no_memory_where_pages_are_copied() {
    let mut running = start("crowd");
    let resident = number(&mut running);
    let moves = snapshot(running.pid()).number("/large/page_moves");
    assert!((8_000..15_000).contains(&moves), "{moves} of 20,000 blocks were moved");
    assert!(resident < 600 << 10, "{resident} KiB");
    running.go();
    running.finish().success();
}

/// The kernel moves mapping by mapping, and stops where one more would be too many.
#[test]
fn a_move_that_the_kernel_stops_midway_loses_nothing() {
    for left in 1..=12 {
        Command::new(program("brim.c")).arg(left.to_string()).preload().begin().finish().success();
    }
}

#[test]
fn large_blocks_of_all_sizes_reuse_their_space() {
    let mut running = start("reuse");
    number(&mut running);
    let seen = snapshot(running.pid());
    // 64 blocks of 1 MB on average are live.
    assert!(seen.total("committed_bytes") < 512 << 20, "{}", seen.0["totals"]);
    running.go();
    running.finish().success();
}

#[test]
fn replaced_large_blocks_are_not_given_back_and_faulted_in_again() {
    let mut running = start("replaced");
    let milliseconds = number(&mut running);
    let seen = snapshot(running.pid());
    assert!(seen.total("cumulative_requested_bytes") > 4 << 30, "{}", seen.0["totals"]);
    // What is missed is learnt once; at worst half of it is forgotten four times in a second.
    let enough = (16 << 20) + (24 << 20) * (1 + milliseconds / 250);
    assert!(seen.total("purged_bytes") < enough, "{} in {milliseconds} ms", seen.0["totals"]);
    running.go();
    running.finish().success();
}

#[test]
fn zeroed_blocks_do_not_pile_up_beside_what_others_have_used() {
    let (mut running, most) = grown("zeroed");
    assert!(most < 9 << 10, "{most} KiB for 5 MiB that are live");
    running.go();
    running.finish().success();
}

#[test]
fn a_growing_block_stays_in_place_where_free_memory_follows_of_either_kind() {
    let mut running = start("grows");
    let moved = number(&mut running);
    assert!(moved < 50, "100 buffers moved {moved} times, with free memory behind them");
    running.go();
    running.finish().success();
}

#[test]
fn a_buffer_that_grows_by_halves_keeps_no_memory_to_double() {
    let (mut running, most) = grown("halves");
    assert!(most < 35 << 10, "{most} KiB for 18 MiB that are live");
    running.go();
    running.finish().success();
}

#[test]
fn no_class_keeps_an_empty_slab_while_another_takes_fresh_memory() {
    let (mut running, taken) = grown("classes");
    assert!(taken < 19 << 10, "{taken} KiB for 16 MiB that are live");
    let cached = snapshot(running.pid()).total("cached_bytes") >> 10;
    assert!(cached < 256, "{cached} KiB are cached");
    running.go();
    running.finish().success();
}

/// No chunk is wholly free, which would change zones: what small slabs have left between those that stay serves larger ones.
#[test]
fn larger_slabs_take_what_small_ones_have_left_before_fresh_memory() {
    let (mut running, most) = grown("gaps");
    assert!(most < 29 << 10, "{most} KiB, of which 24 MiB were in use before");
    running.go();
    running.finish().success();
}

#[test]
fn slabs_of_small_blocks_do_not_spread_the_ledger_over_those_of_larger_ones() {
    let mut running = start("granules");
    number(&mut running);
    let metadata = snapshot(running.pid()).total("metadata_bytes") >> 10;
    // 16 slabs with a sixteenth of ledger, 48 with a sixty-fourth, and 100 KiB for all else; were they mixed, 48 with a sixteenth.
    assert!(metadata < 256, "{metadata} KiB of metadata");
    running.go();
    running.finish().success();
}

/// What is resident is what is counted, but for a few pages of the heap and what the program has otherwise.
#[track_caller]
fn is_explained(running: &Running) {
    let seen = snapshot(running.pid());
    let other = seen.total("other_bytes");
    assert!(other.abs() < 2 << 20, "{other} bytes are not explained: {}", seen.0["totals"]);
}

#[test]
fn a_few_blocks_that_stay_do_not_hold_the_pages_between_them() {
    let mut running = Command::new(program("footprint.c"));
    let mut running = running.arg("scattered").env("STATSALLOC_DECAY_MS", "20").preload().begin();
    number(&mut running);
    let high = number(&mut running);
    assert!(high > 95 << 10, "{high} KiB, all touched");
    // 10 MB are live, on pages of two blocks each. The deadline ends a program that keeps more than 30 MiB.
    let low = number(&mut running);
    assert!(low < 31 << 10, "{low} KiB are resident again");
    is_explained(&running);
    let pinned = snapshot(running.pid()).total("pinned_bytes");
    assert!(pinned < 20 << 20, "{pinned} bytes are pinned");
    running.go();
    let again = number(&mut running);
    assert!(again > 95 << 10, "{again} KiB, all touched");
    is_explained(&running);
    let seen = snapshot(running.pid());
    assert!(seen.total("pinned_bytes") < 1 << 20, "{}", seen.0["totals"]);
    running.go();
    running.finish().success();
}

/// `malloc_trim` at once does what time would; then all is used again, freed and given back.
#[track_caller]
fn trims_what_is_sparse(hardened: &str, enough: i64) {
    let mut running = Command::new(program("footprint.c"));
    let mut running = running.arg("sparse").env("STATSALLOC_HARDEN", hardened).preload().begin();
    number(&mut running);
    let high = number(&mut running);
    assert!(high > 95 << 10, "{high} KiB, all touched");
    let low = number(&mut running);
    assert!(low < enough, "{low} KiB of {high} are still there");
    is_explained(&running);
    running.go();
    let last = number(&mut running);
    assert!(last < 20 << 10, "{last} KiB of {high} are still there");
    is_explained(&running);
    running.go();
    let finished = running.finish().success();
    assert_eq!(finished.err(), "");
}

#[test]
fn malloc_trim_gives_the_pages_between_blocks_back() {
    trims_what_is_sparse("0", 30 << 10);
}

#[test]
fn what_lies_in_freed_blocks_of_a_hardened_heap_stays_there() {
    trims_what_is_sparse("1", i64::MAX);
}

#[test]
fn pages_that_have_gone_are_counted_once_and_neither_as_pinned_nor_as_cached() {
    let mut running = Command::new(program("footprint.c"));
    let mut running =
        running.arg("thirds").env("STATSALLOC_DECAY_MS", "60000").env("STATSALLOC_HUGE", "never").preload().begin();
    number(&mut running);
    // Only the first one had anything to give back.
    assert_eq!(number(&mut running), 10);
    is_explained(&running);
    let purged = snapshot(running.pid()).total("purged_bytes");
    assert!((30 << 20..100 << 20).contains(&purged), "{purged} bytes were given back");
    running.go();
    number(&mut running);
    is_explained(&running);
    running.go();
    running.finish().success();
}

#[test]
fn a_block_that_is_hardly_touched_costs_a_few_bytes_of_tables_for_each_unit() {
    let finished = Command::new(program("vast.c")).preload().finish().success();
    let resident: i64 = finished.out().trim().parse().unwrap();
    assert!(resident < 40 << 10, "{resident} KiB for 64 GiB");
}

/// Where the library's section `name` begins and ends, in its own addresses.
fn section(name: &str) -> (u64, u64) {
    let text = Command::new("readelf").arg("-SW").arg(library()).finish().success().out();
    let row = text.lines().find_map(|line| line.split_once(&format!(" {name} "))).unwrap_or_else(|| panic!("{text}")).1;
    let mut numbers = row.split_whitespace().skip(1).map(|word| u64::from_str_radix(word, 16).unwrap());
    let (start, _, bytes) = (numbers.next().unwrap(), numbers.next(), numbers.next().unwrap());
    (start, start + bytes)
}

/// The kernel maps the sixteen pages around one that is touched: what a healthy process does not call has to lie beyond those
/// that it needs, or all of it is resident in every process.
#[test]
fn what_every_process_calls_and_what_few_do_share_no_pages() {
    let (first, end) = section(".text.seldom");
    let windows = (end - 1) / (64 << 10) - first / (64 << 10);
    assert!(windows >= 1, "{first:#x} to {end:#x}");
    // The first window has read-only data in front.
    let hot = section(".text.fast").1;
    assert!(hot <= 0x30000, "functions that are called seldom have to be marked as cold: the others end at {hot:#x}");
}

/// How fast they are depends on how they lie to each other. All of them: those without a name to the outside are two thirds.
#[test]
fn the_fast_paths_stand_side_by_side_on_a_pages_worth() {
    let (first, end) = section(".text.fast");
    assert!((3 << 10..=4 << 10).contains(&(end - first)), "{first:#x} to {end:#x}");
    let symbols = Command::new("nm").args(["-D", "--defined-only"]).arg(library()).finish().success().out();
    for name in ["malloc", "free", "calloc", "realloc", "_Znwm", "_ZdlPv"] {
        let line = symbols
            .lines()
            .find(|line| line.split_whitespace().nth(2) == Some(name))
            .unwrap_or_else(|| panic!("{symbols}"));
        let address = u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap();
        assert!((first..end).contains(&address), "{name} at {address:#x}, not from {first:#x} to {end:#x}");
    }
}

#[test]
fn a_healthy_program_calls_none_of_what_lies_behind() {
    let (first, end) = section(".text.seldom");
    let mut command = Command::new(program("behind.c"));
    let ended = command.args([format!("{first:x}"), format!("{end:x}")]).preload().finish();
    assert_eq!((ended.out(), ended.err()), ("done\n".into(), String::new()), "name it by addr2line");
}
