//! Segments of made-up processes in the real `/dev/shm`, under PIDs that no kernel gives.

mod mutated;
mod replaced;

use super::*;
use crate::model::fake::Fake;
use rustix::fs::{FlockOperation, flock};
use shm_layout::layout::{ENDED_KEPT, ENDED_REMOVED, GLOBALS_OFFSET, Globals, Header, ROWS_OFFSET, SEGMENT_BYTES};
use shm_layout::name::{DIRECTORY, SegmentName};
use std::fs::{File, OpenOptions};
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU32, Ordering};

/// A segment that is removed when the test ends.
struct Published {
    pid: u32,
    path: String,
    /// Holds the lock while the process lives.
    file: File,
}

impl Published {
    fn new(change: impl FnOnce(&mut Fake)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Tests of several users and targets may run at once: their own PIDs keep them apart.
        let pid = 4_200_000_000 + std::process::id() % 90_000 * 1_000 + NEXT.fetch_add(1, Ordering::Relaxed);
        Self::called(pid, 0, change)
    }

    fn called(pid: u32, suffix: u32, change: impl FnOnce(&mut Fake)) -> Self {
        let path = format!("{DIRECTORY}{}", SegmentName::new(pid, suffix).as_str());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).unwrap();
        let mut fake = Fake::new(pid, 2);
        change(&mut fake);
        file.set_len(SEGMENT_BYTES as u64).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        file.write_all_at(&fake.bytes, 0).unwrap();
        Self { pid, path, file }
    }

    fn dies(&self) {
        flock(&self.file, FlockOperation::Unlock).unwrap();
    }

    fn name(&self) -> &str {
        self.path.strip_prefix(DIRECTORY).unwrap()
    }

    fn entry(&self) -> Entry {
        directory::entry(self.name().as_bytes()).unwrap()
    }

    /// Under a name that no other process's sweep knows: it would take away what is dead.
    fn hidden(mut self) -> (Self, Entry) {
        let mut entry = self.entry();
        entry.name.insert_str(0, "hidden.");
        let path = format!("{DIRECTORY}{}", entry.name);
        std::fs::rename(&self.path, &path).unwrap();
        self.path = path;
        (self, entry)
    }

    fn look(&self) -> Look {
        Watcher::new(Selection::Targets(vec![Target::Pid(self.pid)])).look().unwrap()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn exit_codes(look: &Look) -> Vec<u8> {
    look.problems.iter().map(Error::exit_code).collect()
}

#[test]
fn a_segment_is_read_while_its_owner_lives_and_after_it_died() {
    let published = Published::new(|fake| fake.line(1, 3, [1, 50, 5, 250, 64, 0, 1, 0]));
    let look = published.look();
    assert!(look.problems.is_empty());
    let process = &look.snapshot.processes[0];
    assert_eq!((process.state, process.totals.requested_bytes), (State::Live, Some(200)));
    assert_eq!((process.name.as_str(), process.totals.rss_bytes), ("fake", None));

    published.dies();
    let look = published.look();
    assert_eq!(exit_codes(&look), [7]);
    let process = &look.snapshot.processes[0];
    assert_eq!((process.state, process.totals.requested_bytes), (State::Crashed, Some(200)));
}

#[test]
fn an_orderly_end_is_no_crash() {
    let published = Published::new(|fake| fake.global(offset_of!(Globals, ended), 1));
    published.dies();
    assert_eq!(published.look().snapshot.processes[0].state, State::Exited);
}

#[test]
fn the_last_state_outlives_the_name() {
    let published = Published::new(|fake| fake.line(1, 3, [0, 0, 1, 50, 64, 0, 1, 0]));
    let mut watcher = Watcher::new(Selection::Targets(vec![Target::Pid(published.pid)]));
    watcher.look().unwrap();
    published.file.write_all_at(&1u64.to_ne_bytes(), (GLOBALS_OFFSET + offset_of!(Globals, ended)) as u64).unwrap();
    std::fs::remove_file(&published.path).unwrap();
    published.dies();
    for _ in 0..2 {
        let look = watcher.look().unwrap();
        assert_eq!(exit_codes(&look), [7]);
        assert_eq!(look.snapshot.processes[0].totals.live_blocks, Some(1));
    }
}

#[test]
fn a_segment_that_shrinks_is_an_error_and_no_signal() {
    let published = Published::new(|_| {});
    let mut watcher = Watcher::new(Selection::Targets(vec![Target::Pid(published.pid)]));
    watcher.look().unwrap();
    published.file.set_len(ROWS_OFFSET as u64 + 100).unwrap();
    assert_eq!(exit_codes(&watcher.look().unwrap()), [1]);
    published.file.set_len(0).unwrap();
    assert_eq!(exit_codes(&watcher.look().unwrap()), [1]);
    assert_eq!(exit_codes(&published.look()), [1]);
}

#[test]
fn another_version_has_its_own_exit_code() {
    let published = Published::new(|fake| fake.half(offset_of!(Header, layout_version), 99));
    let look = published.look();
    assert_eq!(exit_codes(&look), [6]);
    assert!(look.problems[0].to_string().contains("version 99"));
}

#[test]
fn nonsense_and_odd_files_are_passed_over() {
    let garbage = Published::new(|fake| fake.bytes.fill(0xa5));
    assert_eq!(exit_codes(&garbage.look()), [1]);
    let link = Published::new(|_| {});
    std::fs::remove_file(&link.path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &link.path).unwrap();
    assert_eq!(exit_codes(&link.look()), [3]);
    std::fs::remove_file(&link.path).unwrap();
    std::fs::create_dir(&link.path).unwrap();
    assert_eq!(exit_codes(&link.look()), [3]);
    std::fs::remove_dir(&link.path).unwrap();
}

#[test]
fn several_targets_are_all_shown() {
    let (one, other) = (Published::new(|_| {}), Published::new(|_| {}));
    let missing = 4_294_967_000;
    let targets = [other.pid, missing, one.pid, other.pid].map(Target::Pid).to_vec();
    let look = Watcher::new(Selection::Targets(targets)).look().unwrap();
    let pids: Vec<u32> = look.snapshot.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [other.pid, one.pid]);
    assert_eq!(exit_codes(&look), [3]);
}

