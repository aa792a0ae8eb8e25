//! Who the process and its threads are, the time, and signals.

use super::{Errno, syscall};
use core::ptr::null_mut;

pub(crate) fn pid() -> u32 {
    // SAFETY: no arguments.
    unsafe { call!(SYS_getpid) }.unwrap_or(0) as u32
}

pub(crate) fn parent_pid() -> u32 {
    // SAFETY: no arguments.
    unsafe { call!(SYS_getppid) }.unwrap_or(0) as u32
}

pub(crate) fn tid() -> u32 {
    // SAFETY: no arguments.
    unsafe { call!(SYS_gettid) }.unwrap_or(0) as u32
}

/// The number by which the C library knows the calling thread, told without a system call; 0 where it does not.
pub(crate) fn tid_by_library() -> u32 {
    let mut clock = 0;
    // SAFETY: asks for a number of the calling thread's.
    match unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) } {
        0 => !(clock >> 3) as u32,
        _ => 0,
    }
}

pub(crate) fn effective_uid() -> u32 {
    // SAFETY: no arguments.
    unsafe { call!(SYS_geteuid) }.unwrap_or(0) as u32
}

/// Nanoseconds on `clock`; 0 where the kernel does not know it.
pub(crate) fn clock_ns(clock: i32) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    match unsafe { call!(SYS_clock_gettime, clock, &raw mut time) } {
        Ok(_) => time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64,
        Err(_) => 0,
    }
}

/// The calling thread's name, NUL-padded.
pub(crate) fn thread_name() -> [u8; 16] {
    let mut name = [0; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes.
    let _ = unsafe { call!(SYS_prctl, libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}

/// Whether a process with this PID exists in our PID namespace.
pub(crate) fn process_exists(pid: u32) -> bool {
    // SAFETY: signal 0 is never delivered.
    pid != 0 && pid <= i32::MAX as u32 && unsafe { call!(SYS_kill, pid, 0) } != Err(Errno(libc::ESRCH))
}

/// Whether the kernel gave this program rights its caller lacks (set-user-ID and the like).
pub(crate) fn is_secure() -> bool {
    // SAFETY: reads the auxiliary vector, which the loader found before it relocated us.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Lets another thread or process run.
pub(crate) fn yield_now() {
    // SAFETY: no arguments.
    let _ = unsafe { call!(SYS_sched_yield) };
}

// ---- signals (misuse only) -------------------------------------------------------------------------------------

/// Lets `signal` reach the calling thread.
pub(crate) fn unblock(signal: i32) {
    let set: u64 = 1 << (signal - 1);
    // SAFETY: the kernel reads eight bytes.
    let _ = unsafe { call!(SYS_rt_sigprocmask, libc::SIG_UNBLOCK, &raw const set, null_mut::<u8>(), 8) };
}

/// Takes the program's handler for `signal` away.
pub(crate) fn reset_handler(signal: i32) {
    // The kernel's `struct sigaction`: handler, flags, restorer, mask.
    let default = [0u64; 4];
    // SAFETY: the kernel reads 32 bytes; the default action needs no restorer.
    let _ = unsafe { call!(SYS_rt_sigaction, signal, default.as_ptr(), null_mut::<u8>(), 8) };
}

/// Sends `signal` to the calling thread.
pub(crate) fn raise(signal: i32) {
    // SAFETY: a signal to ourselves.
    let _ = unsafe { call!(SYS_tgkill, pid(), tid(), signal) };
}

/// Ends the process.
pub(crate) fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        let _ = unsafe { call!(SYS_exit_group, status) };
    }
}
