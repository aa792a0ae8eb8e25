//! What a program may impose on itself: limits, filters, locked memory.

use super::{Result, syscall};
use core::ptr::null_mut;

/// The soft limit on `resource`; `None` where there is none.
pub(crate) fn limit(resource: u32) -> Option<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: libc::RLIM64_INFINITY, rlim_max: 0 };
    // SAFETY: `limit` is writable; the null pointer means "set nothing".
    let result = unsafe { call!(SYS_prlimit64, 0, resource, null_mut::<u8>(), &raw mut limit) };
    (result.is_ok() && limit.rlim_cur != libc::RLIM64_INFINITY).then_some(limit.rlim_cur)
}

/// `prlimit64`.
///
/// # Safety
/// `new` is null or readable, `old` is null or writable.
pub(crate) unsafe fn set_limit(
    pid: i32,
    resource: u32,
    new: *const libc::rlimit64,
    old: *mut libc::rlimit64,
) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { call!(SYS_prlimit64, pid, resource, new, old) }.map(drop)
}

/// `mlockall`.
pub(crate) fn lock_all(flags: i32) -> Result<()> {
    // SAFETY: changes no contents.
    unsafe { call!(SYS_mlockall, flags) }.map(drop)
}

/// `prctl`.
///
/// # Safety
/// As the operation requires.
pub(crate) unsafe fn control(operation: i32, arguments: [usize; 4]) -> Result<i32> {
    let [b, c, d, e] = arguments;
    // SAFETY: the caller's.
    unsafe { call!(SYS_prctl, operation, b, c, d, e) }.map(|result| result as i32)
}
