//! The segments in `/dev/shm`, and the removal of those that dead processes left behind.

use super::segment::{is_unlocked, open_object};
use crate::error::Error;
use crate::model::Time;
use crate::model::time::NANOS;
use rustix::fs::{FlockOperation, Mode, flock};
use shm_layout::layout::{ENDED_REMOVED, GLOBALS_OFFSET, Globals};
use shm_layout::name::{DEAD_KEPT, DEAD_MARK, DEAD_SECONDS, DIRECTORY, SegmentName};
use std::fs::File;
use std::io::ErrorKind;
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};

/// A name in the directory that is a segment's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry {
    /// PID in the process's own PID namespace.
    pub(crate) pid: u32,
    suffix: u32,
    /// The name.
    pub(crate) name: String,
}

impl Entry {
    /// Removes the object of this inode if its process is dead, and its name has not passed to another.
    pub(crate) fn remove_dead(&self, inode: u64) {
        self.remove_if(inode, |file| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok());
    }

    /// Removes the object of this inode, whose process was about to do it, unless its name has passed to another.
    pub(crate) fn remove(&self, inode: u64) {
        self.remove_if(inode, |_| true);
    }

    fn remove_if(&self, inode: u64, may: impl FnOnce(&File) -> bool) {
        let Ok(file) = open_object(&self.name) else { return };
        let same = file.metadata().is_ok_and(|about| about.ino() == inode);
        if same && may(&file) {
            let _ = std::fs::remove_file(format!("{DIRECTORY}{}", self.name));
        }
    }
}

/// All segments, by PID. A system without the directory has none.
pub(crate) fn entries() -> Result<Vec<Entry>, Error> {
    let listing = match std::fs::read_dir(DIRECTORY) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(|cause| Error::io(format!("listing {DIRECTORY}"), cause))?,
    };
    let mut entries: Vec<Entry> = listing.flatten().filter_map(|file| entry(file.file_name().as_bytes())).collect();
    entries.sort();
    Ok(entries)
}

/// The entry for a file's name, if that is a segment's.
pub(crate) fn entry(name: &[u8]) -> Option<Entry> {
    let (pid, suffix) = SegmentName::parse(name)?;
    Some(Entry { pid, suffix, name: SegmentName::new(pid, suffix).as_str().to_owned() })
}

/// Set on an object that was found dead.
const MARK: Mode = Mode::from_bits_retain(DEAD_MARK);

/// Removes segments that dead processes left behind: old ones, and the oldest where there are many. Those of other
/// users stay: the directory is sticky.
pub(crate) fn sweep(entries: &[Entry], now: Time) {
    let mut dead: Vec<LeftOver<'_>> = entries.iter().filter_map(|entry| LeftOver::examine(entry, now)).collect();
    dead.sort_by_key(|left_over| std::cmp::Reverse((left_over.found, left_over.made)));
    for (position, left_over) in dead.iter().enumerate() {
        if position >= DEAD_KEPT || now.seconds_since(left_over.found) > DEAD_SECONDS as f64 {
            left_over.remove();
        }
    }
}

struct LeftOver<'a> {
    entry: &'a Entry,
    file: File,
    /// When it was found that its process was dead.
    found: Time,
    /// When it was made, which tells apart those that were found at once.
    made: Time,
}

/// Whether its process has ended in an orderly way, and has only not been able to remove it.
fn was_to_be_removed(file: &File) -> bool {
    let mut word = [0; 8];
    let read = file.read_exact_at(&mut word, (GLOBALS_OFFSET + offset_of!(Globals, ended)) as u64);
    read.is_ok() && u64::from_ne_bytes(word) == ENDED_REMOVED
}

impl<'a> LeftOver<'a> {
    fn examine(entry: &'a Entry, now: Time) -> Option<Self> {
        let file = open_object(&entry.name).ok().filter(is_unlocked)?;
        let about = file.metadata().ok()?;
        if was_to_be_removed(&file) {
            entry.remove_dead(about.ino());
            return None;
        }
        let time = |seconds: i64, nanoseconds: i64| {
            Time(u64::try_from(seconds).unwrap_or(0).saturating_mul(NANOS).saturating_add(nanoseconds.unsigned_abs()))
        };
        let mode = Mode::from_raw_mode(about.mode());
        let found = if mode.contains(MARK) {
            time(about.ctime(), about.ctime_nsec())
        } else {
            // Of another user's nothing can be changed, and nothing removed.
            let permissions = mode & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
            let _ = rustix::fs::fchmod(&file, permissions | MARK);
            now
        };
        Some(Self { entry, found, made: time(about.mtime(), about.mtime_nsec()), file })
    }

    fn remove(&self) {
        if let Ok(about) = self.file.metadata() {
            self.entry.remove_dead(about.ino());
        }
    }
}
