//! Under a limit on address space: the program runs on, is seen, and gets nearly as much memory as without us.

use std::process::Command;
use tests::sandbox::Sandbox;
use tests::{Run, missing, program, snapshot};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn worker() -> Command {
    Command::new(program("worker.c"))
}

#[test]
fn under_an_address_space_limit_the_program_runs_on() {
    for kib in [65536, 131_072, 262_144, 1_048_576] {
        let finished = worker().limit(libc::RLIMIT_AS, kib << 10).preload().finish().success();
        assert_eq!((finished.out().as_str(), finished.err().as_str()), ("worked\n", ""));
    }
    let script = "ulimit -v 262144; python3 -c 'print(sum(len(str(i)) for i in range(10**5)))'";
    if !missing(&["python3"]) {
        let finished = Command::new("bash").args(["-c", script]).preload().finish().success();
        assert_eq!((finished.out().as_str(), finished.err().as_str()), ("488890\n", ""));
    }
}

#[test]
fn a_program_under_an_address_space_limit_is_visible() {
    let mut command = worker();
    let mut running = command.arg("pause").limit(libc::RLIMIT_AS, 256 * MIB).preload().begin();
    running.line();
    let seen = snapshot(running.pid());
    assert_eq!(seen.text("/state"), "live");
    running.go();
    assert_eq!(running.line(), "worked");
    running.finish().success();
}

/// Threads beside the first one.
#[derive(Clone, Copy)]
struct Threads {
    count: u64,
    stack: u64,
    /// Beside it they only hold their stacks and a block each; together with it they allocate as well.
    how: &'static str,
}

/// How much address space the program may have, in MiB, and who says so.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// Whoever starts it.
    FromTheStart(u64),
    /// The program, when it has used the heap already.
    ByItself(u64),
}

const ALONE: Threads = Threads { count: 0, stack: 8 * MIB, how: "beside" };

const fn beside(count: u64, stack: u64) -> Threads {
    Threads { count, stack, how: "beside" }
}

const fn together(count: u64, stack: u64) -> Threads {
    Threads { how: "together", ..beside(count, stack) }
}

/// Bytes that are handed out in blocks of this size until there are no more. The program checks that the last refusals
/// were clean, and that as much is handed out again when all has been freed.
fn handed_out(size: &str, threads: Threads, limit: Limit, preload: bool) -> u64 {
    let mut command = Command::new(program("exhaust.c"));
    command.args([size, &threads.count.to_string(), threads.how]);
    command.limit(libc::RLIMIT_STACK, threads.stack);
    match limit {
        Limit::FromTheStart(mib) => command.limit(libc::RLIMIT_AS, mib * MIB),
        Limit::ByItself(mib) => command.arg((mib * MIB).to_string()),
    };
    if preload {
        command.preload();
    }
    command.finish().success().out().trim().parse().expect("a number of bytes")
}

/// The C library's allocator maps what it needs and no more; ours needs tables beside its blocks, and its units are large.
fn hands_out_seven_tenths(limit: Limit, threads: &[Threads], sizes: &[&str]) {
    for &threads in threads {
        for size in sizes {
            let [theirs, ours] = [false, true].map(|preload| handed_out(size, threads, limit, preload));
            assert!(
                ours * 10 >= theirs * 7,
                "{ours} of {theirs} bytes in blocks of {size} under a limit of {limit:?} MiB, with {} threads of {} KiB {}",
                threads.count,
                threads.stack / KIB,
                threads.how,
            );
        }
    }
}

/// Of the smallest sizes, of those just above a slab's and a unit's, and of all magnitudes.
const SIZES: [&str; 9] = ["64", "1000", "5000", "33000", "40000", "66000", "100000", "1000000", "mixed"];
/// Those of which a GiB is handed out in a few seconds.
const LARGE: [&str; 3] = ["33000", "100000", "mixed"];

#[test]
fn a_heap_limited_to_64_mib_hands_out_seven_tenths_of_what_the_c_library_does() {
    // Six stacks leave 14 MiB for everything else.
    let beside = [ALONE, beside(1, 8 * MIB), beside(4, 8 * MIB), beside(6, 8 * MIB), beside(8, 4 * MIB)];
    hands_out_seven_tenths(Limit::FromTheStart(64), &beside, &SIZES);
    hands_out_seven_tenths(
        Limit::FromTheStart(64),
        &[together(4, 8 * MIB), together(6, 8 * MIB), together(8, 4 * MIB)],
        &LARGE,
    );
}

#[test]
fn a_heap_limited_to_256_mib_hands_out_seven_tenths_of_what_the_c_library_does() {
    // With larger stacks than these, the C library's arenas leave no room for the last thread.
    hands_out_seven_tenths(Limit::FromTheStart(256), &[ALONE, beside(8, 4 * MIB), together(8, 4 * MIB)], &SIZES);
}

