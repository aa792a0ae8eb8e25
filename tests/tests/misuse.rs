//! Wrong frees are recognised, counted and named; the allocator's own records stay whole.

use std::process::Command;
use tests::hazard::{self, Allocator, Outcome};
use tests::sandbox::Sandbox;
use tests::{Finished, Run, Snapshot, program, snapshot};

/// Name of a misuse in `misuse.c`, what the line on stderr must call it, its call, and, where a block is meant, its
/// size and what was requested.
type Case = (&'static str, &'static [&'static str], &'static str, Option<(u64, u64)>);

const DOUBLE: &[&str] = &["double"];
const INTERIOR: &[&str] = &["interior", "inside", "into"];
const NEVER: &[&str] = &["never", "no block"];

const DOUBLES: [Case; 7] = [
    ("double", DOUBLE, "free", Some((112, 100))),
    ("double-later", DOUBLE, "free", Some((112, 100))),
    ("double-realloc", &["double", "use after free"], "realloc", Some((112, 100))),
    ("double-large", &["double", "never", "no block"], "free", None),
    ("double-aligned", DOUBLE, "free", None),
    ("double-remote", DOUBLE, "free", Some((112, 100))),
    ("double-remote-both", DOUBLE, "free", Some((112, 100))),
];

const INVALID: [Case; 9] = [
    ("interior", INTERIOR, "free", Some((112, 100))),
    ("interior-odd", INTERIOR, "free", Some((112, 100))),
    ("interior-realloc", INTERIOR, "realloc", Some((112, 100))),
    ("interior-large", INTERIOR, "free", None),
    ("interior-page", INTERIOR, "free", None),
    ("interior-aligned", INTERIOR, "free", None),
    ("never", NEVER, "free", None),
    ("never-realloc", NEVER, "realloc", None),
    ("given-back", &["never", "no block", "double", "into"], "free", None),
];

const WILD: [Case; 5] = [
    ("wild-stack", &["main thread's stack"], "free", None),
    ("wild-data", &["data of misuse_c"], "free", None),
    ("wild-realloc", &["data of misuse_c"], "realloc", None),
    ("wild-low", &["nothing is mapped"], "free", None),
    ("wild-high", &["nothing is mapped"], "free", None),
];

fn cases() -> impl Iterator<Item = Case> {
    DOUBLES.into_iter().chain(INVALID).chain(WILD)
}

fn misuse(what: &str, mode: Option<&str>) -> Finished {
    let mut command = Command::new(program("misuse.c"));
    if let Some(mode) = mode {
        command.env("STATSALLOC_MISUSE", mode);
    }
    command.arg(what).preload().finish()
}

/// The address the program said it would misuse.
fn address(finished: &Finished) -> String {
    let out = finished.out();
    let word = out.split_whitespace().nth(1).unwrap_or_else(|| panic!("{finished:?}"));
    word.to_owned()
}

/// One line, with everything in it that is known.
fn check_line(finished: &Finished, (what, names, call, block): Case) {
    let text = finished.err();
    assert_eq!(text.lines().count(), 1, "{what}: one line, not {text:?}");
    let lower = text.to_lowercase();
    assert!(names.iter().any(|name| lower.contains(name)), "{what} is not named in {text:?}");
    assert!(lower.contains(call), "{what}: the call {call} is not in {text:?}");
    assert!(lower.contains(&address(finished)), "{what}: {} is not in {text:?}", address(finished));
    if let Some((size, requested)) = block {
        let has = |number: u64| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == number.to_string());
        assert!(has(size), "{what}: block size {size} is not in {text:?}");
        // A freed block's size may be forgotten; a live one's is known.
        assert!(
            what.starts_with("double") || has(requested),
            "{what}: {requested} requested bytes are not in {text:?}"
        );
    }
}

#[test]
fn wrong_frees_end_the_program_with_one_line() {
    for case in cases() {
        let finished = misuse(case.0, None);
        assert_eq!(finished.signal(), Some(libc::SIGABRT), "{}: {finished:?}", case.0);
        check_line(&finished, case);
        assert_eq!(misuse(case.0, Some("abort")).signal(), Some(libc::SIGABRT), "abort is what it does anyway");
    }
}

