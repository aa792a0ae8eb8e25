//! Objects that dead processes left behind: each new segment looks for some and removes a few.
//!
//! The last state of a crashed process stays readable for a while. Since nothing touches the object when its process
//! dies, the first sweeper that finds it dead marks it (the sticky bit, which means nothing for a file, and which
//! dates its status); [`DEAD_SECONDS`] later it is removed. Where more than [`DEAD_KEPT`] dead ones lie about, the oldest
//! go. What only its own process could not remove goes at once: it would take the place of one that has crashed.

use super::object::{self, Dead, MODE, Path, is_own_object};
use crate::os;
use shm_layout::name::{DEAD_KEPT, DEAD_MARK, DEAD_SECONDS, SegmentName};

/// Most pieces of the directory read in one sweep, of some 25 names each.
const READS: usize = 8;
/// Most objects opened in one sweep.
const OPENED: usize = 24;
/// Most objects removed in one sweep.
const REMOVED: usize = 4;

/// Sweeps a little. `pid` is the caller's, whose own names are left alone.
pub(super) fn sweep(pid: u32) {
    let Ok(directory) = object::open(c"/dev/shm", libc::O_RDONLY | libc::O_DIRECTORY) else { return };
    let mut sweep = Sweep { now: 0, dead: 0, opened: 0, removed: 0, oldest: [NEVER; REMOVED] };
    let mut buffer = [0; 1024];
    for _ in 0..READS {
        let Ok(length @ 1..) = os::entries(directory, &mut buffer) else { break };
        for name in names(buffer.get(..length).unwrap_or_default()) {
            match SegmentName::parse(name) {
                Some((other, suffix)) if other != pid => sweep.look_at(other, suffix),
                _ => {}
            }
            if sweep.opened == OPENED || sweep.removed == REMOVED {
                os::close(directory);
                return;
            }
        }
    }
    os::close(directory);
    if sweep.dead > DEAD_KEPT {
        sweep.thin_out();
    }
}

struct Sweep {
    /// `CLOCK_REALTIME` in nanoseconds, read when first needed.
    now: u64,
    dead: usize,
    opened: usize,
    removed: usize,
    /// When the oldest dead ones were found dead, and their names.
    oldest: [(u64, u32, u32); REMOVED],
}

const NEVER: (u64, u32, u32) = (u64::MAX, 0, 0);

impl Sweep {
    /// Cheap questions first: nearly every object belongs to a live process.
    fn look_at(&mut self, pid: u32, suffix: u32) {
        if os::process_exists(pid) {
            return;
        }
        let path = Path::of(pid, suffix);
        let Ok(status) = os::path_status(path.as_c_str()) else { return };
        if !is_own_object(&status) {
            return;
        }
        let marked = status.mode & DEAD_MARK != 0;
        if self.now == 0 {
            self.now = os::clock_ns(libc::CLOCK_REALTIME);
        }
        let expired = marked && self.now.saturating_sub(status.changed_ns) > DEAD_SECONDS * 1_000_000_000;
        if marked && !expired {
            self.keep((status.changed_ns, pid, suffix));
            return;
        }
        self.opened += 1;
        // Where PID namespaces share /dev/shm, it may be alive all the same.
        let Some(dead) = Dead::open(path.as_c_str()) else { return };
        if expired || dead.was_to_be_removed() {
            dead.unlink(path.as_c_str());
            self.removed += 1;
        } else {
            dead.set_mode(MODE | DEAD_MARK);
            self.keep((self.now, pid, suffix));
        }
    }

    /// Notes a dead object that stays for now.
    fn keep(&mut self, mut object: (u64, u32, u32)) {
        self.dead += 1;
        for place in &mut self.oldest {
            if object.0 < place.0 {
                core::mem::swap(place, &mut object);
            }
        }
    }

    /// Removes the oldest, of which more than [`DEAD_KEPT`] were found.
    #[cold]
    fn thin_out(&self) {
        for &(found, pid, suffix) in self.oldest.iter().take(self.dead - DEAD_KEPT) {
            let path = Path::of(pid, suffix);
            if found != u64::MAX
                && let Some(dead) = Dead::open(path.as_c_str())
            {
                dead.unlink(path.as_c_str());
            }
        }
    }
}

/// The names in a piece of a directory, `linux_dirent64` records: inode (8 bytes), offset (8), length of the record
/// (2), type (1), name.
fn names(mut records: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let length = records.get(16..18)?;
        let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
        let name = records.get(19..length)?;
        records = records.get(length..)?;
        name.split(|&byte| byte == 0).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn record(name: &[u8], bytes: &mut Vec<u8>) {
        let length = (19 + name.len() + 1).next_multiple_of(8);
        let end = bytes.len() + length;
        bytes.extend_from_slice(&[0xaa; 16]);
        bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        bytes.push(8);
        bytes.extend_from_slice(name);
        bytes.resize(end, 0);
    }

    #[test]
    fn directory_records_are_read() {
        let mut bytes = Vec::new();
        for name in [&b"."[..], b"..", b"statsalloc.1", b"statsalloc.4194304.12"] {
            record(name, &mut bytes);
        }
        assert_eq!(names(&bytes).collect::<Vec<_>>(), [&b"."[..], b"..", b"statsalloc.1", b"statsalloc.4194304.12"]);
        assert_eq!(names(&bytes[..bytes.len() - 1]).count(), 3);
        assert_eq!(names(&[]).count(), 0);
        assert_eq!(names(&[0; 64]).count(), 0);
    }
}
