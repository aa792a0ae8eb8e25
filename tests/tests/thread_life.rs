//! Short-lived threads leave nothing behind.

use std::process::Command;
use tests::artefacts::compiled;
use tests::{Run, Snapshot, library, program, snapshot};

/// Everything that may only grow.
fn monotone(seen: &Snapshot) -> Vec<(String, i64)> {
    let mut counters = Vec::new();
    for name in [
        "allocations",
        "frees",
        "reallocations",
        "remote_frees",
        "cumulative_requested_bytes",
        "cumulative_allocated_bytes",
        "purged_bytes",
        "peak_requested_bytes",
        "peak_allocated_bytes",
    ] {
        counters.push((name.to_owned(), seen.total(name)));
    }
    for name in ["started", "ended"] {
        counters.push((format!("threads {name}"), seen.number(&format!("/threads/{name}"))));
    }
    for class in seen.list("/size_classes") {
        for name in ["allocations", "frees"] {
            counters.push((format!("{name} of {}", class["block_size"]), class[name].as_i64().unwrap()));
        }
    }
    counters
}

#[test]
fn a_hundred_thousand_threads_strand_nothing() {
    const THREADS: i64 = 100_000;
    let mut running = Command::new(program("churn.c")).arg(THREADS.to_string()).preload().begin();
    running.line();
    let before = snapshot(running.pid());
    running.go();
    let mut last = before.clone();
    let pid = running.pid();
    // The line is awaited beside the snapshots.
    let (done, ended) = std::sync::mpsc::channel();
    let after = std::thread::scope(|scope| {
        scope.spawn(|| {
            running.line();
            done.send(()).unwrap();
        });
        let mut looks = 0;
        while ended.try_recv().is_err() {
            let now = snapshot(pid);
            for ((name, then), (_, now)) in monotone(&last).into_iter().zip(monotone(&now)) {
                assert!(now >= then, "{name} fell from {then} to {now}");
            }
            assert!(now.total("live_blocks") >= 0 && now.total("requested_bytes") >= 0);
            assert!(now.total("resident_bytes") < 256 << 20, "{}", now.0);
            last = now;
            looks += 1;
        }
        assert!(looks >= 5, "only {looks} looks");
        snapshot(pid)
    });
    let change = &after.figures() - &before.figures();
    assert_eq!(after.number("/threads/started") - before.number("/threads/started"), THREADS);
    assert_eq!(after.number("/threads/ended") - before.number("/threads/ended"), THREADS);
    assert_eq!(after.number("/threads/live"), 1);
    assert_eq!(after.number("/threads/stranded_bytes"), 0, "{}", after.0["threads"]);
    assert!(change.allocations >= THREADS * 40, "{change:?}");
    // A stack more or less may be cached, with what comes with it.
    assert!(change.live_blocks.abs() <= 16, "{change:?}");
    for what in ["resident_bytes", "committed_bytes", "metadata_bytes"] {
        let (then, now) = (before.total(what), after.total(what));
        assert!(now <= then * 2 + (32 << 20), "{what} grew from {then} to {now}");
    }
    running.go();
    running.finish().success();
}

/// Blocks of the class that `leaves.c` uses: allocated, freed, live.
fn of_its_class(seen: &Snapshot) -> (i64, i64, i64) {
    let class = seen.figures().classes.get(&5120).copied().unwrap_or_default();
    (class.allocations, class.frees, class.live_blocks)
}

/// What is seen when a thread has left blocks, and when they have been replaced; see `leaves.c`.
fn left_and_replaced(by: &str) -> (Snapshot, Snapshot) {
    let mut running = Command::new(program("leaves.c")).arg(by).preload().begin();
    running.line();
    let mut step = || {
        running.go();
        running.line();
        snapshot(running.pid())
    };
    let seen = (step(), step());
    running.go();
    running.finish().success();
    seen
}

