//! The segments in `/dev/shm`, and the removal of those that dead processes left behind.

use super::segment::{is_unlocked, open_object};
use crate::error::Error;
use crate::model::Time;
use crate::model::time::NANOS;
use rustix::fs::{FlockOperation, flock};
use shm_layout::layout::{GLOBALS_OFFSET, Globals, Header};
use shm_layout::name::{DIRECTORY, SegmentName};
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

/// A dead process's segment stays readable for so long after the last thing it wrote.
const KEEP_SECONDS: f64 = 300.0;
/// And at most so many stay.
const KEEP: usize = 16;

/// Removes segments that dead processes left behind: old ones, and the oldest where there are many.
pub(crate) fn sweep(entries: &[Entry]) {
    let mut dead: Vec<LeftOver<'_>> = entries.iter().filter_map(LeftOver::examine).collect();
    dead.sort_by_key(|left_over| std::cmp::Reverse(left_over.last_sign));
    let now = Time::now();
    for (position, left_over) in dead.iter().enumerate() {
        if position >= KEEP || now.seconds_since(left_over.last_sign) > KEEP_SECONDS {
            left_over.remove();
        }
    }
}

struct LeftOver<'a> {
    entry: &'a Entry,
    file: File,
    /// The last time at which the process is known to have lived.
    last_sign: Time,
}

impl<'a> LeftOver<'a> {
    fn examine(entry: &'a Entry) -> Option<Self> {
        let file = open_object(&entry.name).ok().filter(is_unlocked)?;
        let about = file.metadata().ok()?;
        let modified = u64::try_from(about.mtime()).unwrap_or(0).saturating_mul(NANOS);
        let number = |offset: usize| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, offset as u64).map_or(0, |()| u64::from_ne_bytes(bytes))
        };
        let created = Time(number(offset_of!(Header, created_realtime_ns)));
        let wrote = created.plus_seconds(number(GLOBALS_OFFSET + offset_of!(Globals, last_second)));
        // A time to come is a false one.
        let last_sign = Some(wrote).filter(|&time| time <= Time::now()).unwrap_or(Time(0)).max(Time(modified));
        Some(Self { entry, file, last_sign })
    }

    /// Removes the object unless its name has passed to another. Objects of other users stay: the directory is sticky.
    fn remove(&self) {
        let same =
            || Some(open_object(&self.entry.name).ok()?.metadata().ok()?.ino() == self.file.metadata().ok()?.ino());
        if flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok() && same() == Some(true) {
            let _ = std::fs::remove_file(format!("{DIRECTORY}{}", self.entry.name));
        }
    }
}
