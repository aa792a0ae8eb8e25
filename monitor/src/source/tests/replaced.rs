//! Processes that replace their program: which segment is theirs, and what is said of them.

use super::*;
use crate::model::log::Event;

/// A living child without the library, and the segment that it left behind at an `exec`.
fn replaced(start_ticks: impl FnOnce(u64) -> u64) -> (std::process::Child, Published) {
    let mut command = std::process::Command::new("cat");
    let child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let began = start_ticks(Proc::find(child.id()).unwrap().start_ticks);
    let published = Published::called(child.id(), 0, |fake| fake.word(offset_of!(Header, start_ticks), began));
    published.dies();
    (child, published)
}

#[test]
fn a_process_that_lives_on_as_another_program_is_not_dead() {
    let (mut child, published) = replaced(|ticks| ticks);
    let mut watcher = Watcher::new(Selection::Targets(vec![Target::Pid(child.id())]));
    let look = watcher.look().unwrap();
    assert_eq!(exit_codes(&look), [4]);
    let process = &look.snapshot.processes[0];
    assert_eq!((process.state, process.replaced_by.as_deref()), (State::Replaced, Some("cat")));
    // Where it was watched, its end is known to be no crash of what it was.
    drop(child.stdin.take());
    child.wait().unwrap();
    let look = watcher.look().unwrap();
    let process = &look.snapshot.processes[0];
    assert_eq!((process.state, process.replaced_by.as_deref()), (State::Exited, Some("cat")));
    assert_eq!(exit_codes(&look), [7]);
    assert_eq!(published.look().snapshot.processes[0].state, State::Crashed, "from the segment alone nobody can tell");
}

#[test]
fn a_replaced_process_is_followed_without_its_name_and_into_its_next_program() {
    let (mut child, before) = replaced(|ticks| ticks);
    let mut watcher = Watcher::new(Selection::Targets(vec![Target::Pid(child.id())]));
    let mut seen = || {
        let look = watcher.look().unwrap();
        let states = look.snapshot.processes.iter().map(|process| process.state);
        (states.collect::<Vec<_>>(), exit_codes(&look))
    };
    assert_eq!(seen(), (vec![State::Replaced], vec![4]));
    std::fs::remove_file(&before.path).unwrap();
    assert_eq!(seen(), (vec![State::Replaced], vec![4]));
    let began = Proc::find(child.id()).unwrap().start_ticks;
    let after = Published::called(child.id(), 0, |fake| fake.word(offset_of!(Header, start_ticks), began));
    assert_eq!(seen(), (vec![State::Live], vec![]));
    after.dies();
    while seen() == (vec![State::Live], vec![]) {}
    assert_eq!(seen(), (vec![State::Replaced], vec![4]));
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(seen(), (vec![State::Exited], vec![7]));
}

