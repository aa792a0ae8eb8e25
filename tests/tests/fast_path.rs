//! What the fast path may cost, independent of time: every instruction of warm calls is looked at.
//! And what the library is made of: its exported names, and no panic.

use std::collections::BTreeSet;
use std::process::Command;
use tests::artefacts::{Folder, compiled};
use tests::steps::sections;
use tests::{library, missing};

/// Instructions a warm call may execute inside the library.
const MALLOC_LIMIT: usize = 32;
const FREE_LIMIT: usize = 40;
const REALLOC_LIMIT: usize = 50;
/// More than `malloc` for a block that is zeroed; up to `FEW` bytes `calloc` does that itself.
const ZEROS: usize = 18;
const FEW: usize = 64;
/// More of them for a block of more than 1 KiB, of which is written in digits how much was not asked for; and for one where
/// that takes three of them.
const DIGITS: usize = 20;
const THREE_DIGITS: usize = 24;
/// Of a `realloc` into another class, `memcpy` apart.
const MOVE_LIMIT: usize = 155;
/// Instructions of a warm pair of calls for a small block, with its share of the loop around it.
const PAIR_LIMIT: usize = 80;
/// Instructions of warm calls for large blocks, in a program with one thread.
const LARGE_MALLOC_LIMIT: usize = 160;
const LARGE_FREE_LIMIT: usize = 225;
/// Instructions of a warm free of another thread's block.
const REMOTE_FREE_LIMIT: usize = 106;

/// Sizes of small, middle and large classes, of which little is not asked for; one byte more is in the same class.
const SIZES: [usize; 6] = [1, 24, 100, 1000, 5100, 24_500];
/// So many of them are of no more than 1 KiB.
const SMALL: usize = 4;

/// All sections of `warm.c` doing `what` stay within `limit` instructions, none of them a forbidden one, nor one that
/// calls anything but these functions of libc's, each once.
fn check(what: &str, limit: usize, calls: &[&str]) {
    let (small, others) = SIZES.split_at(SMALL);
    check_sizes(small, what, limit, calls);
    check_sizes(others, what, limit + DIGITS, calls);
}

/// As `check`, of these sizes, where calls of these functions of libc's are as it should be, one of each.
fn check_sizes(sizes: &[usize], what: &str, limit: usize, calls: &[&str]) {
    if missing(&["objdump"]) {
        return;
    }
    // Bound at the start and without stubs: nothing of the dynamic linker runs between the marks.
    let program = compiled("warm.c", &["-fno-plt", "-Wl,-z,now"]);
    for &size in sizes {
        let sections = sections(Command::new(&program).args([what, &size.to_string()]));
        assert_eq!(sections.len(), 16, "{what} of {size}");
        let counts: Vec<_> = sections.iter().map(|section| section.instructions.len()).collect();
        eprintln!("{what} of {size} bytes: {counts:?} instructions");
        for section in &sections {
            let forbidden = section.forbidden();
            assert_eq!(forbidden.len(), calls.len(), "{what} of {size}: {forbidden:?}");
            for (text, function) in forbidden.iter().zip(calls) {
                let called = text.contains(" call ") && text.contains(&format!("<{function}@"));
                assert!(called, "{what} of {size} does not call {function}: {text}");
            }
            assert_eq!(section.elsewhere > 0, !calls.is_empty(), "{what} of {size} runs code outside the library");
            assert!(!section.instructions.is_empty(), "{what} of {size} did not come to us");
        }
        let most = counts.iter().max().unwrap();
        assert!(*most <= limit, "{what} of {size}: {counts:?} instructions, at most {limit} are allowed");
    }
}

#[test]
fn warm_malloc_is_short_and_calls_nothing() {
    check("malloc", MALLOC_LIMIT, &[]);
}

#[test]
fn warm_free_is_short_and_calls_nothing() {
    check("free", FREE_LIMIT, &[]);
}