#[test]
fn what_a_thread_leaves_goes_to_the_next_one() {
    let (left, replaced) = left_and_replaced("next");
    assert_eq!((of_its_class(&left), of_its_class(&replaced)), ((100, 0, 100), (200, 100, 100)));
    let stranded = left.number("/threads/stranded_bytes");
    assert!(stranded >= 100 * 5120, "{stranded}");
    assert!(replaced.number("/threads/adopted_bytes") >= stranded, "{}", replaced.0["threads"]);
    // The second thread has ended as well, and left what it took.
    assert!(replaced.number("/threads/stranded_bytes") >= 100 * 5120);
    assert_eq!(left.number("/threads/live"), 1);
}

#[test]
fn what_a_thread_left_and_did_is_not_shown_as_its_heirs() {
    let (left, replaced) = left_and_replaced("next");
    let row_of_both = |seen: &Snapshot| {
        let rows = seen.list("/threads/rows").iter().filter(|row| row["state"] == "ended");
        rows.max_by_key(|row| row["row_abandoned_bytes"].as_i64()).expect("an ended thread").clone()
    };
    let (first, heir) = (row_of_both(&left), row_of_both(&replaced));
    assert!(first["abandoned_bytes"].as_i64().unwrap() >= 100 * 5120, "{first}");
    assert_eq!((&heir["row"], &heir["row_generation"]), (&first["row"], &2.into()));
    assert_eq!(heir["abandoned_bytes"], serde_json::Value::Null, "{heir}");
    assert!(heir["row_abandoned_bytes"].as_i64() >= first["abandoned_bytes"].as_i64(), "{heir}");
    let class = heir["classes"].as_array().unwrap().iter().find(|class| class["block_size"] == 5120).unwrap();
    assert_eq!(class["row_allocations"], 200, "{class}");
    let known = class["allocations"].as_i64().unwrap_or(0);
    assert!(known <= 100, "{heir}");
    // Of all classes and large blocks, and of others' blocks that were resized.
    assert_eq!((&first["allocations"], &first["frees"]), (&102.into(), &2.into()), "{first}");
    assert_eq!((&heir["allocations"], &heir["frees"]), (&100.into(), &100.into()), "{heir}");
}

#[test]
fn what_a_thread_leaves_is_taken_over_by_others_if_no_thread_follows() {
    let (left, replaced) = left_and_replaced("main");
    assert!(left.number("/threads/stranded_bytes") >= 100 * 5120);
    assert_eq!(of_its_class(&replaced), (200, 100, 100));
    assert!(replaced.number("/threads/adopted_bytes") >= 100 * 5120, "{}", replaced.0["threads"]);
    assert_eq!(replaced.number("/threads/stranded_bytes"), 0);
}

#[test]
fn what_is_on_its_way_to_an_ended_threads_heap_arrives_when_memory_is_trimmed() {
    let (left, trimmed) = left_and_replaced("trimmed");
    assert!(left.number("/threads/stranded_bytes") >= 100 * 5120);
    assert_eq!(of_its_class(&trimmed), (100, 100, 0));
    assert_eq!(trimmed.number("/threads/stranded_bytes"), 0, "{}", trimmed.0["threads"]);
}

/// A freed block gets to the heap that has its slab now, which then gives the slab back; see `onward.c`.
#[track_caller]
fn goes_on_where(what: &str, decay: &str) {
    let mut running = Command::new(program("onward.c")).arg(what).env("STATSALLOC_DECAY_MS", decay).preload().begin();
    running.line();
    let trimmed = snapshot(running.pid());
    let class = trimmed.list("/size_classes").iter().find(|class| class["block_size"] == 3072).expect("its class");
    assert_eq!((&class["allocations"], &class["frees"], &class["slabs"]), (&24.into(), &24.into(), &0.into()));
    running.go();
    running.finish().success();
}

#[test]
fn a_block_whose_slab_was_taken_over_does_not_stay_with_the_thread_that_freed_it_and_trims() {
    goes_on_where("trims", "60000");
}

