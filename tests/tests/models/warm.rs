//! Heaps whose threads have ended, until the next thread comes or they are abandoned.

use crate::heap::{cool, usage};
use crate::misuse;
use crate::stats::globals;
use crate::sync::Ordering;
use crate::world::{Block, Of, allocate, check, everything_returns, free, live, start, start_warm};
use loom::thread;

#[test]
fn a_warm_heap_goes_to_one_of_two_threads_that_begin() {
    check(Some(3), || {
        let (ends, other) = (start(1), Of(start(2)));
        let block = Block(allocate(ends));
        ends.leave_to_next(1);
        assert!(globals().stranded.get() > 0);
        let thread = thread::spawn(|| start_warm().map(Of));
        let mine = start_warm().map(Of);
        let theirs = thread.join().unwrap();
        assert!(mine.is_some() ^ theirs.is_some(), "given to both or to none");
        assert_eq!(globals().stranded.get(), 0);
        assert!(block.free(other));
        let taken = mine.or(theirs).unwrap();
        everything_returns(&[taken.heap(), other.heap()]);
        assert_eq!((live(), misuse::told()), (0, 0));
    });
}

#[test]
fn a_block_is_freed_while_its_threads_heap_is_offered_and_taken() {
    check(Some(2), || {
        let (ends, frees) = (Of(start(1)), Of(start(2)));
        let block = Block(allocate(ends.heap()));
        let thread = thread::spawn(move || {
            ends.heap().leave_to_next(1);
            let next = start_warm().expect("nobody else takes it");
            assert!(free(next, allocate(next)));
        });
        assert!(block.free(frees));
        thread.join().unwrap();
        everything_returns(&[frees.heap(), ends.heap()]);
        assert_eq!((live(), misuse::told()), (0, 0));
    });
}

#[test]
fn a_warm_heap_is_taken_or_abandoned_but_not_both() {
    check(Some(2), || {
        let (ends, frees) = (start(1), Of(start(2)));
        let (first, second) = (Block(allocate(ends)), Block(allocate(ends)));
        ends.leave_to_next(1);
        let cools = thread::spawn(|| cool(u64::MAX));
        let next = start_warm();
        assert!(first.free(frees));
        cools.join().unwrap();
        match next {
            Some(next) => assert!(second.free(Of(next))),
            None => assert!(second.free(frees)),
        }
        let heaps: Vec<_> = next.into_iter().chain([frees.heap()]).collect();
        everything_returns(&heaps);
        assert_eq!(ends.usage().load(Ordering::SeqCst), usage::IDLE);
        assert_eq!((live(), misuse::told()), (0, 0));
    });
}
