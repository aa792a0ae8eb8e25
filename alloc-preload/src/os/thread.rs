//! A thread that the C library does not know of: it is none of the program's, uses no thread-local storage, and does not
//! keep the process from ending when the program's own threads have ended. And whether a thread of the program's is there.

use super::{Errno, Result, syscall};
use core::arch::asm;
use core::ffi::CStr;
use core::ptr::null_mut;
use core::sync::atomic::AtomicU32;

/// Starts a thread in `run`, on the stack that ends at `stack`. Signals do not reach it.
///
/// # Safety
/// The stack is large enough, 16-byte aligned at its end, and nobody else's from now on. `run` touches nothing that is
/// the calling thread's: it has the same thread pointer.
pub(crate) unsafe fn start(stack: *mut u8, run: extern "C" fn() -> !) -> Result<()> {
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    let (all, mut before) = (u64::MAX, 0_u64);
    // SAFETY: the kernel reads and writes eight bytes each. The new thread inherits the mask.
    unsafe { call!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, &raw mut before, 8) }?;
    let result: isize;
    // SAFETY: the new thread begins behind the system call with the registers of this one, but for the stack, and leaves
    // for `run` at once.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags as usize, in("rsi") stack, in("rdx") 0, in("r10") 0, in("r8") 0,
            in("r12") run,
            out("rcx") _, out("r11") _,
        );
    }
    // SAFETY: as above.
    let _ = unsafe { call!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const before, null_mut::<u8>(), 8) };
    if result < 0 { Err(super::Errno(-result as i32)) } else { Ok(()) }
}

/// Names the calling thread, as `ps` and debuggers show it; at most 15 bytes.
pub(crate) fn name(name: &CStr) {
    // SAFETY: the kernel reads a string.
    let _ = unsafe { call!(SYS_prctl, libc::PR_SET_NAME, name.as_ptr()) };
}

/// As [`super::futex_wait`], for `nanoseconds` at most.
pub(crate) fn futex_wait_for(word: &AtomicU32, expected: u32, nanoseconds: u64) {
    let time =
        libc::timespec { tv_sec: (nanoseconds / 1_000_000_000) as i64, tv_nsec: (nanoseconds % 1_000_000_000) as i64 };
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel only reads word and time.
    let _ = unsafe { call!(SYS_futex, word.as_ptr(), operation, expected, &raw const time) };
}

/// Sleeps for about so long.
pub(crate) fn sleep(nanoseconds: u64) {
    // A call that threads make here anyway: a filter that allows no other may end the process.
    futex_wait_for(&AtomicU32::new(0), 0, nanoseconds);
}

/// Whether there is a thread, of whatever process, with this number in our PID namespace.
pub(crate) fn exists(tid: u32) -> bool {
    // SAFETY: signal 0 is never delivered.
    let result = unsafe { call!(SYS_tkill, tid, 0) };
    result != Err(Errno(libc::ESRCH))
}
