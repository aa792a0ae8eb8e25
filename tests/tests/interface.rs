//! The C interface has glibc 2.36's semantics.

use std::process::Command;
use tests::artefacts::compiled;
use tests::script::{Do, Script};
use tests::{Run, program};

/// The checks themselves are right: glibc passes those that concern it.
#[test]
fn the_checks_describe_glibc() {
    let finished = Command::new(program("interface.c")).finish();
    assert_eq!(finished.code(), 0, "{}", finished.out());
}

#[test]
fn every_entry_point_behaves_as_glibcs() {
    let finished = Command::new(program("interface.c")).arg("preloaded").preload().finish();
    assert_eq!(finished.code(), 0, "{}{}", finished.out(), finished.err());
}

#[test]
fn malloc_stats_writes_our_statistics_to_stderr() {
    let finished = Command::new(program("interface.c")).arg("preloaded").preload().finish();
    let text = finished.err().to_lowercase();
    assert!(text.contains("requested") && text.contains("allocated"), "{text:?}");
    assert!(!text.contains("arena 0"), "these are glibc's: {text:?}");
}

/// The program's checks hold without the library and with it.
#[track_caller]
fn passes_either_way(file: &str) {
    let program = program(file);
    Command::new(&program).finish().success();
    Command::new(&program).preload().finish().success();
}

#[test]
fn a_programs_own_operators_get_every_form() {
    passes_either_way("replaced.cc");
}

#[test]
fn a_programs_own_malloc_serves_reallocarray_and_new_and_nothing_is_published() {
    passes_either_way("ownmalloc.cc");
    let mut command = Command::new(program("ownmalloc.cc"));
    let told = command.env("STATSALLOC_VERBOSE", "1").preload().finish().success().err();
    assert_eq!(told, "statsalloc: statsmon cannot see this process: it has a malloc of its own\n");
}

#[test]
fn a_programs_own_malloc_finds_its_settings_and_its_free_is_not_called_before_the_program_begins() {
    for is_preloaded in [false, true] {
        let mut command = Command::new(program("early.c"));
        let command = if is_preloaded { command.preload() } else { &mut command };
        assert_eq!(command.env("EARLY", "fast").finish().success().out(), "fast\n", "preloaded: {is_preloaded}");
    }
}

#[test]
fn profilers_find_the_way_back_to_the_program_from_every_instruction() {
    let out = Command::new(program("unwound.cc")).preload().finish().success().out();
    let figures: Vec<u32> = out.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(figures[0] > 500 && figures[1] == 0, "at {} of {} instructions it is not found", figures[1], figures[0]);
}

#[test]
fn a_program_that_takes_mallocs_address_has_no_malloc_of_its_own() {
    let addressed = compiled("addressed.c", &["-fno-pie", "-no-pie"]);
    Command::new(addressed).preload().finish().success();
}

#[test]
fn throwing_new_calls_the_handler_and_throws() {
    passes_either_way("operators.cc");
}

/// `realloc(p, 0)` frees, so it must count a free and nothing that lives on.
#[test]
fn realloc_to_nothing_counts_a_free() {
    let mut script = Script::new();
    script.malloc(0, 100).pause().step(Do::ReallocToNothing, 0, 0, 0).pause();
    let mut player = script.start(|_| {});
    player.line();
    let before = tests::snapshot(player.pid()).figures();
    player.go();
    player.line();
    let change = &tests::snapshot(player.pid()).figures() - &before;
    assert_eq!((change.allocations, change.frees, change.requested, change.live_blocks), (0, 1, -100, -1));
    player.go();
    player.finish().success();
}

/// The library that answers is ours, whatever name it is asked by.
#[test]
fn aliases_count_like_the_names_they_stand_for() {
    let mut running = Command::new(program("aliases.c")).preload().begin();
    running.line();
    let before = tests::snapshot(running.pid()).figures();
    running.go();
    running.line();
    let held = tests::snapshot(running.pid()).figures();
    running.go();
    running.line();
    let after = tests::snapshot(running.pid()).figures();
    running.go();
    let change = &held - &before;
    assert_eq!((change.allocations, change.frees), (7, 1), "{change:?}");
    assert_eq!(change.reallocations, 1, "{change:?}");
    let change = &after - &before;
    assert_eq!((change.live_blocks, change.requested, change.frees), (0, 0, 7), "{change:?}");
    running.finish().success();
}
