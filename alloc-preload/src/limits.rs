//! Programs that limit themselves: their address space, like a shell's `ulimit -v`, or their system calls; and those that
//! lock their memory.

use crate::background;
use crate::beside;
use crate::central::{self, central};
use crate::clock;
use crate::fast::slow::set_errno;
use crate::heap;
use crate::os;
use crate::segment;
use crate::thread::with_heap;
use crate::window::{self, huge};
use core::ffi::{c_int, c_uint};

/// What `prlimit` does, after giving up unused address space if that is about to be limited.
#[cold]
#[inline(never)]
pub(crate) fn set(pid: i32, resource: c_uint, new: *const libc::rlimit64, old: *mut libc::rlimit64) -> c_int {
    let ours = pid == 0 || pid as u32 == os::pid();
    if ours
        && resource == libc::RLIMIT_AS
        && let Some(limit) = soft(new).filter(|&limit| limit != libc::RLIM64_INFINITY)
    {
        release(limit);
    }
    // SAFETY: the caller's pointers, as the interface requires.
    answer(unsafe { os::set_limit(pid, resource, new, old) }.map(|()| 0))
}

/// The soft limit that is asked for; `None` where none is, or it cannot be read, which the system call then says.
fn soft(new: *const libc::rlimit64) -> Option<libc::rlim64_t> {
    let mut bytes = [0; size_of::<libc::rlim64_t>()];
    const _: () = assert!(core::mem::offset_of!(libc::rlimit64, rlim_cur) == 0);
    if new.is_null() {
        return None;
    }
    let denied = Err(os::Errno(libc::EPERM));
    match if segment::is_filtered() { denied } else { os::read_memory(new as usize, &mut bytes) } {
        Ok(read) => (read == bytes.len()).then(|| libc::rlim64_t::from_ne_bytes(bytes)),
        Err(os::Errno(libc::EFAULT)) => None,
        // SAFETY: the interface requires it to be readable.
        Err(_) => Some(unsafe { (*new).rlim_cur }),
    }
}

/// What `mlockall` does. A part of the reservation that becomes accessible later is no new mapping, and would stay unlocked
/// where only such are to be locked: then the reservation is given up, and the heap grows by new ones.
#[cold]
#[inline(never)]
pub(crate) fn lock_all(flags: c_int) -> c_int {
    let result = os::lock_all(flags);
    if result.is_ok() && flags & (libc::MCL_CURRENT | libc::MCL_FUTURE) == libc::MCL_FUTURE {
        release(u64::MAX);
    }
    answer(result.map(|()| 0))
}

/// Gives up the address space that has not been used yet, for a program that is to have so many bytes of it.
#[cold]
#[inline(never)]
fn release(limit: u64) {
    with_heap(|_, heap| {
        heap::give_all_parked(heap);
        let central = central();
        window::release(central::heaps_end(&central));
        // In a child, heaps of its parent's threads may have no row yet.
        let had = segment::rows_end().max(central.made as usize);
        let (few, all) = (segment::rows_under(limit).max(had).next_multiple_of(2), beside::count());
        if few < all {
            central::have_heaps(few);
            segment::release(few, all);
        }
    });
}

/// As a function of the C library returns it.
fn answer(result: os::Result<c_int>) -> c_int {
    result.unwrap_or_else(|os::Errno(number)| {
        set_errno(number);
        -1
    })
}

/// `PR_TSC_SIGSEGV`
const TSC_SIGSEGV: usize = 2;
/// `SECCOMP_MODE_STRICT`, in which the kernel forbids the processor's counter, too.
const SECCOMP_STRICT: usize = 1;

/// What `prctl` does, noting that system calls are about to be filtered.
#[cold]
#[inline(never)]
pub(crate) fn control(operation: c_int, arguments: [usize; 4]) -> c_int {
    if matches!(operation, libc::PR_SET_NO_NEW_PRIVS | libc::PR_SET_SECCOMP) {
        huge::heed_system();
        segment::expect_filter();
        background::start_no_more();
    }
    // SAFETY: the caller's arguments, as the interface requires.
    let call = || unsafe { os::control(operation, arguments) };
    answer(match (operation, arguments) {
        (libc::PR_SET_TSC, [TSC_SIGSEGV, ..]) => clock::without_counter(false, call),
        (libc::PR_SET_SECCOMP, [SECCOMP_STRICT, ..]) => clock::without_counter(true, call),
        _ => call(),
    })
}
