//! Rows and whose they are: claimed, begun, retired, and looked at meanwhile.

use crate::central::{self, NO_HEAP_ID, central};
use crate::heap::{Heap, usage};
use crate::misuse;
use crate::os::TID;
use crate::reader::{Copies, RowView};
use crate::rows::{self, Claimed};
use crate::stats::globals;
use crate::sync::{Cell, Ordering, fence};
use crate::window::HEAPS;
use crate::world::{Block, Of, allocate, check, count, everything_returns, line, live, start};
use loom::thread;
use shm_layout::layout::{Row, row_state};

/// A heap and row for the calling thread, which is number `tid`.
fn begin(tid: u32) -> (u32, &'static Heap) {
    TID.with(|own| own.set(tid));
    let Claimed { id, is_warm } = rows::claim(rows::From::All).expect("there is a heap for every thread");
    // SAFETY: just made.
    let heap = unsafe { central::heap(id) };
    heap.usage().store(usage::USED, Ordering::SeqCst);
    rows::begin(heap, heap.row().unwrap());
    if is_warm {
        heap.go_on();
    }
    (id, heap)
}

/// The thread ends.
fn end((id, heap): (u32, &'static Heap)) {
    rows::retire(id, heap);
}

fn row(heap: &Heap) -> &'static Row {
    heap.row().unwrap()
}

/// Heaps that wait for a thread.
fn idle() -> Vec<u32> {
    let central = central();
    // SAFETY: heaps on the list were made.
    let next = |id: &u32| Some(unsafe { central::heap(*id) }.next_idle.get()).filter(|&id| id != NO_HEAP_ID);
    let first = [central.idle, central.warm].map(|id| Some(id).filter(|&id| id != NO_HEAP_ID));
    first.into_iter().flat_map(|first| std::iter::successors(first, next).take(HEAPS)).collect()
}

/// Used by one thread at a time.
static OWNED: [Cell<u32>; HEAPS] = [const { Cell::new(0) }; HEAPS];

fn lives(tid: u32) {
    let (id, heap) = begin(tid);
    let owned = &OWNED[id as usize];
    owned.set(tid);
    count(heap);
    let (row, now) = (row(heap), Ordering::Relaxed);
    let seen = (row.state.load(now), row.tid.load(now), owned.get());
    assert_eq!(seen, (row_state::LIVE, tid, tid), "two threads have a row");
    end((id, heap));
}

#[test]
fn a_row_has_one_thread_at_a_time_and_none_is_lost() {
    check(Some(2), || {
        lives(1);
        let threads = [2, 3].map(|tid| thread::spawn(move || lives(tid)));
        lives(4);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let made = central().made;
        let mut idle = idle();
        idle.sort_unstable();
        assert_eq!(idle, (1..made).collect::<Vec<_>>());
        let generations: u64 = (1..made).map(|id| crate::world::row(id).generation.get()).sum();
        assert_eq!((generations, globals().threads_ended.get(), line().allocations), (4, 4, 4));
    });
}

/// What the row says its present thread has allocated, and which thread that is; `None` where it does not say.
fn said(row: &RowView<'_>) -> Option<(u32, u64)> {
    let known = row.is_settled && row.generation != 0;
    known.then(|| (row.tid, row.allocations.saturating_sub(row.base[0])))
}

#[test]
fn nobody_is_said_to_have_counted_what_another_did() {
    check(Some(2), || {
        let first = begin(1);
        count(first.1);
        Copies::take(2);
        let goes_on = Of(first.1);
        let threads = thread::spawn(move || {
            count(goes_on.heap());
            end((1, goes_on.heap()));
            let second = begin(2);
            count(second.1);
        });
        let ended = globals().threads_ended.get();
        fence(Ordering::Acquire);
        let look = Copies::take(2);
        for row in look.reader().rows() {
            if let Some((tid, allocated)) = said(&row) {
                assert_eq!(row.generation, u64::from(tid));
                assert!(allocated <= [0, 2, 1][tid as usize], "{allocated} by thread {tid}");
            }
        }
        assert!(look.line().allocations >= 2 * ended, "{ended} threads have ended");
        threads.join().unwrap();
        let look = Copies::take(2);
        assert_eq!(look.reader().rows().nth(1).and_then(|row| said(&row)), Some((2, 1)));
    });
}

#[test]
fn what_is_counted_never_falls_from_look_to_look() {
    check(Some(2), || {
        let first = begin(1);
        line();
        let goes_on = Of(first.1);
        let threads = thread::spawn(move || {
            count(goes_on.heap());
            end((1, goes_on.heap()));
            count(begin(2).1);
        });
        let row = row(first.1);
        let look = || {
            let seen = (row.base[0].get(), line().allocations);
            fence(Ordering::Acquire);
            seen
        };
        let (before, after) = (look(), look());
        assert!(before.0 <= after.0 && before.1 <= after.1, "{before:?}, then {after:?}");
        assert!(before.0 <= after.1, "a thread begins where its row stands");
        threads.join().unwrap();
        assert_eq!(look(), (1, 2));
    });
}

#[test]
fn whoever_sees_a_free_sees_its_allocation() {
    check(Some(2), || {
        let (owner, other) = (Of(start(1)), Of(start(2)));
        Copies::take(3);
        line();
        let threads = thread::spawn(move || {
            let block = Block(allocate(owner.heap()));
            let frees = thread::spawn(move || assert!(block.free(other)));
            frees.join().unwrap();
        });
        let look = Copies::take(3).line();
        assert!(look.frees <= look.allocations, "{look:?}");
        let sum = line();
        assert!(sum.frees <= sum.allocations && sum.requested_out <= sum.requested_in);
        threads.join().unwrap();
        everything_returns(&[owner.heap(), other.heap()]);
        assert_eq!((live(), misuse::told()), (0, 0));
    });
}