#[test]
fn warn_mode_says_so_and_goes_on() {
    for case in cases() {
        let finished = misuse(case.0, Some("warn"));
        assert_eq!(finished.status.code(), Some(0), "{}: {finished:?}", case.0);
        assert!(finished.out().ends_with("survived\n"), "{}: {finished:?}", case.0);
        check_line(&finished, case);
    }
}

#[test]
fn count_mode_is_silent_and_goes_on() {
    for case in cases() {
        let finished = misuse(case.0, Some("count"));
        assert_eq!(finished.status.code(), Some(0), "{}: {finished:?}", case.0);
        assert_eq!(finished.err(), "", "{}", case.0);
        assert!(finished.out().ends_with("survived\n"), "{}: {finished:?}", case.0);
    }
}

#[test]
fn foreign_pointers_are_left_alone_in_every_mode() {
    for mode in ["abort", "warn", "count"] {
        let finished = misuse("foreign-map", Some(mode));
        assert_eq!(finished.status.code(), Some(0), "{mode}: {finished:?}");
        assert!(finished.out().ends_with("survived\n"), "{mode}: {finished:?}");
        let lines = finished.err().lines().filter(|line| line.contains("left alone")).count();
        assert_eq!(lines, usize::from(mode != "count"), "{mode}: {finished:?}");
    }
}

#[test]
fn a_foreign_pointer_that_ends_the_program_is_not_said_to_be_left_alone() {
    let finished = misuse("foreign-map", Some("foreign=abort"));
    assert_eq!(finished.signal(), Some(libc::SIGABRT), "{finished:?}");
    assert!(finished.err().contains("foreign pointer") && !finished.err().contains("left alone"), "{finished:?}");
}

#[test]
fn foreign_pointers_are_told_of_once_for_each_caller() {
    let ours = Allocator::ours();
    for (name, callers) in [("from_threads", 1), ("from_another_name_space", 1), ("mixed_with_another_name_space", 1)] {
        let case = hazard::cases().into_iter().find(|case| case.name == name).unwrap();
        let (outcome, finished) = case.run(&ours);
        assert_eq!(outcome, Outcome::Survived, "{name}: {finished:?}");
        let err = finished.err();
        assert_eq!(err.lines().count(), callers, "{name}: {err}");
        assert!(err.contains("foreign pointer: free(0x") && err.contains(" (hazards_foreign_c+0x"), "{err}");
    }
}

#[test]
fn every_kind_of_misuse_has_an_action_of_its_own() {
    for (what, value, code, lines) in [
        ("double", "double=warn", Some(0), 1),
        ("double", "double=count", Some(0), 0),
        ("interior", "double=count", None, 1),
        ("interior", "warn,interior=count", Some(0), 0),
        ("wild-stack", "wild=warn", Some(0), 1),
        ("wild-data", "count,wild=abort", None, 1),
        ("never", "wild=count", Some(0), 0),
        ("foreign-map", "foreign=abort", None, 1),
        ("foreign-map", "foreign=count", Some(0), 0),
    ] {
        let finished = misuse(what, Some(value));
        assert_eq!(finished.status.code(), code, "{what} {value}: {finished:?}");
        assert_eq!(finished.err().lines().count(), lines, "{what} {value}: {finished:?}");
    }
}

#[test]
fn a_damaged_list_has_an_action_of_its_own() {
    for (value, signal, lines) in [
        ("abort", Some(libc::SIGABRT), 1),
        ("double=count", Some(libc::SIGABRT), 1),
        ("list=warn", None, 1),
        ("list=count", None, 0),
    ] {
        let mut command = Command::new(program("hazards/overwritten.c"));
        let finished = command.arg("freed_elsewhere").env("STATSALLOC_MISUSE", value).preload().finish();
        assert_eq!((finished.signal(), finished.err().lines().count()), (signal, lines), "{value}: {finished:?}");
        assert!(lines == 0 || finished.err().starts_with("statsalloc: corrupted free list: "), "{finished:?}");
        assert_eq!(finished.out().ends_with("survived\n"), signal.is_none(), "{value}: {finished:?}");
    }
}