#[test]
fn a_name_must_be_unique_among_the_living() {
    let name = format!("unique-{}", std::process::id());
    let path = format!("/usr/bin/{name}");
    let target = || Watcher::new(Selection::Targets(vec![Target::Name(name.clone())])).look().unwrap();
    assert_eq!(exit_codes(&target()), [3]);
    let one = Published::new(|fake| fake.executable(&path));
    assert_eq!(target().snapshot.processes[0].pid, one.pid);
    let other = Published::new(|fake| fake.executable(&path));
    assert_eq!(exit_codes(&target()), [2]);
    other.dies();
    assert_eq!(target().snapshot.processes[0].pid, one.pid);
}

#[test]
fn a_name_that_only_dead_processes_have_says_that_they_are_dead() {
    let name = format!("deceased-{}", std::process::id());
    let path = format!("/usr/bin/{name}");
    let message = || {
        let look = Watcher::new(Selection::Targets(vec![Target::Name(name.clone())])).look().unwrap();
        assert_eq!(exit_codes(&look), [2]);
        look.problems[0].to_string()
    };
    let both: [Published; 2] = std::array::from_fn(|_| Published::new(|fake| fake.executable(&path)));
    let pids = format!("name one by its PID: {}, {}", both[0].pid, both[1].pid);
    assert_eq!(message(), format!("several processes are called \"{name}\": {pids}"));
    both.iter().for_each(Published::dies);
    assert_eq!(message(), format!("several processes are called \"{name}\", all of them dead: {pids}"));
}

/// Two dead processes of one PID, with programs of these names and something to tell them from other tests'.
fn two_dead_of_one_pid(programs: [&str; 2]) -> [(Published, String); 2] {
    let pid = Published::new(|_| {}).pid;
    let mut suffixes = [0, 1].into_iter();
    programs.map(|program| {
        let name = format!("{program}-{pid}");
        let suffix = suffixes.next().unwrap();
        let published = Published::called(pid, suffix, |fake| fake.executable(&format!("/usr/bin/{name}")));
        published.dies();
        (published, name)
    })
}

fn names(target: Target) -> Vec<String> {
    let look = Watcher::new(Selection::Targets(vec![target])).look().unwrap();
    assert_eq!(exit_codes(&look), [7]);
    look.snapshot.processes.into_iter().map(|process| process.name).collect()
}

#[test]
fn a_name_leads_to_its_own_process_where_another_has_the_same_pid() {
    for (published, name) in &two_dead_of_one_pid(["alpha", "beta"]) {
        for target in [name, published.name()] {
            assert_eq!(names(Target::Name(target.to_owned())), [name.as_str()]);
        }
    }
}

#[test]
fn a_pid_that_several_dead_had_means_none_of_them_and_the_message_names_all() {
    let both = two_dead_of_one_pid(["alpha", "beta"]);
    let look = both[0].0.look();
    assert_eq!((exit_codes(&look), look.snapshot.processes.len()), (vec![2], 0));
    let message = look.problems[0].to_string();
    for (published, name) in &both {
        assert!(message.contains(&format!("{} ({name})", published.name())), "{message}");
    }
    let targets = both.iter().map(|(_, name)| Target::Name(name.clone())).collect();
    assert_eq!(Watcher::new(Selection::Targets(targets)).look().unwrap().snapshot.processes.len(), 2);
}