#[test]
fn warm_calloc_is_short_and_ends_in_memset_only_where_much_is_to_be_zeroed() {
    check_sizes(&[1, 24, FEW], "calloc", MALLOC_LIMIT + ZEROS, &[]);
    if missing(&["objdump"]) {
        return;
    }
    let program = compiled("warm.c", &["-fno-plt", "-Wl,-z,now"]);
    for size in [FEW + 1, 1000, 5100, 24_500] {
        let sections = sections(Command::new(&program).args(["calloc", &size.to_string()]));
        assert_eq!(sections.len(), 16, "calloc of {size}");
        for section in sections {
            let (_, last) = section.instructions.last().expect("calloc comes to us");
            assert!(last.starts_with("jmp ") && last.contains("<memset@"), "calloc of {size} bytes ends with {last}");
            assert!(section.forbidden().is_empty(), "calloc of {size} bytes: {:?}", section.forbidden());
            let count = section.instructions.len();
            assert!(count <= MALLOC_LIMIT + DIGITS + ZEROS, "calloc of {size} bytes: {count} instructions");
        }
    }
}

/// Such a block is as large as the room that a heap has, and of its bytes fewer are asked for than the peak was higher.
#[test]
fn a_block_of_the_largest_class_does_not_settle_each_time_it_comes_and_goes() {
    for size in [24_600, 28_700, 32_700] {
        check_sizes(&[size], "malloc", MALLOC_LIMIT + THREE_DIGITS, &[]);
        check_sizes(&[size], "free", FREE_LIMIT + THREE_DIGITS, &[]);
    }
}

#[test]
fn realloc_in_place_is_short_and_calls_nothing() {
    check("realloc", REALLOC_LIMIT, &[]);
}

#[test]
fn realloc_into_another_class_is_short_and_calls_memcpy_only() {
    check("moves", MOVE_LIMIT, &["memcpy"]);
}

#[test]
fn a_warm_pair_with_its_loop_stays_within_its_instructions() {
    check_pairs(64, PAIR_LIMIT);
}

/// One free of sixteen looks at the clock, and may find that it is time to look after memory.
#[test]
fn a_large_block_that_follows_one_of_its_size_is_short_and_calls_nothing() {
    if missing(&["objdump"]) {
        return;
    }
    let program = compiled("warm.c", &["-fno-plt", "-Wl,-z,now"]);
    for (what, limit, looks) in [("malloc", LARGE_MALLOC_LIMIT, 0), ("free", LARGE_FREE_LIMIT, 1)] {
        for size in [40_000, 1_000_000] {
            let sections = sections(Command::new(&program).args([what, &size.to_string()]));
            let (short, others): (Vec<_>, Vec<_>) =
                sections.iter().partition(|section| section.forbidden().is_empty() && section.elsewhere == 0);
            assert_eq!((short.len(), others.len()), (16 - looks, looks), "{what} of {size}");
            let counts: Vec<_> = short.iter().map(|section| section.instructions.len()).collect();
            eprintln!("{what} of {size} bytes: {counts:?} instructions");
            assert!(counts.iter().all(|count| (20..=limit).contains(count)), "{what} of {size}: {counts:?}");
        }
    }
}

/// The one locked instruction decides who has freed the block. A free after which its chain is full hands that over.
#[test]
fn a_free_of_another_threads_block_is_short_and_calls_nothing() {
    if missing(&["objdump"]) {
        return;
    }
    let program = compiled("warm.c", &["-fno-plt", "-Wl,-z,now"]);
    for size in [24, 100] {
        let sections = sections(Command::new(&program).args(["others", &size.to_string()]));
        assert_eq!(sections.len(), 16);
        let (short, others): (Vec<_>, Vec<_>) = sections.iter().partition(|section| {
            section.elsewhere == 0 && matches!(&section.forbidden()[..], [only] if only.contains("lock cmpxchg"))
        });
        let counts: Vec<_> = short.iter().map(|section| section.instructions.len()).collect();
        eprintln!("{size} bytes: {counts:?} instructions");
        assert!(others.len() <= 2, "{size} bytes: {} of {} did more", others.len(), sections.len());
        assert!(counts.iter().all(|count| (40..=REMOTE_FREE_LIMIT).contains(count)), "{size} bytes: {counts:?}");
    }
}

