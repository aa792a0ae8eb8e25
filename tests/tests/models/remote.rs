//! Frees of other threads' blocks.

use crate::ledger;
use crate::misuse;
use crate::world::{Block, Of, allocate, check, entry, everything_returns, free, live, slab_of, start};
use loom::thread;

#[test]
fn blocks_freed_by_two_others_while_the_owner_collects_all_come_back_once() {
    check(Some(3), || {
        let owner = start(1);
        let blocks = [Block(allocate(owner)), Block(allocate(owner)), Block(allocate(owner))];
        let others = [Of(start(2)), Of(start(3))];
        let slab = slab_of(blocks[0].0);
        let threads = [0, 1].map(|i| {
            let (block, other) = (blocks[i], others[i]);
            thread::spawn(move || assert!(block.free(other)))
        });
        // Its bin is empty: collects, then carves or hands out what came back.
        let next = allocate(owner);
        assert!(next != blocks[2].0);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(live(), 2);
        owner.trim();
        let pending = blocks.iter().filter(|block| entry(block.0).get() == ledger::PENDING).count();
        assert_eq!(pending, 0);
        assert_eq!(slab.used.get(), 2);
        assert!(free(owner, next) && blocks[2].free(Of(owner)));
        everything_returns(&[owner, others[0].0, others[1].0]);
        assert_eq!((live(), misuse::told()), (0, 0));
    });
}

#[test]
fn of_two_others_that_free_a_block_one_is_told() {
    check(None, || {
        let owner = start(1);
        let block = Block(allocate(owner));
        let others = [Of(start(2)), Of(start(3))];
        let [a, b] = others.map(|other| thread::spawn(move || block.free(other)));
        assert!(a.join().unwrap() ^ b.join().unwrap());
        everything_returns(&[owner, others[0].0, others[1].0]);
        assert_eq!(misuse::told(), 0);
    });
}

#[test]
fn the_owner_and_another_that_free_a_block_are_noticed_before_it_is_handed_out_twice() {
    check(None, || {
        let owner = start(1);
        let (block, kept) = (Block(allocate(owner)), allocate(owner));
        let other = Of(start(2));
        let thread = thread::spawn(move || block.free(other));
        let here = block.free(Of(owner));
        let there = thread.join().unwrap();
        owner.trim();
        assert!(here || there);
        assert_eq!(misuse::told(), usize::from(here && there), "here {here}, there {there}");
        assert!(free(owner, kept));
    });
}
