//! Everything at once, for a while: 20 seconds, or `STATSALLOC_SOAK_SECONDS`. Then nothing may be left.

use std::process::Command;
use std::time::Duration;
use tests::visible::check;
use tests::{Run, program, snapshot};

fn seconds() -> u64 {
    let given = std::env::var("STATSALLOC_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(20)
}

#[test]
fn threads_forks_and_every_call_at_once_leave_nothing_behind() {
    let seconds = seconds();
    let mut command = Command::new(program("soak.c"));
    command.args([&seconds.to_string(), "16", "1"]).preload();
    let mut running = command.begin_within(Duration::from_secs(seconds * 2 + 120));
    assert_eq!(running.line(), "ready");
    let before = snapshot(running.pid());
    running.go();
    let said = running.line();
    let words: Vec<&str> = said.split_whitespace().collect();
    let [operations, "operations,", children, "children"] = words[..] else { panic!("{said}") };
    assert!(operations.parse::<u64>().unwrap() > 1000 * seconds, "{said}");
    assert!(children.parse::<u64>().unwrap() > seconds / 10, "{said}");

    let after = snapshot(running.pid());
    check(&after, "soak");
    // The C library keeps the stacks of ended threads, each with a block of a few hundred bytes.
    let (first, last) = (before.figures(), after.figures());
    let stacks = last.live_blocks - first.live_blocks;
    assert!((0..=20).contains(&stacks), "{}", after.0["totals"]);
    assert!((0..=stacks * 400).contains(&(last.requested - first.requested)), "{}", after.0["totals"]);
    for kind in ["double_frees", "invalid_frees", "foreign_frees", "corruptions"] {
        assert_eq!(after.number(&format!("/misuse/{kind}")), 0, "{kind}");
    }
    let threads = |name: &str| after.number(&format!("/threads/{name}"));
    assert_eq!((threads("live"), threads("started") - threads("ended")), (1, 1), "{}", after.0["threads"]);
    // A thread that started others may have ended before these: then such a block keeps a slab of nobody's.
    assert!(
        threads("stranded_bytes") <= stacks * 65_536,
        "{} blocks: {}",
        stacks,
        after.0["threads"]["stranded_bytes"]
    );
    // All was freed, and `malloc_trim` called: what is kept is what one thread holds in its hands, of every class a slab.
    const KEPT: i64 = 8 << 20;
    for name in ["pinned_bytes", "cached_bytes"] {
        assert!(after.total(name) <= before.total(name) + KEPT, "{name}: {}", after.0["totals"]);
    }
    // What is free, touched or not, is part of what there is: none of the children has counted in this process.
    let free = after.total("cached_bytes") + after.total("retained_bytes");
    assert!(free <= after.total("committed_bytes"), "{}", after.0["totals"]);
    let grown = after.total("rss_bytes") - before.total("rss_bytes");
    let tables = after.total("metadata_bytes") - before.total("metadata_bytes");
    assert!(grown <= KEPT + tables.max(0) + (8 << 20), "{grown} more bytes resident: {}", after.0["totals"]);
    running.go();
    let finished = running.finish().success();
    assert_eq!(finished.err(), "");
}
