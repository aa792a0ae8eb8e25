//! The named object behind a segment.
//!
//! Its maker locks it exclusively (`flock`), maps it and closes it: the lock lives as long as the mapping, so whoever
//! gets the lock knows that the process is dead. Only a holder of the exclusive lock removes another's name, and only after
//! it has seen that the object still has one: so nobody ever removes the name of a younger object.

use super::{Place, Refusal};
use crate::os::{self, Errno};
use core::ffi::CStr;
use core::mem::offset_of;
use shm_layout::layout::{ENDED_REMOVED, GLOBALS_OFFSET, Globals, SEGMENT_BYTES};
use shm_layout::name::{DIRECTORY, MAX_LEN, MAX_SUFFIX, SegmentName};

/// Permissions of an object.
pub(super) const MODE: u32 = 0o600;

/// An object that is ours, open and locked.
pub(super) struct Object {
    fd: i32,
    pub(super) suffix: u32,
}

impl Object {
    /// Makes the object of process `pid`, under the first name that no live process holds.
    pub(super) fn create(pid: u32) -> Result<Self, Refusal> {
        if os::limit(libc::RLIMIT_FSIZE).is_some_and(|limit| limit < SEGMENT_BYTES as u64) {
            return Err(Refusal { what: "the limit on file sizes is too low", errno: None });
        }
        for suffix in 0..=MAX_SUFFIX {
            let path = Path::of(pid, suffix);
            // The second time if a dead one was in the way, or a sweeper took ours for one.
            for _ in 0..2 {
                match open(path.as_c_str(), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL) {
                    Ok(fd) => match claim(fd) {
                        Ok(true) => return Ok(Self { fd, suffix }),
                        Ok(false) => os::close(fd),
                        Err(errno) => {
                            let _ = os::unlink(path.as_c_str());
                            os::close(fd);
                            return Err(Refusal::failed("cannot lock an object in /dev/shm")(errno));
                        }
                    },
                    Err(Errno(libc::EEXIST)) if remove_dead(path.as_c_str()) => (),
                    Err(Errno(libc::EEXIST)) => break,
                    Err(errno) => return Err(Refusal::failed("cannot create an object in /dev/shm")(errno)),
                }
            }
        }
        Err(Refusal { what: "all names in /dev/shm are taken", errno: None })
    }

    /// Gives it its size, and maps the start of it, inaccessible.
    ///
    /// # Safety
    /// Nothing uses what is mapped at `place`.
    pub(super) unsafe fn map(&self, place: Place) -> Result<(), Refusal> {
        os::resize(self.fd, SEGMENT_BYTES).map_err(Refusal::failed("cannot size an object in /dev/shm"))?;
        // SAFETY: the caller's.
        unsafe { os::map_object(place.base, place.bytes, self.fd) }
            .map_err(Refusal::failed("cannot map an object in /dev/shm"))
    }

    /// Closes the descriptor; the mapping keeps the lock.
    pub(super) fn close(self) {
        os::close(self.fd);
    }
}

/// Removes the object of a process that has ended; false if it has not.
#[cold]
fn remove_dead(path: &CStr) -> bool {
    Dead::open(path).map(|dead| dead.unlink(path)).is_some()
}

/// Removes the name of an object of ours. Async-signal-safe.
pub(super) fn unlink(pid: u32, suffix: u32) {
    let _ = os::unlink(Path::of(pid, suffix).as_c_str());
}

/// A dead process's object, locked, that this user may remove.
pub(super) struct Dead {
    fd: i32,
}

impl Dead {
    /// `None` if it is alive, not ours, or no longer there.
    pub(super) fn open(path: &CStr) -> Option<Self> {
        let dead = Self { fd: open(path, libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK).ok()? };
        os::flock(dead.fd, libc::LOCK_EX | libc::LOCK_NB).ok()?;
        let status = os::status(dead.fd).ok()?;
        (status.links != 0 && is_own_object(&status)).then_some(dead)
    }

    /// Whether its process has ended in an orderly way, and has only not been able to remove it.
    pub(super) fn was_to_be_removed(&self) -> bool {
        let mut word = [0; 8];
        let read = os::read_at(self.fd, &mut word, GLOBALS_OFFSET + offset_of!(Globals, ended));
        read == Ok(word.len()) && u64::from_ne_bytes(word) == ENDED_REMOVED
    }

    /// Removes its name. `path` is the one it was opened by.
    pub(super) fn unlink(self, path: &CStr) {
        let _ = os::unlink(path);
    }

    /// Sets its permissions.
    pub(super) fn set_mode(self, mode: u32) {
        let _ = os::set_mode(self.fd, mode);
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        os::close(self.fd);
    }
}

/// Whether this is a regular file of this user.
pub(super) fn is_own_object(status: &os::Status) -> bool {
    status.mode & libc::S_IFMT == libc::S_IFREG && status.uid == os::effective_uid()
}

/// Locks a fresh object and gives it its permissions. False if a sweeper removed it just before.
fn claim(fd: i32) -> os::Result<bool> {
    // A monitor or sweeper that probes it at this moment has it for some microseconds.
    const PATIENCE: usize = 100;
    let mut tries = 0;
    while let Err(errno) = os::flock(fd, libc::LOCK_EX | libc::LOCK_NB) {
        tries += 1;
        if errno != Errno(libc::EWOULDBLOCK) || tries == PATIENCE {
            return Err(errno);
        }
        os::yield_now();
    }
    let status = os::status(fd)?;
    if status.mode & !libc::S_IFMT != MODE {
        os::set_mode(fd, MODE)?;
    }
    Ok(status.links != 0)
}

/// Opens a file beyond the numbers of the standard streams, which the program may have closed and may reopen.
pub(super) fn open(path: &CStr, flags: i32) -> os::Result<i32> {
    let fd = os::open(path, flags, MODE)?;
    if fd > 2 {
        return Ok(fd);
    }
    let higher = os::duplicate(fd, 3);
    os::close(fd);
    if higher.is_err() && flags & libc::O_CREAT != 0 {
        let _ = os::unlink(path);
    }
    higher
}

/// The path of an object, NUL-terminated.
pub(super) struct Path {
    bytes: [u8; Path::BYTES],
}

impl Path {
    const BYTES: usize = DIRECTORY.len() + MAX_LEN + 1;

    #[inline(never)]
    pub(super) fn of(pid: u32, suffix: u32) -> Self {
        let name = SegmentName::new(pid, suffix);
        let mut path = Self { bytes: [0; Self::BYTES] };
        let text = DIRECTORY.bytes().chain(name.as_str().bytes());
        for (place, byte) in path.bytes.iter_mut().take(Self::BYTES - 1).zip(text) {
            *place = byte;
        }
        path
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}