#[test]
fn a_block_whose_slab_was_taken_over_does_not_stay_in_the_heap_of_a_thread_that_ends() {
    // Without decay time no heap is kept for the next thread, and looked through when none comes.
    goes_on_where("ends", "0");
}

#[test]
fn a_block_whose_slab_was_taken_over_does_not_stay_with_the_heir_of_its_heap() {
    goes_on_where("heir", "60000");
}

#[test]
fn what_a_thread_left_before_a_fork_is_the_childs_too() {
    let mut running = Command::new(program("leaves.c")).arg("child").preload().begin();
    running.line();
    running.go();
    let child = running.line().parse().unwrap();
    running.go();
    running.line();
    let replaced = snapshot(child);
    running.go();
    running.finish().success();
    assert_eq!(of_its_class(&replaced), (200, 100, 100));
    assert!(replaced.number("/threads/adopted_bytes") >= 100 * 5120, "{}", replaced.0["threads"]);
    assert_eq!((replaced.number("/threads/stranded_bytes"), replaced.number("/threads/live")), (0, 1));
}

#[test]
fn more_threads_than_rows_share_one_and_stay_exact() {
    // The segment has room for 4,096 threads of their own.
    let mut running = Command::new(program("manythreads.c")).arg("4500").preload().begin();
    running.line();
    let before = snapshot(running.pid());
    running.go();
    running.line();
    let held = snapshot(running.pid());
    running.go();
    running.line();
    let after = snapshot(running.pid());
    running.go();
    running.finish().success();
    let own = |size: i64, seen: &Snapshot| {
        let class = seen.figures().classes.get(&size).copied().unwrap_or_default();
        (class.allocations, class.frees, class.live_blocks)
    };
    // Blocks of 5,000 bytes lie in the class of 5,120; nothing else here asks for such.
    let change = |a: (i64, i64, i64), b: (i64, i64, i64)| (b.0 - a.0, b.1 - a.1, b.2 - a.2);
    assert_eq!(change(own(5120, &before), own(5120, &held)), (4500 * 3, 0, 4500 * 3));
    assert_eq!(change(own(5120, &held), own(5120, &after)), (0, 4500 * 3, -4500 * 3));
    assert_eq!(held.number("/threads/started") - before.number("/threads/started"), 4500);
    assert_eq!(after.number("/threads/live"), 1);
}

#[test]
fn allocations_after_a_threads_own_end_are_counted() {
    // Destructors of thread-specific data may run after our own.
    let mut running = Command::new(program("latekeys.c")).preload().begin();
    running.line();
    let before = snapshot(running.pid()).figures();
    running.go();
    running.line();
    let after = snapshot(running.pid());
    running.go();
    running.finish().success();
    let change = &after.figures() - &before;
    let class = change.classes.get(&7168).copied().unwrap_or_default();
    assert_eq!((class.allocations, class.frees, class.live_blocks), (400, 200, 200), "{change:?}");
    assert_eq!(after.number("/threads/live"), 1);
}

/// Runs many brief threads, four at a time beside one whose `vfork` child used the heap first, in a program that has no thread-specific key left. How many of them started,
/// ended, and are in the list of threads; and by how much the RSS has grown.
fn without_keys(command: &mut Command) -> [i64; 4] {
    const THREADS: &str = "5000";
    let mut running = command.arg(THREADS).begin();
    running.line();
    let before = snapshot(running.pid());
    running.go();
    running.line();
    let after = snapshot(running.pid());
    running.go();
    running.finish().success();
    assert_eq!(after.number("/threads/without_row"), 0);
    let change = |name: &str| after.number(name) - before.number(name);
    let listed = after.list("/threads/rows").len() as i64;
    let grown = after.total("rss_bytes") - before.total("rss_bytes");
    [change("/threads/started"), change("/threads/ended"), listed, grown]
}