fn check_pairs(size: usize, limit: usize) {
    if missing(&["objdump"]) {
        return;
    }
    const PAIRS: usize = 16;
    let program = compiled("warm.c", &["-O2", "-fno-plt", "-Wl,-z,now"]);
    let sections = sections(Command::new(&program).args(["pairs", &size.to_string()]));
    assert_eq!(sections.len(), 16);
    for section in &sections {
        assert_eq!((section.forbidden(), section.elsewhere), (vec![], 0), "{size}");
        // The mark's own instruction and the call of the loop are shared by all pairs.
        let all = section.instructions.len() + section.program;
        eprintln!("{PAIRS} pairs: {all} instructions, {} of them in the library", section.instructions.len());
        assert!(section.instructions.len() > PAIRS * 20, "the calls did not come to us");
        assert!(all.div_ceil(PAIRS) <= limit, "{all} instructions for {PAIRS} pairs of {size}");
    }
}

/// Output of a tool on the library.
fn ask(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).arg(library()).output().unwrap();
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_exported_names_are_exactly_these() {
    if missing(&["nm"]) {
        return;
    }
    let listing = ask("nm", &["-D", "--defined-only"]);
    let exported: BTreeSet<&str> = listing.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    let list = include_str!("../exports.txt");
    let expected: BTreeSet<&str> = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let extra: Vec<_> = exported.difference(&expected).collect();
    let missing: Vec<_> = expected.difference(&exported).collect();
    assert!(extra.is_empty() && missing.is_empty(), "not in exports.txt: {extra:?}; not in the library: {missing:?}");
}

#[test]
fn the_library_cannot_panic() {
    if missing(&["nm", "objcopy"]) {
        return;
    }
    for symbol in ask("nm", &["-a"]).lines().chain(ask("nm", &["-D"]).lines()) {
        let lower = symbol.to_lowercase();
        // The handler that every no_std library must name may be there; nothing may lead to it.
        let is_panic = lower.contains("panic") || lower.contains("unwrap_failed") || lower.contains("expect_failed");
        assert!(!is_panic, "{symbol}");
    }
    // What a panic would say. Debug information may name the standard library's files; loaded data may not.
    let data = loaded_data();
    for text in ["index out of bounds", "called `Option::unwrap()`", "attempt to ", "src/"] {
        let found = data.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!found, "{text:?} is in the library");
    }
}

/// The library's constants.
fn loaded_data() -> Vec<u8> {
    let folder = Folder::new();
    let file = folder.path().join("data");
    let mut copy = Command::new("objcopy");
    copy.args(["-O", "binary", "-j", ".rodata", "-j", ".data.rel.ro", "-j", ".data"]).arg(library()).arg(&file);
    assert!(copy.status().unwrap().success());
    std::fs::read(&file).unwrap()
}

#[test]
fn the_library_needs_the_c_library_only() {
    if missing(&["readelf"]) {
        return;
    }
    let dynamic = ask("readelf", &["-dW"]);
    let needed: Vec<_> = dynamic.lines().filter(|line| line.contains("(NEEDED)")).collect();
    assert!(needed.iter().all(|line| line.contains("[libc.so.6]") || line.contains("[ld-linux-x86-64.so.2]")));
    assert!(!dynamic.contains("TEXTREL") && !dynamic.contains("RPATH") && !dynamic.contains("RUNPATH"), "{dynamic}");
}

#[test]
fn thread_local_data_is_reached_without_a_call() {
    if missing(&["nm"]) {
        return;
    }
    let undefined = ask("nm", &["-D", "--undefined-only"]);
    for name in ["__tls_get_addr", "malloc", "calloc", "free", "realloc"] {
        let found = undefined.lines().any(|line| line.split_whitespace().last() == Some(name));
        assert!(!found, "{name} is called through the dynamic linker");
    }
}