#[test]
fn a_left_over_of_an_earlier_process_is_not_the_living_ones_with_that_pid() {
    for began in [|ticks| ticks - 1, |_| 0] {
        let (mut child, published) = replaced(began);
        let look = published.look();
        assert!(look.snapshot.processes.is_empty(), "{look:?}");
        assert_eq!(exit_codes(&look), [4]);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// The log of the looks and the states of one process, which is expected to be in all of them.
fn states_and_log(look: &Look, pid: u32) -> (Vec<State>, Vec<Event>) {
    let processes = look.snapshot.processes.iter().filter(|process| process.pid == pid);
    let log = processes.clone().flat_map(|process| &process.log).map(|entry| entry.event.clone());
    (processes.map(|process| process.state).collect(), log.collect())
}

#[test]
fn an_exec_of_a_program_that_publishes_too_is_no_other_process_and_no_loss_of_the_library() {
    for (by_pid, before_it_publishes) in [(true, false), (false, false), (true, true), (false, true)] {
        let (mut child, before) = replaced(|ticks| ticks);
        flock(&before.file, FlockOperation::LockExclusive).unwrap();
        let pid = child.id();
        let selection = if by_pid { Selection::Targets(vec![Target::Pid(pid)]) } else { Selection::All };
        let mut watcher = Watcher::new(selection);
        assert_eq!(states_and_log(&watcher.look().unwrap(), pid).0, [State::Live]);
        before.dies();
        if before_it_publishes {
            assert_eq!(states_and_log(&watcher.look().unwrap(), pid).0, [State::Live]);
        }
        // What another user owns keeps its name.
        let began = Proc::find(pid).unwrap().start_ticks;
        let _after = Published::called(pid, 1, |fake| fake.word(offset_of!(Header, start_ticks), began));
        for _ in 0..2 {
            let (states, log) = states_and_log(&watcher.look().unwrap(), pid);
            assert_eq!(states, [State::Live], "by PID: {by_pid}, looked at between: {before_it_publishes}");
            assert!(log.iter().any(|event| matches!(event, Event::Exec { .. })), "{log:?}");
            assert!(!log.iter().any(|event| matches!(event, Event::State { .. })), "{log:?}");
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn of_a_dead_process_the_segment_of_its_last_program_counts() {
    let of_program = |pid, suffix, name: &str, made: u64| {
        let published = Published::called(pid, suffix, |fake| {
            fake.executable(name);
            fake.word(offset_of!(Header, start_ticks), 77);
            fake.word(offset_of!(Header, pid_namespace), proc::own_pid_namespace().unwrap());
            fake.word(offset_of!(Header, created_realtime_ns), made);
        });
        published.dies();
        published
    };
    let pid = Published::new(|_| {}).pid;
    let _both = [of_program(pid, 0, "/bin/second", 2_000), of_program(pid, 1, "/bin/first", 1_000)];
    assert_eq!(names(Target::Pid(pid)), ["second"]);
    let mut watcher = Watcher::new(Selection::All);
    assert_eq!(states_and_log(&watcher.look().unwrap(), pid).0, [State::Crashed]);
    let by_start = watcher.look_at(Identity::Process { pid, start_ticks: 77 }).unwrap();
    assert_eq!(by_start.name, "second");
}

#[test]
fn a_process_without_the_library_stays_in_the_list_as_long_as_it_lives() {
    let (mut child, before) = replaced(|ticks| ticks);
    let mut watcher = Watcher::new(Selection::All);
    let mut states = || states_and_log(&watcher.look().unwrap(), before.pid).0;
    assert_eq!(states(), [State::Replaced]);
    std::fs::remove_file(&before.path).unwrap();
    assert_eq!([(); 2].map(|()| states()), [[State::Replaced], [State::Replaced]]);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(states(), [State::Exited]);
    assert!(states().is_empty());
}

#[test]
fn a_process_that_published_anew_after_an_exec_is_one_in_the_list() {
    let before = Published::new(|_| {});
    let mut watcher = Watcher::new(Selection::All);
    watcher.look().unwrap();
    before.dies();
    std::fs::remove_file(&before.path).unwrap();
    let after = Published::called(before.pid, 0, |_| {});
    watcher.look().unwrap();
    let look = watcher.look().unwrap();
    let states = look.snapshot.processes.iter().filter(|process| process.pid == after.pid).map(|process| process.state);
    assert_eq!(states.collect::<Vec<_>>(), [State::Live]);
}

#[test]
fn a_process_whose_lock_a_child_has_inherited_is_dead_all_the_same() {
    let (mut child, published) = replaced(|ticks| ticks);
    flock(&published.file, FlockOperation::LockExclusive).unwrap();
    let namespace = proc::own_pid_namespace().unwrap();
    published.file.write_all_at(&namespace.to_ne_bytes(), offset_of!(Header, pid_namespace) as u64).unwrap();
    let mut watcher = Watcher::new(Selection::Targets(vec![Target::Pid(child.id())]));
    assert_eq!(states_and_log(&watcher.look().unwrap(), child.id()).0, [State::Live]);
    drop(child.stdin.take());
    child.wait().unwrap();
    watcher.look().unwrap();
    assert_eq!(states_and_log(&watcher.look().unwrap(), child.id()).0, [State::Crashed]);
    assert_eq!(exit_codes(&published.look()), [7], "whoever comes later sees it too");
}
