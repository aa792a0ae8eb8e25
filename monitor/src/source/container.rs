//! Segments of processes in other mount namespaces, looked at through the process's root directory.
//!
//! What lies there is the container's to arrange. So every name is resolved by the kernel as the process itself would,
//! never leaving its root and following no link at the end.

use super::directory::{Entry, entry};
use super::proc::Proc;
use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat2};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

/// Objects with the name of this process's segment in a `/dev/shm` that is not ours; none where we may not look.
pub(crate) fn objects(proc: &Proc) -> Vec<(Entry, File)> {
    // A directory of another's making may have any number of entries.
    const MOST: usize = 100_000;
    let Some(directory) = directory_of(proc) else { return Vec::new() };
    let Ok(names) = Dir::read_from(&directory) else { return Vec::new() };
    let entries = names.take(MOST).flatten().filter_map(|name| entry(name.file_name().to_bytes()));
    let own = entries.filter(|entry| entry.pid == proc.namespace_pid);
    own.filter_map(|entry| {
        let file = open(&directory, &entry.name)?;
        Some((entry, file))
    })
    .collect()
}

/// The process's `/dev/shm`, if it is another than ours.
fn directory_of(proc: &Proc) -> Option<OwnedFd> {
    let root = rustix::fs::openat(
        CWD,
        format!("/proc/{}/root", proc.pid),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let root = root.ok()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let theirs = File::from(openat2(root, "dev/shm", flags, Mode::empty(), resolve).ok()?);
    let identity = |about: std::fs::Metadata| (about.dev(), about.ino());
    let ours = std::fs::metadata("/dev/shm").ok().map(identity);
    (ours != theirs.metadata().ok().map(identity)).then(|| theirs.into())
}

/// A plain file of that name; opening never waits.
fn open(directory: &OwnedFd, name: &str) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = File::from(openat2(directory, name, flags, Mode::empty(), resolve).ok()?);
    file.metadata().ok()?.is_file().then_some(file)
}