#[test]
fn a_heap_limited_to_1_gib_hands_out_seven_tenths_of_what_the_c_library_does() {
    hands_out_seven_tenths(Limit::FromTheStart(1024), &[ALONE, together(8, 8 * MIB)], &LARGE);
}

/// What it had reserved before counts against its limit, as far as that is not given up: window, tables, heaps, and rows of
/// the segment. Of 40 threads some find no row left.
#[test]
fn a_heap_whose_program_limits_itself_hands_out_seven_tenths_of_what_the_c_library_does() {
    hands_out_seven_tenths(Limit::ByItself(32), &[ALONE], &SIZES);
    hands_out_seven_tenths(Limit::ByItself(64), &[ALONE, beside(40, 64 * KIB), together(4, 8 * MIB)], &LARGE);
}

/// Large blocks lose what is mapped behind them while other threads resize and free them, and get it back.
/// There is no room for a second block beside a large one.
#[test]
fn a_growing_block_is_refused_no_size_below_seven_tenths_of_what_the_c_library_gives_it() {
    for limit in [300, 1000] {
        for percent in [110, 150, 200] {
            let [theirs, ours] = [false, true].map(|preload| {
                let mut command = Command::new(program("grows.c"));
                command.arg(percent.to_string()).limit(libc::RLIMIT_AS, limit * MIB);
                if preload {
                    command.preload();
                }
                command.finish().success().out().trim().parse::<u64>().expect("a number of bytes")
            });
            let refused = ours / 100 * percent;
            assert!(10 * refused >= 7 * theirs, "{refused} bytes under {limit} MiB, where there are {theirs}");
        }
    }
}

/// Refusals, and pages that have come to lie where blocks were, at most so many.
fn scarce(limit: u64, threads: &str, operations: &str, strangers: &str) -> [u64; 2] {
    let mut command = Command::new(program("scarce.c"));
    command.args([threads, operations, strangers]).limit(libc::RLIMIT_AS, limit * MIB).preload();
    let out = command.finish().success().out();
    let mut numbers = out.split_whitespace().map(|number| number.parse().expect("a number"));
    [numbers.next().expect("refusals"), numbers.next().expect("strangers")]
}

#[test]
fn large_blocks_keep_their_contents_while_address_space_runs_out() {
    for (limit, threads) in [(128, "0"), (256, "4"), (384, "8")] {
        assert!(scarce(limit, threads, "4000", "0")[0] > 0, "nothing ran out under {limit} MiB");
    }
}

/// A child finds such pages, too, where its parent was forked between noting that a run is not mapped and unmapping it.
#[test]
fn large_blocks_keep_their_contents_beside_what_somebody_else_maps_where_blocks_were() {
    for (limit, threads) in [(128, "0"), (256, "2")] {
        let strangers = scarce(limit, threads, "10000", "500")[1];
        assert!(strangers > 100, "{strangers} pages under {limit} MiB");
    }
}

/// It gives up hot records: not those of heaps that its parent's threads have left to it.
#[test]
fn a_child_of_many_threads_limits_itself() {
    let mut command = Command::new(program("limitschild.c"));
    // The stacks of its parent's threads stay mapped in the child.
    let finished = command.args(["100", &(64 * MIB).to_string()]).preload().finish().success();
    assert_eq!((finished.out().as_str(), finished.err().as_str()), ("limited\n", ""));
}

/// What it gives up lies beside what is in use.
#[test]
fn a_program_that_limits_itself_has_small_blocks_for_threads_without_a_heap() {
    for (limit, threads) in [(128 * MIB, "80"), (1 << 30, "8")] {
        let finished =
            Command::new(program("lowered.c")).args([&limit.to_string(), threads]).preload().finish().success();
        assert_eq!((finished.out().as_str(), finished.err().as_str()), ("lowered\n", ""), "under {limit} bytes");
    }
}

/// A limit that somebody else sets is below what is reserved, and is not seen coming.
#[test]
fn a_limit_from_outside_leaves_large_blocks_able_to_grow() {
    let mut command = Command::new(program("hazards.c"));
    let mut running = command.arg("limit-from-outside").preload().begin();
    let pid: i32 = running.line().parse().expect("a PID");
    let limit = libc::rlimit { rlim_cur: 512 * MIB, rlim_max: 512 * MIB };
    // SAFETY: reads a limit, and writes none back.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_AS, &raw const limit, std::ptr::null_mut()) }, 0);
    running.go();
    running.finish().success();
}

#[test]
fn a_large_block_that_shrinks_when_address_space_was_used_up_gives_its_memory_back() {
    let mut command = Command::new(program("shrinks.c"));
    let finished = command.limit(libc::RLIMIT_AS, 200 * MIB).preload().finish().success();
    assert_eq!((finished.out().as_str(), finished.err().as_str()), ("shrunk\n", ""));
}
