//! Children that go on with their parent's heap, wherever in it the fork came and whichever thread of theirs comes first.

use std::process::Command;
use tests::{Run, library, missing, program, snapshot};

#[test]
fn forking_while_threads_allocate_never_hangs_or_breaks_the_child() {
    let finished = Command::new(program("forkstorm.c")).arg("300").preload().finish().success();
    assert_eq!(finished.out(), "300 children\n");
    assert_eq!(finished.err(), "");
}

/// Forks at every instruction of one call (see `everyfork.c`); how many.
fn fork_at_every_instruction(how: &str, threads: &str, call: &str, size: &str) -> usize {
    every_fork(Command::new(program("everyfork.c")).args([how, threads, call, size]))
}

fn every_fork(command: &mut Command) -> usize {
    command.preload().finish().success().out().trim().parse().unwrap()
}

/// Where the library's only function with such a name begins and ends.
fn function(name: &str, is: impl Fn(&str) -> bool) -> (i64, i64) {
    let text = Command::new("nm").arg("-S").arg(library()).finish().success().out();
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut found = lines.filter_map(|words| match words[..] {
        [start, size, _, found] if is(found) => {
            Some([start, size].map(|number| i64::from_str_radix(number, 16).unwrap()))
        }
        _ => None,
    });
    let (Some([start, size]), None) = (found.next(), found.next()) else { panic!("{name} is not one function") };
    (start, start + size)
}

/// What a call counts there is loaded and stored by more than one instruction; and with so many calls before, a sum that the
/// child finds in place of the parent's does not go with the base that the parent's went with.
#[test]
fn a_child_of_a_handler_returns_to_any_instruction_that_counts_on_the_slow_path() {
    if missing(&["nm"]) {
        return;
    }
    let malloc = function("malloc", |name| name == "malloc").0;
    for counting in ["Tally13count_at_once", "Tally7keep_up"] {
        let (start, end) = function(counting, |name| name.contains(counting));
        for how in ["fork", "clone"] {
            for (call, size) in [("free", "40"), ("free", "5000"), ("move", "40")] {
                let mut command = Command::new(program("everyfork.c"));
                command.args([how, "alone", call, size, "700000", "5000"]);
                let forks =
                    every_fork(command.args([start - malloc, end - malloc].map(|distance| distance.to_string())));
                assert!(forks >= 8, "{how} in {counting} of {call}, {size}: {forks} forks");
            }
        }
    }
}

#[test]
fn a_child_of_a_handler_returns_to_any_instruction_of_a_call() {
    for how in ["fork", "clone"] {
        let small = ["malloc", "calloc", "free", "realloc", "move"].map(|call| (call, "40"));
        let middle = ["malloc", "calloc", "free", "move"].map(|call| (call, "5000"));
        for (call, size) in small.into_iter().chain(middle) {
            let forks = fork_at_every_instruction(how, "alone", call, size);
            assert!(forks >= 30, "{how}, {call} of {size}: {forks} forks");
        }
        for call in ["malloc", "free"] {
            let forks = fork_at_every_instruction(how, "alone", call, "100000");
            assert!(forks >= 100, "{how}, a large {call}: {forks} forks");
        }
        for call in ["malloc", "calloc", "free", "move", "remote"] {
            let forks = fork_at_every_instruction(how, "threads", call, "40");
            assert!(forks >= 30, "{how} beside a thread, {call}: {forks} forks");
        }
        for call in ["malloc", "free"] {
            let forks = fork_at_every_instruction(how, "threads", call, "100000");
            assert!(forks >= 100, "{how} beside a thread, a large {call}: {forks} forks");
        }
    }
}

/// Forks at every instruction of a rare call, as often as it comes up to a number (see `rarefork.c`); how many.
fn fork_in_a_rare_call(call: &str) -> usize {
    let mut command = Command::new(program("rarefork.c"));
    command.arg(call).env("STATSALLOC_DECAY_MS", "0").env("LD_BIND_NOW", "1");
    command.preload().finish().success().out().trim().parse().unwrap()
}

#[test]
fn a_child_of_a_handler_returns_into_a_threads_first_call() {
    let forks = fork_in_a_rare_call("first");
    assert!(forks >= 1000, "{forks} forks");
}

#[test]
fn a_child_that_another_thread_forks_while_a_slab_goes_back_has_it_once() {
    let forks = fork_in_a_rare_call("emptied");
    assert!(forks >= 1000, "{forks} forks");
}

#[test]
fn children_of_threads_that_fork_together_go_on_with_their_parents_counters() {
    Command::new(program("manyforks.c")).args(["4", "100"]).preload().finish().success();
}

#[test]
fn threads_that_fork_while_the_background_thread_gives_back_all_go_on() {
    let mut command = Command::new(program("purgedforks.c"));
    command.args(["8", "200"]).env("STATSALLOC_BACKGROUND", "1").env("STATSALLOC_DECAY_MS", "1");
    assert_eq!(command.preload().finish().success().out(), "9600 forks\n");
}

#[test]
fn a_child_forked_while_another_thread_takes_up_its_parents_heap_has_a_whole_one() {
    for beside in ["0", "1"] {
        let finished = Command::new(program("tornforks.c")).args(["150", beside]).preload().finish().success();
        assert_eq!((finished.out().as_str(), finished.err().as_str()), ("150 rounds\n", ""));
    }
}

#[test]
fn a_child_of_a_child_knows_what_is_cached_though_its_parent_had_to_look() {
    let mut command = Command::new(program("cutgenerations.c"));
    let finished = command.arg("100").env("STATSALLOC_DECAY_MS", "0").preload().finish().success();
    assert_eq!((finished.out().as_str(), finished.err().as_str()), ("100 children\n", ""));
}

#[test]
fn a_child_in_which_nobody_has_the_first_threads_heap_counts_no_less_than_nothing() {
    let finished = Command::new(program("warmchild.c")).preload().finish().success();
    assert_eq!((finished.out().as_str(), finished.err().as_str()), ("the child ended with 0\n", ""));
}

#[test]
fn a_child_counts_what_a_thread_did_that_came_and_went_while_its_parent_forked() {
    Command::new(program("besidefork.c")).arg("60").preload().finish().success();
}

/// The threads of a child use its heap before or with the thread that forked; see `threadsfirst.c`.
#[track_caller]
fn is_used_by_new_threads_first(order: &str) {
    let mut running = Command::new(program("threadsfirst.c")).args([order, "100"]).preload().begin();
    running.line();
    let before = snapshot(running.pid());
    running.go();
    let child = snapshot(running.line().parse().unwrap());
    assert_eq!(child.figures().live_blocks, before.figures().live_blocks, "{order}");
    assert_eq!(child.figures().requested, before.figures().requested, "{order}");
    assert_eq!((child.number("/threads/started"), child.number("/threads/live")), (9, 1), "{order}");
    assert_eq!(child.number("/misuse/invalid_frees") + child.number("/misuse/double_frees"), 0);
    running.go();
    running.finish().success();
}

#[test]
fn a_childs_threads_that_use_the_heap_at_once_do_not_all_take_it_up() {
    is_used_by_new_threads_first("together");
}

#[test]
fn a_childs_thread_that_comes_first_is_not_given_the_heap_of_the_one_that_forked() {
    is_used_by_new_threads_first("behind");
}
