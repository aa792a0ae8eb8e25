//! Files: at the start, at the end, and for messages only.

use super::{PAGE, Result, syscall};
use core::ffi::CStr;

/// Opens `path`; `O_CLOEXEC` is always added.
pub(crate) fn open(path: &CStr, flags: i32, mode: u32) -> Result<i32> {
    // SAFETY: `path` is NUL-terminated.
    unsafe { call!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags | libc::O_CLOEXEC, mode) }.map(|fd| fd as i32)
}

pub(crate) fn close(fd: i32) {
    // SAFETY: a descriptor of ours.
    let _ = unsafe { call!(SYS_close, fd) };
}

pub(crate) fn read(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: `buffer` is writable for its length.
    unsafe { call!(SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) }
}

/// Lines of a file.
pub(crate) fn lines(path: &CStr) -> Result<usize> {
    let fd = open(path, libc::O_RDONLY, 0)?;
    let mut buffer = [0; PAGE];
    let mut lines = 0;
    let end = loop {
        match read(fd, &mut buffer) {
            Ok(0) => break Ok(lines),
            Ok(length) => lines += buffer.iter().take(length).filter(|&&byte| byte == b'\n').count(),
            Err(error) => break Err(error),
        }
    };
    close(fd);
    end
}

/// Whether a filter of system calls is in force, or cannot be told. The call that tells (`PR_GET_SECCOMP`) may be one that it
/// ends the process for; a file can be opened, as the loader has done.
pub(crate) fn is_filtered() -> bool {
    const NONE: &[u8] = b"\nSeccomp:\t0\n";
    let Ok(fd) = open(c"/proc/self/status", libc::O_RDONLY, 0) else { return true };
    let mut buffer = [0; PAGE];
    let length = read(fd, &mut buffer).unwrap_or(0);
    close(fd);
    !buffer.get(..length).is_some_and(|status| status.windows(NONE.len()).any(|line| line == NONE))
}

/// One write, without retry.
pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    // SAFETY: `bytes` is readable for its length.
    unsafe { call!(SYS_write, fd, bytes.as_ptr(), bytes.len()) }
}

pub(crate) fn unlink(path: &CStr) -> Result<()> {
    // SAFETY: `path` is NUL-terminated.
    unsafe { call!(SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0) }.map(drop)
}

/// Reads from an offset on. Returns the number of bytes.
pub(crate) fn read_at(fd: i32, buffer: &mut [u8], offset: usize) -> Result<usize> {
    // SAFETY: the kernel writes at most this buffer.
    unsafe { call!(SYS_pread64, fd, buffer.as_mut_ptr(), buffer.len(), offset) }
}

/// As `flock(2)`.
pub(crate) fn flock(fd: i32, operation: i32) -> Result<()> {
    // SAFETY: no memory involved.
    unsafe { call!(SYS_flock, fd, operation) }.map(drop)
}

/// Sets a file's size. Beyond `RLIMIT_FSIZE` this raises `SIGXFSZ`: check first.
pub(crate) fn resize(fd: i32, size: usize) -> Result<()> {
    // SAFETY: no memory involved.
    unsafe { call!(SYS_ftruncate, fd, size) }.map(drop)
}

/// Sets a file's permissions, whatever the umask.
pub(crate) fn set_mode(fd: i32, mode: u32) -> Result<()> {
    // SAFETY: no memory involved.
    unsafe { call!(SYS_fchmod, fd, mode) }.map(drop)
}

/// A second descriptor for the same open file, at least `lowest`.
pub(crate) fn duplicate(fd: i32, lowest: i32) -> Result<i32> {
    // SAFETY: no memory involved.
    unsafe { call!(SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, lowest) }.map(|fd| fd as i32)
}

/// What `stat(2)` tells and we need.
#[derive(Clone, Copy)]
pub(crate) struct Status {
    pub(crate) inode: u64,
    /// Type and permissions.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    /// Names the file has; 0 once it is removed.
    pub(crate) links: u64,
    /// When mode, owner, size or names changed last: `CLOCK_REALTIME`, nanoseconds.
    pub(crate) changed_ns: u64,
}

/// The status of an open file.
pub(crate) fn status(fd: i32) -> Result<Status> {
    status_at(fd, c"", libc::AT_EMPTY_PATH)
}

/// The status of what `path` names, a symbolic link itself included.
pub(crate) fn path_status(path: &CStr) -> Result<Status> {
    status_at(libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW)
}

/// The status of what `path` leads to.
pub(crate) fn target_status(path: &CStr) -> Result<Status> {
    status_at(libc::AT_FDCWD, path, 0)
}

fn status_at(fd: i32, path: &CStr, flags: i32) -> Result<Status> {
    let mut stat = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `path` is NUL-terminated; `stat` is writable, and libc's layout is the kernel's on x86-64.
    unsafe { call!(SYS_newfstatat, fd, path.as_ptr(), stat.as_mut_ptr(), flags) }?;
    // SAFETY: all integers, zeroed at first.
    let stat = unsafe { stat.assume_init() };
    Ok(Status {
        inode: stat.st_ino,
        mode: stat.st_mode,
        uid: stat.st_uid,
        links: stat.st_nlink,
        changed_ns: (stat.st_ctime as u64).wrapping_mul(1_000_000_000).wrapping_add(stat.st_ctime_nsec as u64),
    })
}

/// The next entries of the directory `fd`, as `linux_dirent64` records; 0 at its end.
pub(crate) fn entries(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: `buffer` is writable for its length.
    unsafe { call!(SYS_getdents64, fd, buffer.as_mut_ptr(), buffer.len()) }
}

/// What the symbolic link at `path` says, cut at the buffer's end.
pub(crate) fn read_link(path: &CStr, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: `path` is NUL-terminated; `buffer` is writable for its length.
    unsafe { call!(SYS_readlinkat, libc::AT_FDCWD, path.as_ptr(), buffer.as_mut_ptr(), buffer.len()) }
}
