//! A segment: its mapping, whether its owner lives, and copies of what it holds.

use super::mapping::Mapping;
use crate::error::Error;
use crate::model::Identity;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use shm_layout::layout::{CLASS_RING_OFFSET, CLASSES_OFFSET, ROWS_OFFSET};
use shm_layout::name::DIRECTORY;
use shm_layout::reader::{ReadError, Reader};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// A segment that is attached; stays readable after its name is gone.
pub(crate) struct Segment {
    /// None where the object was opened by file alone.
    mapping: Option<Mapping>,
    file: File,
    /// Which object it is.
    pub(crate) id: ObjectId,
    /// User who owns the object.
    pub(crate) owner: u32,
}

/// Room for two copies of a segment, taken one after the other. One serves all segments in turn.
#[derive(Default)]
pub(crate) struct Copies {
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Copies {
    /// What was read last: never below the truth where live figures are concerned, and never above it.
    pub(crate) fn readers(&self, pid: u32) -> Result<(Reader<'_>, Reader<'_>), Error> {
        let both = |one, other| Reader::new(one, other).map_err(|cause: ReadError| Error::unreadable(pid, cause));
        Ok((both(&self.first, &self.second)?, both(&self.second, &self.first)?))
    }
}

/// What tells one object from all others while something holds it: names and PIDs are used again. Inodes alone repeat
/// themselves from one `/dev/shm` to the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ObjectId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl ObjectId {
    pub(crate) fn of(about: &Metadata) -> Self {
        Self { device: about.dev(), inode: about.ino() }
    }

    /// As the identity of a process of which nothing else is known.
    pub(crate) fn identity(self) -> Identity {
        Identity::Segment { device: self.device, inode: self.inode }
    }
}

/// Reads again while the counters move under the copy, so many times at most: a busy program never stands still.
const TRIES: usize = 4;
/// Bytes of rows above which one try must do.
const CHEAP: usize = 256 << 10;

