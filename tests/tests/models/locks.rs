//! The futex lock.

use crate::lock::Lock;
use crate::sync::Cell;
use crate::world::check;
use loom::thread;

static LOCK: Lock = Lock::new();
static GUARDED: Cell<u32> = Cell::new(0);

fn add() {
    let _guard = LOCK.lock();
    GUARDED.set(GUARDED.get() + 1);
}

#[test]
fn one_thread_at_a_time_and_no_sleeper_is_forgotten() {
    check(Some(3), || {
        GUARDED.set(0);
        drop(LOCK.lock());
        let threads = [thread::spawn(add), thread::spawn(add)];
        add();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let _guard = LOCK.lock();
        assert_eq!(GUARDED.get(), 3);
    });
}