/// Snapshots around one misuse in count mode, and its address.
fn around(what: &str) -> (Snapshot, Snapshot, String) {
    let mut command = Command::new(program("misuse.c"));
    let mut running = command.args([what, "pause"]).env("STATSALLOC_MISUSE", "count").preload().begin();
    let line = running.line();
    let address = line.strip_prefix("address ").unwrap().to_owned();
    running.line();
    let before = snapshot(running.pid());
    running.go();
    running.line();
    let after = snapshot(running.pid());
    running.go();
    assert_eq!(running.line(), "survived");
    running.finish().success();
    (before, after, address)
}

/// Changes of double, invalid and foreign frees.
fn counted(before: &Snapshot, after: &Snapshot) -> [i64; 3] {
    ["double_frees", "invalid_frees", "foreign_frees"].map(|name| {
        let path = format!("/misuse/{name}");
        after.number(&path) - before.number(&path)
    })
}

/// The record of the last misuse holds its address, as a number or as text in hexadecimal.
fn check_record(after: &Snapshot, address: &str, what: &str) {
    let last = after.list("/misuse/last");
    assert_eq!(last.len(), 1, "{what}: one event: {last:?}");
    let number = u64::from_str_radix(address.trim_start_matches("0x"), 16).unwrap();
    let held = last[0].as_object().expect("an event is an object");
    let found = held.values().any(|value| value.as_u64() == Some(number) || value.as_str() == Some(address));
    assert!(found, "{what}: {address} is not in {last:?}");
    assert!(held.contains_key("kind") && held.contains_key("caller"), "{what}: {last:?}");
}

#[test]
fn wrong_frees_are_counted_by_kind_and_count_as_no_free() {
    for case in cases() {
        let (before, after, address) = around(case.0);
        let counts = counted(&before, &after);
        let expected: &[[i64; 3]] = match case.0 {
            // What was given back long ago may be known as freed or not known at all.
            "double-large" | "given-back" => &[[1, 0, 0], [0, 1, 0]],
            name if name.starts_with("double") => &[[1, 0, 0]],
            _ => &[[0, 1, 0]],
        };
        assert!(expected.contains(&counts), "{}: double, invalid, foreign: {counts:?}", case.0);
        check_record(&after, &address, case.0);
        let change = &after.figures() - &before.figures();
        assert_eq!((change.live_blocks, change.requested), (0, 0), "{}: {change:?}", case.0);
        assert_eq!((change.allocations, change.frees), (15_000, 15_000), "{}: {change:?}", case.0);
    }
}

#[test]
fn foreign_pointers_are_counted_and_count_as_no_free() {
    let (before, after, address) = around("foreign-map");
    assert_eq!(counted(&before, &after), [0, 0, 1]);
    check_record(&after, &address, "foreign-map");
    let change = &after.figures() - &before.figures();
    assert_eq!((change.live_blocks, change.requested), (0, 0), "{change:?}");
}

#[test]
fn two_threads_freeing_one_block_at_once_are_caught() {
    for _ in 0..20 {
        let (before, after, _) = around("double-race");
        let [double, invalid, foreign] = counted(&before, &after);
        assert_eq!((double, invalid, foreign), (1, 0, 0), "{:?}", after.0);
        let change = &after.figures() - &before.figures();
        assert_eq!(change.allocations - change.frees, change.live_blocks);
        // 2,000 blocks were kept; the one in question was live before and is not any more.
        assert_eq!(change.live_blocks, 2000 - 1, "{change:?}");
    }
}

#[test]
fn the_message_does_not_need_stderr() {
    let program = program("misuse.c");
    let finished = Command::new("sh").args(["-c", "exec \"$0\" double 2>&-"]).arg(program).preload().finish();
    assert_eq!(finished.signal(), Some(libc::SIGABRT), "{finished:?}");
}

