//! Where the process-wide counters are. The layers below the segment know them by this name only.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use shm_layout::layout::Globals;

static GLOBALS: AtomicPtr<Globals> = AtomicPtr::new(null_mut());

/// The process-wide counters.
///
/// Set before the first slab or span exists, and again in a forked child.
#[inline]
pub(crate) fn globals() -> &'static Globals {
    // SAFETY: `set_globals` comes before every use, and segments are never unmapped.
    unsafe { &*GLOBALS.load(Ordering::Relaxed) }
}

pub(crate) fn set_globals(globals: &'static Globals) {
    GLOBALS.store(core::ptr::from_ref(globals).cast_mut(), Ordering::Relaxed);
}

unsafe extern "C" {
    static __libc_single_threaded: core::ffi::c_char;
}

/// Whether the calling thread is the only one: what several would change by locked instructions, it may change without.
#[inline]
pub(crate) fn is_alone() -> bool {
    globals().threads_started.get() <= 1 && !is_several()
}

/// Whether the C library has ever started a second thread: from then on none takes itself for the only one.
#[inline]
pub(crate) fn is_several() -> bool {
    // SAFETY: a byte of libc's, which it clears before it starts a second thread.
    unsafe { (&raw const __libc_single_threaded).read_volatile() == 0 }
}
