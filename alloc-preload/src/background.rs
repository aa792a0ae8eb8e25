//! A thread that gives memory back while the program is idle, if that is asked for (`STATSALLOC_BACKGROUND`).
//!
//! It is started when memory is freed for the first time, sleeps until something lies about to be given back, and then
//! from one decay to the next. It looks after what all heaps share. A heap's own slabs are its thread's: while the option
//! is on, none of them is kept as a spare one.
//!
//! A forked child has no such thread, and finds the word zero that would say so: it starts its own. A fork waits until the
//! thread is between two purges, so that the child's counters are right.

use crate::central::{central, decay_ns, wiped};
use crate::clock;
use crate::options::options;
use crate::os::{self, PAGE};
use crate::segment;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// What the thread does, in a process that has found its locks zeroed.
mod state {
    /// There is none.
    pub(super) const NONE: u32 = 0;
    /// It sleeps until it is woken.
    pub(super) const ASLEEP: u32 = 1;
    /// It wakes by itself.
    pub(super) const AWAKE: u32 = 2;
    /// It could not be started.
    pub(super) const REFUSED: u32 = 3;
}

/// What the thread shares with others; all zero in a forked child.
pub(crate) struct Background {
    /// See [`state`].
    state: AtomicU32,
    /// Whether it is in the middle of a purge.
    busy: AtomicU32,
    /// Forks on their way.
    forks: AtomicU32,
    /// The process that this is, and not a child that borrows its memory.
    pid: AtomicU32,
}

const STACK: usize = 4 * PAGE;
/// Where the stack ends; 0 before there is one. A child uses its parent's for its own thread.
static STACK_END: AtomicUsize = AtomicUsize::new(0);
/// It never sleeps shorter than this, in nanoseconds.
const LEAST: u64 = 1_000_000;

/// Whether it may not be started any more. A child knows it from its parent.
static TOO_LATE: AtomicBool = AtomicBool::new(false);

/// From now on no thread is started: the process may not make the calls any more.
pub(crate) fn start_no_more() {
    TOO_LATE.store(true, Ordering::Relaxed);
}

/// Whether there is, or is to be, such a thread.
pub(crate) fn is_on() -> bool {
    options().background && decay_ns().is_some_and(|decay| decay > 0)
}

/// This process is one of its own. From when it has its counters.
pub(crate) fn remember_pid() {
    wiped().background.pid.store(segment::process_number(), Ordering::Relaxed);
}

/// Whether the calling process is a `vfork` child, which has another's memory and counters.
pub(crate) fn is_borrowed() -> bool {
    wiped().background.pid.load(Ordering::Relaxed) != os::pid()
}

/// Memory has been freed that is to be given back later. The central lock is not held.
#[inline]
pub(crate) fn freed() {
    if is_on() {
        look_after();
    }
}

#[cold]
fn look_after() {
    let word = &wiped().background.state;
    let now = word.load(Ordering::Acquire);
    if !matches!(now, state::NONE | state::ASLEEP)
        || (now == state::NONE && TOO_LATE.load(Ordering::Relaxed))
        || word.compare_exchange(now, state::AWAKE, Ordering::AcqRel, Ordering::Relaxed).is_err()
    {
        return;
    }
    if now == state::ASLEEP {
        os::futex_wake(word);
    } else if is_borrowed() {
        // The thread would be the child's own, and end with it.
        word.store(state::NONE, Ordering::Release);
    } else if start().is_err() {
        word.store(state::REFUSED, Ordering::Release);
    }
}

#[cold]
#[inline(never)]
fn start() -> os::Result<()> {
    if STACK_END.load(Ordering::Relaxed) == 0 {
        let lowest = os::reserve(STACK + PAGE)?;
        // The lowest page stays inaccessible.
        // SAFETY: the reservation just made.
        unsafe { os::make_accessible(lowest.wrapping_add(PAGE), STACK) }?;
        STACK_END.store(lowest as usize + PAGE + STACK, Ordering::Relaxed);
    }
    // SAFETY: the stack is for this thread only, of which a process has one; `run` uses nothing of another thread's.
    unsafe { os::thread::start(STACK_END.load(Ordering::Relaxed) as *mut u8, run) }
}

#[cold]
#[inline(never)]
extern "C" fn run() -> ! {
    os::thread::name(c"statsalloc");
    let Background { state: word, .. } = &wiped().background;
    // Earlier than the program itself would: when the decay time is over, it has been done.
    let decay = decay_ns().unwrap_or(u64::MAX) / 4 * 3;
    // What wakes it has just been freed, whatever an old clock says.
    let mut pause = Some(decay);
    loop {
        match pause {
            Some(time) => os::thread::futex_wait_for(word, state::AWAKE, time.max(LEAST)),
            None => {
                while word.load(Ordering::Acquire) == state::ASLEEP {
                    os::futex_wait(word, state::ASLEEP);
                }
                clock::read();
                os::thread::futex_wait_for(word, state::AWAKE, decay);
            }
        }
        pause = purge(decay);
    }
}

/// Gives back what is old enough. How long until there is more to do, in nanoseconds; `None`: until it is woken.
fn purge(decay: u64) -> Option<u64> {
    let Background { state: word, busy, forks, .. } = &wiped().background;
    loop {
        let mut central = central();
        busy.store(1, Ordering::SeqCst);
        let waiting = forks.load(Ordering::SeqCst);
        let (mut more, mut pause) = (waiting != 0, None);
        if waiting == 0 {
            let now = clock::read();
            more = central.spans.purge_oldest(now.saturating_sub(decay));
            pause = central.spans.oldest_since().map(|since| (since + decay).saturating_sub(now));
            if pause.is_none() {
                // Who frees from now on, frees after this lock, and sees it.
                word.store(state::ASLEEP, Ordering::Release);
            }
        }
        busy.store(0, Ordering::SeqCst);
        central.give_way();
        let waiting = forks.load(Ordering::SeqCst);
        if waiting != 0 {
            // All of them: from glibc 2.36 on several threads may be about to fork.
            os::futex_wake_all(busy);
            os::futex_wait(forks, waiting);
        }
        if !more {
            return pause;
        }
    }
}

/// Before a fork: the thread purges nothing until [`resume`]. Waits for one purge at most, during which the thread holds all it
/// needs: a handler may fork while its own thread has the central lock.
pub(crate) fn pause() {
    if !is_on() {
        return;
    }
    let Background { busy, forks, .. } = &wiped().background;
    forks.fetch_add(1, Ordering::SeqCst);
    while busy.load(Ordering::SeqCst) != 0 {
        os::futex_wait(busy, 1);
    }
}

/// After a fork, in the parent.
pub(crate) fn resume() {
    if is_on() {
        let forks = &wiped().background.forks;
        // Zeroed where another thread has made this process one of its own since `pause`.
        let _ = forks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |forks| forks.checked_sub(1));
        os::futex_wake(forks);
    }
}
