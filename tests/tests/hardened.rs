//! `STATSALLOC_HARDEN=1`: what it notices, and that programs and figures are as without it.

use std::process::Command;
use tests::sandbox::Sandbox;
use tests::script::{Random, Script};
use tests::{Finished, Run, missing, program};

fn run(what: &str) -> Finished {
    let mut command = Command::new(program("hardened.c"));
    command.arg(what).env("STATSALLOC_HARDEN", "1").limit(libc::RLIMIT_CORE, 0).preload().finish()
}

/// One line on standard error, which begins so and says who and where, then SIGABRT.
#[track_caller]
fn noticed(what: &str, start: &str, middle: &str) {
    let finished = run(what);
    let told = finished.err();
    assert_eq!((told.lines().count(), finished.signal()), (1, Some(libc::SIGABRT)), "{what}: {finished:?}");
    assert!(told.starts_with(start) && told.contains(middle) && told.contains(", thread "), "{what}: {told}");
    assert!(!finished.out().contains("went on"), "{what}");
}

#[test]
fn a_byte_beyond_the_end_is_noticed_at_the_free_or_realloc() {
    noticed(
        "overrun",
        "statsalloc: overrun: free(0x",
        "a live 48-byte block (40 requested), written to beyond its end",
    );
    noticed("overrun-realloc", "statsalloc: overrun: realloc(0x", "a live 48-byte block (40 requested)");
    noticed("overrun-elsewhere", "statsalloc: overrun: free(0x", "a live 48-byte block (40 requested)");
    noticed("overrun-large", "statsalloc: overrun: free(0x", "a live 102400-byte block (100000 requested)");
}

#[test]
fn a_write_after_free_is_noticed_when_the_block_leaves_quarantine_or_is_handed_out_or_the_program_ends() {
    let cases = [
        ("write-after-free", "free"),
        ("write-in-bin", "malloc"),
        ("write-after-free-elsewhere", ""),
        ("write-before-exit", ""),
    ];
    for (what, call) in cases {
        noticed(what, &format!("statsalloc: write after free: {call}"), "a freed 48-byte block, written to since");
    }
}

#[test]
fn a_handler_of_the_abort_may_allocate_in_a_thread_without_a_heap_of_its_own() {
    let finished = run("write-late");
    assert!(finished.err().starts_with("statsalloc: write after free: "), "{finished:?}");
    assert_eq!((finished.out().lines().last(), finished.code()), (Some("went on"), 3), "{finished:?}");
}

#[test]
fn a_double_free_is_told_from_quarantine_too() {
    noticed("double-free", "statsalloc: double free: free(0x", "of a freed 48-byte block");
}

#[test]
fn freed_blocks_are_not_handed_out_at_once() {
    assert!(run("not-reused-at-once").success().out().contains("went on"));
}

#[test]
fn what_may_be_used_is_what_was_asked_for() {
    assert!(run("usable-size").success().out().contains("went on"));
}

#[test]
fn a_write_behind_a_large_block_faults_and_its_guard_goes_with_it() {
    let finished = run("overrun-page");
    assert_eq!(finished.signal(), Some(libc::SIGSEGV), "{finished:?}");
    assert!(run("guard-moves").success().out().contains("went on"));
}

#[test]
fn the_figures_stay_exact() {
    for seed in 1..=3 {
        let mut random = Random::new(seed);
        let mut script = Script::new();
        let mut held: Vec<Option<u64>> = vec![None; 300];
        script.pause();
        for step in 1..=4000 {
            let slot = random.below(held.len() as u64);
            let block = &mut held[slot as usize];
            let slot = slot as u32;
            match (*block, random.below(4)) {
                (None, _) => {
                    *block = Some(random.size());
                    script.malloc(slot, block.unwrap());
                }
                (Some(size), 0) if size < 2_000_000 => {
                    *block = Some(size + 1 + random.below(size + 64));
                    script.realloc(slot, block.unwrap());
                }
                (Some(_), _) => {
                    *block = None;
                    script.free(slot);
                }
            }
            if step % 1000 == 0 {
                script.pause();
            }
        }
        script.check_with(|command| {
            command.env("STATSALLOC_HARDEN", "1");
        });
    }
}

#[test]
fn forks_and_threads_live_under_it() {
    const CASES: [&str; 5] = [
        "chain_of_forks",
        "fork_handlers_allocate",
        "threads_fork_at_once",
        "fork_while_threads_allocate",
        "raw_fork_while_threads_allocate",
    ];
    for case in CASES {
        let mut command = Command::new(program("hazards/forks.c"));
        let finished = command.arg(case).env("STATSALLOC_HARDEN", "1").preload().finish().success();
        assert!(finished.out().ends_with("survived\n"), "{case}: {finished:?}");
    }
}

#[test]
fn real_programs_run_under_it() {
    const PYTHON: &str = "import json; print(len(json.dumps([{str(i): [i] * 3} for i in range(20000)])))";
    const PERL: &str =
        "my %h; $h{$_} = 'x' x $_ for 1..2000; delete $h{$_} for 1..1000; print length(join '', values %h)";
    for (tool, arguments) in [("python3", ["-c", PYTHON]), ("perl", ["-e", PERL])] {
        if missing(&[tool]) {
            continue;
        }
        let with = |harden: &str| {
            let mut command = Command::new(tool);
            command.args(arguments).env("PYTHONMALLOC", "malloc").env("STATSALLOC_HARDEN", harden);
            command.preload().finish().success().out()
        };
        assert_eq!(with("1"), with("0"), "{tool}");
    }
}

#[test]
fn a_sized_delete_with_another_size_is_told() {
    let sized = |what: &str| {
        let mut command = Command::new(program("sized.cc"));
        command.arg(what).limit(libc::RLIMIT_CORE, 0).preload();
        command
    };
    for what in ["one", "array"] {
        // By default it is as harmless as under other allocators.
        sized(what).finish().success();
        let finished = sized(what).env("STATSALLOC_HARDEN", "1").finish();
        let told = finished.err();
        assert_eq!(finished.signal(), Some(libc::SIGABRT), "{what}: {finished:?}");
        assert!(told.starts_with("statsalloc: wrong size: operator delete(0x"), "{what}: {told}");
        assert!(told.contains("of a live 208-byte block (200 requested), by another size (8)"), "{what}: {told}");
    }
    assert!(sized("right").env("STATSALLOC_HARDEN", "1").finish().success().out().contains("went on"));
}

#[test]
fn a_programs_own_operators_get_every_form_here_too() {
    Command::new(program("replaced.cc")).env("STATSALLOC_HARDEN", "1").preload().finish().success();
}