#[test]
fn of_one_name_and_pid_the_segments_are_named() {
    let [(first, name), (second, _)] = two_dead_of_one_pid(["same", "same"]);
    let look = Watcher::new(Selection::Targets(vec![Target::Name(name)])).look().unwrap();
    let message = look.problems[0].to_string();
    let ways = format!("name one by its PID or segment: {}, {}", first.name(), second.name());
    assert!(message.ends_with(&ways), "{message}");
}

#[test]
fn a_dead_one_goes_from_the_list_when_its_name_passes_to_another() {
    let mut watcher = Watcher::new(Selection::All);
    let dead = Published::new(|_| {});
    let count = |watcher: &mut Watcher| {
        let look = watcher.look().unwrap();
        look.snapshot.processes.iter().filter(|process| process.pid == dead.pid).count()
    };
    assert_eq!(count(&mut watcher), 1);
    dead.dies();
    std::fs::remove_file(&dead.path).unwrap();
    let _successor = Published::called(dead.pid, 0, |_| {});
    assert_eq!([(); 2].map(|()| count(&mut watcher)), [2, 1]);
}

#[test]
fn a_leftover_is_found_under_its_number_while_a_process_without_the_library_has_it() {
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let elsewhere = |fake: &mut Fake| fake.word(offset_of!(Header, pid_namespace), 7);
    let left = Published::called(child.id(), 9, elsewhere);
    assert_eq!(exit_codes(&left.look()), [4], "one that lives elsewhere is none");
    left.dies();
    let look = left.look();
    assert_eq!((exit_codes(&look), look.snapshot.processes.len()), (vec![7], 1));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn another_processes_segment_is_not_taken_for_ours() {
    // The name is this process's, the start time is not.
    let published = Published::called(std::process::id(), 7, |fake| fake.word(offset_of!(Header, start_ticks), 1));
    assert_eq!(exit_codes(&published.look()), [4]);
}

#[test]
fn a_segment_of_this_process_gets_what_proc_knows() {
    let own = Proc::find(std::process::id()).unwrap();
    let (start, namespace) = (own.start_ticks, proc::own_pid_namespace().unwrap());
    let published = Published::called(own.pid, 8, |fake| {
        fake.word(offset_of!(Header, start_ticks), start);
        fake.word(offset_of!(Header, pid_namespace), namespace);
    });
    let look = published.look();
    let process = &look.snapshot.processes[0];
    assert_eq!((process.state, process.namespace_pid), (State::Live, Some(own.pid)));
    assert!(process.totals.rss_bytes.unwrap() > 0 && process.uptime_seconds.unwrap() >= 0.0);
    assert!(process.totals.rss_file_bytes.unwrap() > 0, "its program and libraries");
    assert!(process.totals.resident_bytes.is_some() && process.totals.resident_age_seconds.is_some());
}

#[test]
fn what_the_dead_left_is_removed_five_minutes_after_it_was_found() {
    let [(dead, dead_entry), (living, living_entry)] = std::array::from_fn(|_| Published::new(|_| {}).hidden());
    dead.dies();
    let there = |seconds| {
        directory::sweep(&[dead_entry.clone(), living_entry.clone()], Time::now().plus_seconds(seconds));
        [&dead, &living].map(|published| std::fs::exists(&published.path).unwrap())
    };
    assert_eq!(there(0), [true, true]);
    assert_eq!(there(290), [true, true]);
    assert_eq!(there(310), [false, true]);
}

#[test]
fn what_only_its_process_could_not_remove_takes_no_place_of_a_crashed_one() {
    let ended = |how: u64| move |fake: &mut Fake| fake.word(GLOBALS_OFFSET + offset_of!(Globals, ended), how);
    let [crashed, kept, removed, living] =
        [0, ENDED_KEPT, ENDED_REMOVED, ENDED_REMOVED].map(|how| Published::new(ended(how)).hidden());
    [&crashed, &kept, &removed].iter().for_each(|(published, _)| published.dies());
    let all = [crashed, kept, removed, living];
    directory::sweep(&all.each_ref().map(|(_, entry)| entry.clone()), Time::now());
    assert_eq!(all.map(|(published, _)| std::fs::exists(&published.path).unwrap()), [true, true, false, true]);
}

#[test]
fn of_many_dead_the_newest_sixteen_stay() {
    let (dead, entries): (Vec<Published>, Vec<Entry>) = (0..20).map(|_| Published::new(|_| {}).hidden()).unzip();
    for (position, published) in dead.iter().enumerate() {
        published.dies();
        let time = std::time::SystemTime::now() - Duration::from_secs(100 - position as u64);
        published.file.set_modified(time).unwrap();
    }
    directory::sweep(&entries, Time::now());
    let there: Vec<bool> = dead.iter().map(|published| std::fs::exists(&published.path).unwrap()).collect();
    assert_eq!(there, [[false; 4].as_slice(), &[true; 16]].concat());
}