impl Segment {
    /// Attaches to the object called `name`. Something else than a plain file is "not found".
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let file = open_object(name)?;
        let about = file.metadata()?;
        // Nothing can be mapped of an empty one. That it is cut short is told when it is read.
        if about.len() == 0 {
            return Self::new(file, None);
        }
        let mapping = Mapping::open(name)?;
        // The name may have changed hands between the two calls.
        if ObjectId::of(&open_object(name)?.metadata()?) != ObjectId::of(&about) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Self::new(file, Some(mapping))
    }

    /// Opens the object called `name` without mapping it: of many at once the mapped pages would be much memory.
    pub(crate) fn open_file(name: &str) -> io::Result<Self> {
        Self::new(open_object(name)?, None)
    }

    /// A segment whose object is open already. Its name may be gone.
    pub(crate) fn from_file(file: File) -> io::Result<Self> {
        Self::new(file, None)
    }

    fn new(file: File, mapping: Option<Mapping>) -> io::Result<Self> {
        let about = file.metadata()?;
        Ok(Self { mapping, file, id: ObjectId::of(&about), owner: about.uid() })
    }

    /// Whether the process that made it has ended: it holds a lock for as long as it lives.
    pub(crate) fn is_orphaned(&self) -> bool {
        is_unlocked(&self.file)
    }

    /// Reads the segment without the ring of the classes.
    pub(crate) fn read(&self, pid: u32, copies: &mut Copies) -> Result<(), Error> {
        let mut head = [0; CLASSES_OFFSET];
        self.copy(pid, &mut [(0, &mut head)])?;
        let unreadable = |cause| Error::unreadable(pid, cause);
        let mut used = Reader::used_bytes(&head).map_err(unreadable)?;
        for _ in 0..TRIES {
            self.copy_twice(pid, used, copies)?;
            let reader = Reader::new(&copies.first, &copies.second).map_err(unreadable)?;
            if reader.rows_missing() > 0 {
                used = Reader::used_bytes(&copies.second).map_err(unreadable)?;
            } else if used - ROWS_OFFSET > CHEAP || copies.first[ROWS_OFFSET..] == copies.second[ROWS_OFFSET..] {
                break;
            }
        }
        Ok(())
    }

    /// Copies the rows twice with nothing between, and what comes before them once before and once after.
    fn copy_twice(&self, pid: u32, used: usize, copies: &mut Copies) -> Result<(), Error> {
        copies.first.resize(used, 0);
        copies.second.resize(used, 0);
        let (head, rows) = copies.first.split_at_mut(ROWS_OFFSET);
        let (head_again, rows_again) = copies.second.split_at_mut(ROWS_OFFSET);
        let (head, head_again) = (&mut head[..CLASS_RING_OFFSET], &mut head_again[..CLASS_RING_OFFSET]);
        self.copy(pid, &mut [(0, head), (ROWS_OFFSET, rows), (ROWS_OFFSET, rows_again), (0, head_again)])
    }

    /// Reads the ring of the classes into what has just been read. From the file: reading its holes through the mapping
    /// would fill them. Slots of minutes that have ended stay as they are for two hours, so once is enough.
    pub(crate) fn read_class_ring(&self, pid: u32, copies: &mut Copies) -> Result<(), Error> {
        let ring = CLASS_RING_OFFSET..ROWS_OFFSET;
        self.file.read_exact_at(&mut copies.first[ring.clone()], CLASS_RING_OFFSET as u64).map_err(|_| {
            Error::unreadable(pid, ReadError::TooShort { needed: ROWS_OFFSET, got: self.present_len() })
        })?;
        copies.second[ring.clone()].copy_from_slice(&copies.first[ring]);
        Ok(())
    }

    fn copy(&self, pid: u32, parts: &mut [(usize, &mut [u8])]) -> Result<(), Error> {
        // Where a sandbox forbids the first way, or a full file system has no page for a hole, reading the object's file
        // still does; it fails where the object has shrunk.
        let from_file = |parts: &mut [(usize, &mut [u8])]| {
            parts.iter_mut().try_for_each(|(offset, buffer)| self.file.read_exact_at(buffer, *offset as u64))
        };
        let from_mapping = |parts: &mut [(usize, &mut [u8])]| match &self.mapping {
            Some(mapping) => mapping.copy(parts),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        from_mapping(parts).or_else(|_| from_file(parts)).map_err(|_| {
            let needed = parts.iter().map(|(offset, buffer)| offset + buffer.len()).max().unwrap_or(0);
            Error::unreadable(pid, ReadError::TooShort { needed, got: self.present_len() })
        })
    }

    /// Bytes of memory behind the object.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |about| about.blocks().saturating_mul(512))
    }

    fn present_len(&self) -> usize {
        self.file.metadata().map_or(0, |about| usize::try_from(about.len()).unwrap_or(usize::MAX))
    }
}

/// Opens an object for reading. Never waits and follows no link: anybody may put anything into `/dev/shm`.
pub(crate) fn open_object(name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::open(format!("{DIRECTORY}{name}"), flags, Mode::empty()) {
        Err(Errno::LOOP | Errno::NXIO) => return Err(io::ErrorKind::NotFound.into()),
        opened => File::from(opened?),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Whether nobody holds an object's lock.
pub(crate) fn is_unlocked(file: &File) -> bool {
    let free = flock(file, FlockOperation::NonBlockingLockShared).is_ok();
    if free {
        let _ = flock(file, FlockOperation::Unlock);
    }
    free
}

/// The object called `name`, readable or not.
pub(crate) fn id_of(name: &str) -> Option<ObjectId> {
    about(name).as_ref().map(ObjectId::of)
}

/// The user who owns it.
pub(crate) fn owner_of(name: &str) -> Option<u32> {
    about(name).map(|about| about.uid())
}

fn about(name: &str) -> Option<Metadata> {
    std::fs::symlink_metadata(format!("{DIRECTORY}{name}")).ok()
}
