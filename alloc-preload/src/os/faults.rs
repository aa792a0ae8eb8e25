//! Failing system calls, for tests: in builds with the feature `failing-os` only.
//!
//! Calls that can fail are counted; those from number `FIRST` to number `LAST`, counted from 1, fail without reaching
//! the kernel. `FAILING_OS=FIRST-LAST` in the environment chooses, and `FIRST-LAST:ERRNO` an error number for all in
//! the place of the one that each would be most likely to meet. A test program asks by the three functions here.

use super::Errno;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const VARIABLE: &[u8] = b"FAILING_OS=";

/// Calls so far that could fail.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Those that were made to.
static FAILED: AtomicU64 = AtomicU64::new(0);
static FIRST: AtomicU64 = AtomicU64::new(UNREAD);
static LAST: AtomicU64 = AtomicU64::new(0);
/// The error of all; 0: each its own.
static ERRNO: AtomicU32 = AtomicU32::new(0);

/// The environment has not been looked at yet.
const UNREAD: u64 = 0;
const NEVER: u64 = u64::MAX;

/// Counts a call, whose second argument this is; an error if it is to fail.
pub(super) fn before(number: libc::c_long, operation: usize) -> super::Result<()> {
    let Some(usual) = usual_error(number, operation) else { return Ok(()) };
    if FIRST.load(Ordering::Relaxed) == UNREAD {
        read();
    }
    let this = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    if this < FIRST.load(Ordering::Relaxed) || this > LAST.load(Ordering::Relaxed) {
        return Ok(());
    }
    FAILED.fetch_add(1, Ordering::Relaxed);
    let chosen = ERRNO.load(Ordering::Relaxed) as i32;
    Err(Errno(if chosen == 0 { usual } else { chosen }))
}

/// How a call fails when it does; `None` if the kernel never fails it, or its failure has no consequence.
fn usual_error(number: libc::c_long, operation: usize) -> Option<i32> {
    Some(match number {
        libc::SYS_mmap | libc::SYS_munmap | libc::SYS_mprotect | libc::SYS_mremap | libc::SYS_madvise => libc::ENOMEM,
        libc::SYS_openat | libc::SYS_fcntl => libc::EMFILE,
        libc::SYS_read | libc::SYS_write | libc::SYS_getdents64 => libc::EIO,
        libc::SYS_newfstatat | libc::SYS_readlinkat => libc::EACCES,
        libc::SYS_fchmod | libc::SYS_unlinkat | libc::SYS_process_vm_readv | libc::SYS_prlimit64 => libc::EPERM,
        libc::SYS_ftruncate => libc::ENOSPC,
        libc::SYS_flock => libc::ENOLCK,
        // Neither waiting nor waking can fail.
        libc::SYS_futex if operation as i32 & libc::FUTEX_CMD_MASK == libc::FUTEX_WAKE_OP => libc::EFAULT,
        _ => return None,
    })
}

unsafe extern "C" {
    static environ: *const *const core::ffi::c_char;
}

/// Reads the environment.
fn read() {
    let mut first = NEVER;
    // SAFETY: libc's environment: strings, then a null pointer. No test changes it before its first allocation.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            if let Some(value) = CStr::from_ptr(*entry).to_bytes().strip_prefix(VARIABLE) {
                let mut numbers = value.split(|byte| !byte.is_ascii_digit()).map(number);
                first = numbers.next().unwrap_or(NEVER).max(1);
                LAST.store(numbers.next().unwrap_or(first), Ordering::Relaxed);
                ERRNO.store(numbers.next().unwrap_or(0) as u32, Ordering::Relaxed);
            }
            entry = entry.add(1);
        }
    }
    FIRST.store(first, Ordering::Relaxed);
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// Calls so far that could fail.
#[unsafe(no_mangle)]
extern "C" fn failing_os_calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// Calls so far that were made to fail.
#[unsafe(no_mangle)]
extern "C" fn failing_os_failed() -> u64 {
    FAILED.load(Ordering::Relaxed)
}

/// From now on no call fails.
#[unsafe(no_mangle)]
extern "C" fn failing_os_mend() {
    FIRST.store(NEVER, Ordering::Relaxed);
    LAST.store(0, Ordering::Relaxed);
}