#[test]
fn overflowing_live_blocks_does_not_damage_our_records() {
    let mut running = Command::new(program("overflow.c")).arg("live").preload().begin();
    running.line();
    let before = snapshot(running.pid());
    running.go();
    running.line();
    let after = snapshot(running.pid());
    running.go();
    let change = &after.figures() - &before.figures();
    assert_eq!((change.live_blocks, change.requested, change.frees), (0, 0, 12_000), "{change:?}");
    assert_eq!(counted(&before, &after), [0, 0, 0]);
    running.finish().success();
}

#[test]
fn an_overwritten_free_list_is_caught_before_it_hands_anything_out() {
    let finished = Command::new(program("overflow.c")).arg("free").preload().finish();
    // Either no link of ours lay there, or it was seen to be wrong.
    match finished.signal() {
        None => assert_eq!(finished.code(), 0, "{finished:?}"),
        Some(signal) => {
            assert_eq!(signal, libc::SIGABRT, "{finished:?}");
            assert_eq!(finished.err().lines().count(), 1, "{finished:?}");
        }
    }
}

#[test]
fn counting_programs_survive_an_overwritten_free_list() {
    let mut command = Command::new(program("overflow.c"));
    let finished = command.arg("free").env("STATSALLOC_MISUSE", "count").preload().finish();
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    assert_eq!(finished.err(), "");
}

#[test]
fn a_free_with_another_size_than_was_asked_for_is_told() {
    let finished = misuse("wrong-size", None);
    assert_eq!((finished.signal(), finished.err().lines().count()), (Some(libc::SIGABRT), 1), "{finished:?}");
    let told = finished.err();
    let wanted = format!(
        "wrong size: free_sized({}) of a live 112-byte block (100 requested), by another size (101)",
        address(&finished)
    );
    assert!(told.contains(&wanted), "{told}");
    let finished = misuse("wrong-size", Some("interior=count")).success();
    assert_eq!(finished.err(), "");
}

/// The tables end there, too, with the entry of the block.
#[test]
fn a_small_block_at_the_end_of_the_heap_is_resized_and_its_second_free_told() {
    for (what, limit) in
        [("realloc", None), ("double", None), ("realloc", Some(512 << 20)), ("double", Some(512 << 20))]
    {
        let mut command = Command::new(program("edges.c"));
        if let Some(limit) = limit {
            command.limit(libc::RLIMIT_AS, limit);
        }
        let mut running = command.arg(what).env("STATSALLOC_MISUSE", "count").preload().begin();
        let met: i64 = running.line().parse().unwrap();
        assert!(met >= 6, "{what}: met {met} such blocks");
        let doubles = snapshot(running.pid()).number("/misuse/double_frees");
        assert_eq!(doubles, if what == "double" { met } else { 0 });
        running.go();
        running.finish().success();
    }
}

#[test]
fn a_block_that_is_freed_while_a_realloc_copies_it_is_freed_once() {
    // Small to large, to another class from the bin, likewise larger; large to small.
    for [size, new_size] in [["20000", "100000"], ["20000", "5000"], ["20000", "30000"], ["100000", "20000"]] {
        let mut command = Command::new(program("freedmeanwhile.c"));
        let mut running = command.args([size, new_size]).env("STATSALLOC_MISUSE", "warn").preload().begin();
        assert_eq!(running.line(), "0", "{size} to {new_size} is handed out");
        let seen = snapshot(running.pid());
        assert_eq!(seen.number("/misuse/double_frees"), 1, "{}", seen.0["misuse"]);
        for class in seen.list("/size_classes").iter().filter(|class| class["block_size"].as_i64() >= Some(5000)) {
            assert_eq!(class["allocations"], class["frees"], "{size} to {new_size}: {class}");
        }
        running.go();
        let finished = running.finish();
        assert!(finished.err().starts_with("statsalloc: use after free: realloc("), "{finished:?}");
        assert_eq!(finished.err().lines().count(), 1, "{finished:?}");
    }
}
