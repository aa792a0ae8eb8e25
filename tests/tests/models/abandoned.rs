//! Threads that end, and who comes after them.

use crate::misuse;
use crate::window::owner;
use crate::world::{Block, Of, allocate, check, everything_returns, free, live, slab_of, start};
use loom::thread;
use shm_layout::layout::Row;

#[test]
fn a_block_that_is_freed_while_its_thread_ends_is_not_lost() {
    check(None, || {
        let (ends, frees) = (Of(start(1)), Of(start(2)));
        let block = Block(allocate(ends.heap()));
        let thread = thread::spawn(move || ends.heap().abandon());
        assert!(block.free(frees));
        thread.join().unwrap();
        // Whoever was the last to look has seen to it: nothing waits for a heap that nobody uses.
        everything_returns(&[frees.heap()]);
        assert_eq!((live(), misuse::told()), (0, 0));
    });
}

#[test]
fn a_block_is_freed_by_one_thread_while_its_own_ends_and_another_takes_the_slab_over() {
    check(Some(2), || {
        let (ends, frees, adopts) = (Of(start(1)), Of(start(2)), Of(start(3)));
        let (block, kept) = (Block(allocate(ends.heap())), Block(allocate(ends.heap())));
        let threads = [thread::spawn(move || ends.heap().abandon()), thread::spawn(move || assert!(block.free(frees)))];
        // From the abandoned slab, if it is that by now; else from one of its own.
        let new = allocate(adopts.heap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(new != kept.0);
        assert!(free(adopts.heap(), new) && kept.free(adopts));
        everything_returns(&[frees.heap(), adopts.heap()]);
        assert_eq!((live(), misuse::told()), (0, 0));
    });
}

#[test]
fn an_abandoned_slab_is_adopted_by_one_of_two_threads() {
    check(Some(3), || {
        let (ends, one, other) = (start(1), Of(start(2)), Of(start(3)));
        let (first, second) = (Block(allocate(ends)), Block(allocate(ends)));
        let slab = slab_of(first.0);
        let bytes = slab.carved_bytes() as u64;
        ends.abandon();
        // One by a free, which takes over the slab of the block, the other by want of a block.
        let thread = thread::spawn(move || assert!(first.free(one)));
        let new = allocate(other.heap());
        thread.join().unwrap();
        let adopted = |row: &Row| row.adopted.get();
        let owners = [one, other].map(|heap| heap.heap().owns(slab.owner()));
        assert!(owners[0] ^ owners[1] && slab.owner() != owner::ABANDONED);
        let total: u64 = [one, other].map(|heap| adopted(heap.heap().row().unwrap())).iter().sum();
        assert_eq!(total, bytes, "taken over once");
        assert!(second.free(one) && free(other.heap(), new));
        everything_returns(&[one.heap(), other.heap()]);
        assert_eq!((live(), misuse::told()), (0, 0));
    });
}
