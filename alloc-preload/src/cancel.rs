//! Threads that may be cancelled at any instruction (`PTHREAD_CANCEL_ASYNCHRONOUS`). POSIX forbids them to call the
//! allocator; those that do all the same must not leave it locked for the others, or half changed. So while a slow path
//! runs they are cancelled at points of cancellation only, of which there are none in this library.

use core::ffi::c_int;
use core::mem::transmute;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

type SetType = unsafe extern "C" fn(c_int, *mut c_int) -> c_int;

const DEFERRED: c_int = 0;
const ASYNCHRONOUS: c_int = 1;

/// The C library's `pthread_setcanceltype`; 0 while no thread has asked for anything but the default.
static SET_TYPE: AtomicUsize = AtomicUsize::new(0);

/// While this lives, the calling thread is not cancelled.
pub(crate) struct Shelter {
    was_asynchronous: bool,
}

impl Shelter {
    /// Nearly always one comparison.
    #[inline(always)]
    pub(crate) fn enter() -> Self {
        Self { was_asynchronous: SET_TYPE.load(Ordering::Relaxed) != 0 && defer() }
    }
}

impl Drop for Shelter {
    /// Does not return where the thread was cancelled in the meantime.
    #[inline(always)]
    fn drop(&mut self) {
        if self.was_asynchronous {
            allow();
        }
    }
}

#[cold]
#[inline(never)]
fn defer() -> bool {
    let mut before = DEFERRED;
    // SAFETY: `before` is writable.
    unsafe { set_type(DEFERRED, &raw mut before) };
    before == ASYNCHRONOUS
}

#[cold]
#[inline(never)]
fn allow() {
    // SAFETY: no pointer.
    unsafe { set_type(ASYNCHRONOUS, null_mut()) };
}

/// `pthread_setcanceltype`.
///
/// # Safety
/// `old` is null or writable.
pub(crate) unsafe fn set_type(kind: c_int, old: *mut c_int) -> c_int {
    let mut next = SET_TYPE.load(Ordering::Relaxed);
    if next == 0 {
        // Once, by a thread that cannot be cancelled here yet.
        // SAFETY: a name that ends in a zero byte.
        next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_setcanceltype".as_ptr()) } as usize;
        if next == 0 {
            return libc::ENOSYS;
        }
        SET_TYPE.store(next, Ordering::Relaxed);
    }
    // SAFETY: the C library's function of that name; the caller's pointer.
    unsafe { transmute::<usize, SetType>(next)(kind, old) }
}
