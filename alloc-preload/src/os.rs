//! The kernel. Nothing else makes system calls, and they are made here by hand: libc's wrappers are cancellation
//! points, set `errno`, and may be wrapped in turn by other preloaded libraries that allocate.
//!
//! Contract of every function here: `errno` is untouched, nothing allocates, nothing blocks except the waits for a futex,
//! and a failure is the kernel's error number.

#[cfg(feature = "failing-os")]
mod faults;

use core::arch::asm;
use core::ptr::null_mut;

/// The kernel's error number, positive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Errno(pub(crate) i32);

pub(crate) type Result<T> = core::result::Result<T, Errno>;

/// Bytes of an OS page.
pub(crate) const PAGE: usize = 4096;

/// # Safety
/// The call must be sound for these arguments.
#[inline]
unsafe fn syscall(number: libc::c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> Result<usize> {
    #[cfg(feature = "failing-os")]
    faults::before(number, b)?;
    let result: isize;
    // SAFETY: the x86-64 Linux calling convention; the kernel clobbers rcx and r11 only. What the call does to
    // memory is the caller's to answer for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) { Err(Errno(-result as i32)) } else { Ok(result as usize) }
}

macro_rules! call {
    ($number:ident $(, $arg:expr)*) => { call!(@pad $number; $($arg as usize),*) };
    (@pad $n:ident; ) => { syscall(libc::$n, 0, 0, 0, 0, 0, 0) };
    (@pad $n:ident; $a:expr) => { syscall(libc::$n, $a, 0, 0, 0, 0, 0) };
    (@pad $n:ident; $a:expr, $b:expr) => { syscall(libc::$n, $a, $b, 0, 0, 0, 0) };
    (@pad $n:ident; $a:expr, $b:expr, $c:expr) => { syscall(libc::$n, $a, $b, $c, 0, 0, 0) };
    (@pad $n:ident; $a:expr, $b:expr, $c:expr, $d:expr) => { syscall(libc::$n, $a, $b, $c, $d, 0, 0) };
    (@pad $n:ident; $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => { syscall(libc::$n, $a, $b, $c, $d, $e, 0) };
    (@pad $n:ident; $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr) => {
        syscall(libc::$n, $a, $b, $c, $d, $e, $f)
    };
}

mod files;
mod limits;
mod process;
pub(crate) mod thread;

pub(crate) use files::{
    Status, close, duplicate, entries, flock, is_filtered, lines, open, path_status, read, read_at, read_link, resize,
    set_mode, status, target_status, unlink, write,
};
pub(crate) use limits::{control, limit, lock_all, set_limit};
pub(crate) use process::{
    clock_ns, effective_uid, exit_group, is_secure, parent_pid, pid, process_exists, raise, reset_handler, thread_name,
    tid, tid_by_library, unblock, yield_now,
};

// ---- memory ----------------------------------------------------------------------------------------------------

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// Reserves `size` bytes of address space with nothing behind them.
pub(crate) fn reserve(size: usize) -> Result<*mut u8> {
    // SAFETY: a new private mapping where the kernel likes.
    unsafe { call!(SYS_mmap, null_mut::<u8>(), size, libc::PROT_NONE, PRIVATE, -1isize, 0) }.map(|p| p as *mut u8)
}

/// As `reserve`; what of it is not committed is left out of dumps. A debugger would write every byte of it.
pub(crate) fn reserve_undumped(size: usize) -> Result<*mut u8> {
    let address = reserve(size)?;
    // SAFETY: the mapping just made, in which there is nothing.
    let _ = unsafe { call!(SYS_madvise, address, size, libc::MADV_DONTDUMP) };
    Ok(address)
}

/// Maps `size` zeroed bytes at exactly `address`; fails with `EEXIST` where something is mapped already.
pub(crate) fn map_at(address: *mut u8, size: usize) -> Result<()> {
    place_at(address, size, READ_WRITE)
}

/// As `reserve`, at exactly `address`; fails as `map_at`.
pub(crate) fn reserve_at(address: *mut u8, size: usize) -> Result<()> {
    place_at(address, size, libc::PROT_NONE)
}

fn place_at(address: *mut u8, size: usize, protection: i32) -> Result<()> {
    let flags = PRIVATE | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: NOREPLACE never touches an existing mapping.
    let got = unsafe { call!(SYS_mmap, address, size, protection, flags, -1isize, 0) }?;
    if got == address as usize {
        return Ok(());
    }
    // Kernels before 4.17 take the address as a hint.
    // SAFETY: the mapping just made, which nobody else knows.
    let _ = unsafe { unmap(got as *mut u8, size) };
    Err(Errno(libc::EEXIST))
}

/// Makes a mapping of ours accessible.
///
/// # Safety
/// The range is a mapping of ours.
pub(crate) unsafe fn make_accessible(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { call!(SYS_mprotect, address, size, READ_WRITE) }.map(drop)
}

/// Has every access to a mapping of ours fault, whose contents stay.
///
/// # Safety
/// The range is a mapping of ours that nothing uses.
pub(crate) unsafe fn make_inaccessible(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { call!(SYS_mprotect, address, size, libc::PROT_NONE).map(drop) }
}

/// Changes what may be done with a mapping that is not ours.
///
/// # Safety
/// What uses the range can do with that.
pub(crate) unsafe fn protect(address: usize, size: usize, protection: i32) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { call!(SYS_mprotect, address, size, protection) }.map(drop)
}

/// Puts fresh zeroed memory in the place of a mapping.
///
/// # Safety
/// The range is a mapping of ours that nothing uses any more.
pub(crate) unsafe fn map_over(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { call!(SYS_mmap, address, size, READ_WRITE, PRIVATE | libc::MAP_FIXED, -1isize, 0) }.map(drop)
}

/// Makes reserved address space accessible.
///
/// # Safety
/// The range lies in a reservation of ours, and nothing in it is in use.
pub(crate) unsafe fn commit(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: the caller's.
    match unsafe { make_accessible(address, size) } {
        Ok(()) => {
            // SAFETY: the caller's.
            let _ = unsafe { call!(SYS_madvise, address, size, libc::MADV_DODUMP) };
            Ok(())
        }
        // Filtered: a fresh mapping in the place of the reservation does the same.
        // SAFETY: the caller's.
        Err(Errno(libc::EPERM | libc::EACCES | libc::ENOSYS)) => unsafe { map_over(address, size) },
        result => result,
    }
}

/// # Safety
/// The range is a mapping of ours that nothing uses any more.
pub(crate) unsafe fn unmap(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { call!(SYS_munmap, address, size) }.map(drop)
}

/// Gives the pages back; they read as zero afterwards.
///
/// # Safety
/// The range is private memory of ours whose contents nobody needs.
pub(crate) unsafe fn purge(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { call!(SYS_madvise, address, size, libc::MADV_DONTNEED) }.map(drop)
}

/// As [`purge`], of memory that is locked, which that is refused (Linux 5.18).
///
/// # Safety
/// As for `purge`.
pub(crate) unsafe fn purge_locked(address: *mut u8, size: usize) -> Result<()> {
    const MADV_DONTNEED_LOCKED: i32 = 24;
    // SAFETY: the caller's.
    unsafe { call!(SYS_madvise, address, size, MADV_DONTNEED_LOCKED) }.map(drop)
}

/// Has every access to the range fault, without a mapping of its own (Linux 6.13). Its contents are gone.
///
/// # Safety
/// The range is private memory of ours whose contents nobody needs.
pub(crate) unsafe fn guard(address: *mut u8, size: usize) -> Result<()> {
    const MADV_GUARD_INSTALL: i32 = 102;
    // SAFETY: the caller's.
    unsafe { call!(SYS_madvise, address, size, MADV_GUARD_INSTALL) }.map(drop)
}

/// Undoes [`guard`].
///
/// # Safety
/// The range is private memory of ours.
pub(crate) unsafe fn unguard(address: *mut u8, size: usize) -> Result<()> {
    const MADV_GUARD_REMOVE: i32 = 103;
    // SAFETY: only guards are removed.
    unsafe { call!(SYS_madvise, address, size, MADV_GUARD_REMOVE) }.map(drop)
}

/// Asks for huge pages.
///
/// # Safety
/// The range is mapped memory of ours.
pub(crate) unsafe fn advise_huge(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: advice changes no contents.
    unsafe { call!(SYS_madvise, address, size, libc::MADV_HUGEPAGE) }.map(drop)
}

/// Takes back that huge pages were asked for: the kernel would go on putting them behind what has been purged.
///
/// # Safety
/// As [`advise_huge`].
pub(crate) unsafe fn advise_no_huge(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: advice changes no contents.
    unsafe { call!(SYS_madvise, address, size, libc::MADV_NOHUGEPAGE) }.map(drop)
}

/// Puts a huge page behind each aligned part of the range that is as large as one, in place of the pages it has. Before
/// Linux 6.1, and where the system or the process wants no huge pages, an error.
///
/// # Safety
/// The range is mapped memory of ours.
pub(crate) unsafe fn collapse(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: contents stay as they are.
    unsafe { call!(SYS_madvise, address, size, libc::MADV_COLLAPSE) }.map(drop)
}

/// Asks that a forked child finds the range zeroed.
///
/// # Safety
/// The range is private anonymous memory of ours.
pub(crate) unsafe fn wipe_on_fork(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: changes nothing in this process.
    unsafe { call!(SYS_madvise, address, size, libc::MADV_WIPEONFORK) }.map(drop)
}

/// Puts a bare reservation in the place of a mapping. Takes no address space.
///
/// # Safety
/// The range is a mapping of ours that nothing uses any more.
pub(crate) unsafe fn reserve_again(address: *mut u8, size: usize) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { call!(SYS_mmap, address, size, libc::PROT_NONE, PRIVATE | libc::MAP_FIXED, -1isize, 0) }.map(drop)
}