#[test]
fn threads_are_seen_to_end_though_a_constructor_before_ours_takes_all_keys() {
    let hog = compiled("nokeys.c", &["-DLIBRARY", "-shared", "-fPIC"]);
    let preload = format!("{}:{}", library().display(), hog.display());
    let [started, ended, listed, grown] = without_keys(Command::new(program("nokeys.c")).env("LD_PRELOAD", preload));
    // The one that stays all the time, too.
    assert_eq!((started, ended), (5001, 5001));
    assert!(listed <= 2 + 2 * 4 && grown < 16 << 20, "{listed} rows, {grown} bytes");
}

#[test]
fn threads_that_end_unseen_are_found_when_others_begin() {
    let [started, ended, listed, grown] = without_keys(Command::new(program("nokeys.c")).env("LOADED", library()));
    assert_eq!(started, 5001);
    // There are five at a time, and half of the heaps may be waiting to be found.
    assert!((5001 - 2 * 5 - 4..=5001).contains(&ended), "{ended} ended");
    assert!(listed <= 1 + 2 * 5 + 4 && grown < 16 << 20, "{listed} rows, {grown} bytes");
}

#[test]
fn threads_that_first_call_when_their_end_is_nearly_over_do_not_use_up_the_heaps() {
    let mut running = Command::new(program("lastround.c")).arg("500").preload().begin();
    running.line();
    let seen = snapshot(running.pid());
    assert!(seen.total("metadata_bytes") < 4 << 20, "{}", seen.0["totals"]);
    running.go();
    running.finish().success();
}

#[test]
fn a_thread_that_comes_by_its_vfork_child_is_listed_under_its_own_number() {
    let mut running = Command::new(program("borrows.c")).preload().begin();
    let thread: i64 = running.line().parse().unwrap();
    let seen = snapshot(running.pid());
    running.go();
    running.finish().success();
    let listed: Vec<_> = seen.list("/threads/rows").iter().filter_map(|row| row["tid"].as_i64()).collect();
    assert!(listed.contains(&thread) && listed.len() == 2, "{listed:?} without {thread}");
}

/// Ends a thread at the instructions of a call (see `everycancel.c`): how many there are, and what is left.
fn cancel_in_the_middle(call: &str, option: (&str, &str)) -> (usize, Snapshot) {
    // Bound at the start and without stubs: nothing of the dynamic linker is stepped through.
    let mut command = Command::new(compiled("everycancel.c", &["-fno-plt", "-Wl,-z,now"]));
    let mut running = command.arg(call).env(option.0, option.1).preload().begin();
    let steps = running.line().parse().unwrap();
    let seen = snapshot(running.pid());
    running.go();
    running.finish().success();
    (steps, seen)
}

#[test]
fn the_old_block_of_a_cancelled_realloc_is_handed_out_once() {
    // Where the realloc had got further, the handler's free is one too many, and is told so.
    let (steps, _) = cancel_in_the_middle("move", ("STATSALLOC_MISUSE", "count"));
    assert!(steps > 100, "{steps} instructions");
}

#[test]
fn a_thread_cancelled_while_it_receives_for_an_idle_heap_holds_no_lock() {
    // Without decay time the heaps of threads that end are idle at once.
    let (steps, _) = cancel_in_the_middle("left", ("STATSALLOC_DECAY_MS", "0"));
    assert!(steps > 1000, "{steps} instructions");
}

#[test]
fn a_thread_cancelled_at_its_end_holds_no_lock_and_is_seen_to_end() {
    for option in [("STATSALLOC_DECAY_MS", "0"), ("STATSALLOC_DECAY_MS", "1000")] {
        let (steps, seen) = cancel_in_the_middle("end", option);
        assert!(steps > 500, "{steps} instructions");
        // Between glibc's forgetting that there is anything to do and our being safe lie a hundred instructions at most.
        let (live, ended) = (seen.number("/threads/live"), seen.number("/threads/ended"));
        assert!(live <= 1 + 100 / 29 + 1 && ended > 50, "{live} live, {ended} ended");
    }
}
