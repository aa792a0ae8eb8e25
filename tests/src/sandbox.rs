//! Mount namespaces of their own, and limits, for commands.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// What a command shall find where POSIX shared memory is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shm {
    /// An empty file system of its own.
    Private,
    /// One with this many bytes of room.
    Small(u32),
    /// One that cannot be written.
    ReadOnly,
    /// No such folder; `/dev` holds `null`, `zero` and `urandom` only.
    Absent,
}

/// Surroundings of a command's own.
pub trait Sandbox {
    /// Runs it in a mount namespace of its own, which needs root.
    fn with_shm(&mut self, shm: Shm) -> &mut Self;
    /// Runs it in the mount namespace of process `pid`.
    fn beside(&mut self, pid: u32) -> &mut Self;
    /// Runs it in a mount namespace of its own in which this folder is empty; needs root.
    fn hiding(&mut self, folder: &str) -> &mut Self;
    /// Runs it in a mount namespace of its own in which one file lies in the place of another; needs root.
    fn replacing(&mut self, file: &str, by: &Path) -> &mut Self;
    /// Sets both limits of `resource`.
    fn limit(&mut self, resource: u32, value: u64) -> &mut Self;
    /// Runs it as another user.
    fn as_user(&mut self, uid: u32) -> &mut Self;
}

impl Sandbox for Command {
    fn with_shm(&mut self, shm: Shm) -> &mut Self {
        let options = match shm {
            Shm::Small(bytes) => CString::new(format!("size={bytes},mode=1777")),
            _ => CString::new("mode=1777"),
        }
        .expect("no NUL inside");
        // SAFETY: the closure makes system calls only, and touches memory that was there before the fork.
        unsafe { self.pre_exec(move || enter_new_namespace(shm, &options)) }
    }

    fn beside(&mut self, pid: u32) -> &mut Self {
        let namespace = File::open(format!("/proc/{pid}/ns/mnt")).expect("the mount namespace of a living process");
        // SAFETY: one system call; the descriptor is moved into the closure and so lives as long.
        unsafe { self.pre_exec(move || done(libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS))) }
    }

    fn hiding(&mut self, folder: &str) -> &mut Self {
        let folder = CString::new(folder).expect("no NUL inside");
        // SAFETY: the closure makes system calls only, and touches memory that was there before the fork.
        unsafe {
            self.pre_exec(move || {
                own_mounts()?;
                mount_empty(&folder, 0, c"mode=755")
            })
        }
    }

    fn replacing(&mut self, file: &str, by: &Path) -> &mut Self {
        let file = CString::new(file).expect("no NUL inside");
        let by = CString::new(by.as_os_str().as_encoded_bytes()).expect("no NUL inside");
        // SAFETY: the closure makes system calls only, on strings that it owns.
        unsafe {
            self.pre_exec(move || {
                own_mounts()?;
                let (file, by) = (file.as_ptr(), by.as_ptr());
                done(libc::mount(by, file, std::ptr::null(), libc::MS_BIND, std::ptr::null()))
            })
        }
    }

    fn limit(&mut self, resource: u32, value: u64) -> &mut Self {
        let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: one system call on a value the closure owns.
        unsafe { self.pre_exec(move || done(libc::setrlimit(resource, &raw const limit))) }
    }

    fn as_user(&mut self, uid: u32) -> &mut Self {
        self.uid(uid).gid(uid)
    }
}

fn enter_new_namespace(shm: Shm, options: &CStr) -> Result<()> {
    own_mounts()?;
    let place = if shm == Shm::Absent { c"/dev" } else { c"/dev/shm" };
    mount_empty(place, if shm == Shm::ReadOnly { libc::MS_RDONLY } else { 0 }, options)?;
    if shm == Shm::Absent {
        for (path, minor) in [(c"/dev/null", 3), (c"/dev/zero", 5), (c"/dev/urandom", 9)] {
            // SAFETY: the path is a NUL-terminated literal.
            done(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, minor)) })?;
        }
    }
    Ok(())
}

/// A mount namespace whose changes stay inside.
fn own_mounts() -> Result<()> {
    let keep_to_ourselves = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: all pointers are NUL-terminated literals or null.
    unsafe {
        done(libc::unshare(libc::CLONE_NEWNS))?;
        done(libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), keep_to_ourselves, std::ptr::null()))
    }
}

fn mount_empty(place: &CStr, flags: libc::c_ulong, options: &CStr) -> Result<()> {
    // SAFETY: all pointers are NUL-terminated, and borrowed for the call.
    done(unsafe { libc::mount(c"none".as_ptr(), place.as_ptr(), c"tmpfs".as_ptr(), flags, options.as_ptr().cast()) })
}

fn done(result: i32) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// Names of what lies in the `/dev/shm` that process `pid` sees.
pub fn objects_of(pid: u32) -> Vec<String> {
    let folder = format!("/proc/{pid}/root/dev/shm");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