/// Puts real memory behind the range, or fails where a store would raise `SIGBUS`.
///
/// # Safety
/// The range is writable memory of ours.
pub(crate) unsafe fn populate(address: *mut u8, size: usize) -> Result<()> {
    const MADV_POPULATE_WRITE: i32 = 23;
    // SAFETY: contents stay as they are.
    unsafe { call!(SYS_madvise, address, size, MADV_POPULATE_WRITE) }.map(drop)
}

/// Moves the pages of `[from, from + size)` to `to`, replacing what was mapped there; the old range stays mapped
/// and reads as zero.
///
/// # Safety
/// Both ranges are private anonymous memory of ours, `to` is unused and they do not overlap.
pub(crate) unsafe fn move_pages(from: *mut u8, to: *mut u8, size: usize) -> Result<()> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
    // SAFETY: the caller's.
    unsafe { call!(SYS_mremap, from, size, size, flags, to) }.map(drop)
}

/// Whether the range lies in one mapping; `None` if the kernel does not tell. It is asked to make the mapping a page longer
/// where it is, which it refuses, since what follows is in use. What it says first is whether the range goes beyond.
pub(crate) fn lies_in_one_mapping(address: *mut u8, size: usize) -> Option<bool> {
    // SAFETY: nothing moves, and nothing that is mapped is replaced.
    match unsafe { call!(SYS_mremap, address, size, size + PAGE, 0) } {
        Err(Errno(libc::ENOMEM | libc::EAGAIN)) => Some(true),
        Err(Errno(libc::EFAULT)) => Some(false),
        Err(_) => None,
        Ok(_) => {
            // SAFETY: the page that was just added.
            let _ = unsafe { unmap(address.wrapping_add(size), PAGE) };
            Some(true)
        }
    }
}

