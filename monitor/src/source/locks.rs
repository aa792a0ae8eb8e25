//! Who holds the locks of segments, as `/proc/locks` has it. It says so to every user, of unreadable objects too, and
//! with PIDs as they are here, in whatever PID namespace the holder is.

use super::directory::Entry;
use super::proc::Proc;
use super::segment::{ObjectId, id_of, owner_of};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

/// The holders at one moment; none where the system does not tell.
pub(crate) struct Locks(Option<BTreeMap<ObjectId, u32>>);

impl Locks {
    /// Reads them, until a reading adds none: where others come and go between two pieces of one, it misses some.
    pub(crate) fn read() -> Self {
        const MOST: usize = 5;
        let mut all: Option<BTreeMap<ObjectId, u32>> = None;
        for _ in 0..MOST {
            let Some(text) = listing() else { break };
            let before = all.as_ref().map(BTreeMap::len);
            let known = all.get_or_insert_default();
            known.extend(text.lines().filter_map(holder));
            if before == Some(known.len()) {
                break;
            }
        }
        Self(all)
    }

    /// Whether the system tells.
    pub(crate) fn are_told(&self) -> bool {
        self.0.is_some()
    }

    /// PID here of the process that holds an object's lock.
    pub(crate) fn holder(&self, object: ObjectId) -> Option<u32> {
        self.0.as_ref()?.get(&object).copied()
    }

    /// Whether the segment of this name can be that of process `pid`.
    pub(crate) fn may_be_of(&self, entry: &Entry, pid: u32) -> bool {
        self.0.is_none() || id_of(&entry.name).and_then(|object| self.holder(object)) == Some(pid)
    }

    /// The process of a segment that we may not read.
    pub(crate) fn process_of(&self, entry: &Entry) -> Option<Proc> {
        if self.0.is_some() {
            let proc = Proc::find(self.holder(id_of(&entry.name)?)?)?;
            return Some(proc).filter(|proc| proc.namespace_pid == entry.pid);
        }
        let owner = owner_of(&entry.name)?;
        Proc::find(entry.pid).filter(|proc| proc.users().is_some_and(|users| users.contains(&owner)))
    }
}

/// In pieces as large as the kernel makes them: it looks for where it was anew for each.
fn listing() -> Option<String> {
    let mut file = File::open("/proc/locks").ok()?;
    let (mut text, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(String::from_utf8_lossy(&text).into_owned()),
            length => text.extend_from_slice(piece.get(..length)?),
        }
    }
}

/// The object and the holder of an exclusive lock: `1: FLOCK  ADVISORY  WRITE 4711 00:1b:1383376 0 EOF`.
fn holder(line: &str) -> Option<(ObjectId, u32)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    if (words.next()?, words.nth(1)?) != ("FLOCK", "WRITE") {
        return None;
    }
    let pid = words.next()?.parse().ok()?;
    let mut object = words.next()?.split(':');
    let mut number = || u32::from_str_radix(object.next()?, 16).ok();
    let device = rustix::fs::makedev(number()?, number()?);
    Some((ObjectId { device, inode: object.next()?.parse().ok()? }, pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_holders_of_exclusive_locks_on_whole_files_are_owners() {
        let object = ObjectId { device: rustix::fs::makedev(0, 0x1b), inode: 1_383_376 };
        assert_eq!(holder("1: FLOCK  ADVISORY  WRITE 4711 00:1b:1383376 0 EOF"), Some((object, 4711)));
        for other in [
            "1: FLOCK  ADVISORY  READ 4711 00:1b:1383376 0 EOF",
            "1: POSIX  ADVISORY  WRITE 4711 00:1b:1383376 0 EOF",
            "1: -> FLOCK  ADVISORY  WRITE 4711 00:1b:1383376 0 EOF",
            "1: FLOCK  ADVISORY  WRITE -1 00:1b:1383376 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 4711 <none>:0 0 EOF",
            "1: FLOCK",
            "",
        ] {
            assert_eq!(holder(other), None, "{other}");
        }
    }
}