/// Maps the first `size` bytes of the object behind `fd`, inaccessible, in the place of a reservation.
///
/// # Safety
/// The range is a mapping of ours that nothing uses any more.
pub(crate) unsafe fn map_object(address: *mut u8, size: usize, fd: i32) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { call!(SYS_mmap, address, size, libc::PROT_NONE, libc::MAP_SHARED | libc::MAP_FIXED, fd, 0) }.map(drop)
}

/// Puts real memory behind the page of `word` as [`populate`] does, on kernels without it: the kernel adds zero to
/// the word, and reports `EFAULT` where a store would raise `SIGBUS`.
pub(crate) fn touch(word: &core::sync::atomic::AtomicU32) -> Result<()> {
    const FUTEX_OP_ADD_NOTHING: u32 = 1 << 28;
    let operation = libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG;
    let address = word.as_ptr();
    // SAFETY: an atomic addition of nothing; nobody waits on the word, so nobody is woken.
    unsafe { call!(SYS_futex, address, operation, 0, 0, address, FUTEX_OP_ADD_NOTHING) }.map(drop)
}

/// Copies what lies at `address` in this process; an error, or less than was asked for, where that cannot be read.
pub(crate) fn read_memory(address: usize, buffer: &mut [u8]) -> Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: `buffer` is writable for its length; the kernel checks the other side.
    unsafe { call!(SYS_process_vm_readv, pid(), &raw const local, 1, &raw const remote, 1, 0) }
}

/// Whether anything is mapped at `address`.
pub(crate) fn is_mapped(address: usize) -> bool {
    let mut resident = 0u8;
    // SAFETY: writes one byte for the one page that is asked about.
    let result = unsafe { call!(SYS_mincore, address & !(PAGE - 1), PAGE, &raw mut resident) };
    result != Err(Errno(libc::ENOMEM))
}

/// Which pages from `address` on have memory behind them, one for each entry: the lowest bit tells.
pub(crate) fn residency(address: *const u8, pages: &mut [u8]) -> Result<()> {
    // SAFETY: writes one byte for each page that is asked about.
    unsafe { call!(SYS_mincore, address, pages.len() * PAGE, pages.as_mut_ptr()) }.map(drop)
}

// ---- waiting ---------------------------------------------------------------------------------------------------

/// Sleeps while `word` holds `expected`. May wake early.
pub(crate) fn futex_wait(word: &core::sync::atomic::AtomicU32, expected: u32) {
    // SAFETY: the kernel only reads the word.
    let _ = unsafe {
        call!(SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, expected, null_mut::<u8>())
    };
}

/// Wakes one sleeper.
pub(crate) fn futex_wake(word: &core::sync::atomic::AtomicU32) {
    wake(word, 1);
}

/// Wakes all sleepers.
pub(crate) fn futex_wake_all(word: &core::sync::atomic::AtomicU32) {
    wake(word, i32::MAX);
}

fn wake(word: &core::sync::atomic::AtomicU32, most: i32) {
    // SAFETY: the kernel only uses the address.
    let _ = unsafe { call!(SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, most) };
}
