//! `/proc/self/maps`, a line at a time, without a heap.

use crate::os;
use crate::print::Line;
use shm_layout::layout::MODULE_BYTES;

/// One mapping of the process.
#[derive(Clone, Copy)]
pub(super) struct Mapping {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it can be read, written or executed.
    pub(super) accessible: bool,
    pub(super) executable: bool,
    /// Where in the file it begins.
    pub(super) offset: u64,
    /// The file's inode; 0 where there is no file.
    pub(super) inode: u64,
    name: Ends<256>,
}

/// A text. Of one longer than `N` bytes the beginning and the last [`MODULE_BYTES`] are kept.
#[derive(Clone, Copy)]
pub(super) struct Ends<const N: usize> {
    bytes: [u8; N],
    /// Length of the whole text.
    len: usize,
}

impl<const N: usize> Ends<N> {
    const EMPTY: Self = Self { bytes: [0; N], len: 0 };

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        } else if let Some(end) = self.bytes.last_chunk_mut::<MODULE_BYTES>() {
            end.rotate_left(1);
            end[MODULE_BYTES - 1] = byte;
        }
        self.len += 1;
    }

    /// Length of the whole text in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What is kept.
    fn kept(&self) -> &[u8] {
        self.bytes.get(..self.len.min(N)).unwrap_or_default()
    }

    /// The last [`MODULE_BYTES`] of it, or all.
    pub(super) fn end(&self) -> &[u8] {
        let kept = self.kept();
        kept.last_chunk::<MODULE_BYTES>().map_or(kept, |end| end)
    }
}

/// The last bytes of a path.
pub(super) type PathEnd = Ends<MODULE_BYTES>;

/// The last part of a path, cut at 64 bytes.
#[derive(Clone, Copy)]
pub(super) struct FileName {
    bytes: [u8; 64],
    len: usize,
}

impl FileName {
    /// Appends it, printable.
    pub(super) fn describe(&self, mut line: Line) -> Line {
        for &byte in self.bytes.iter().take(self.len) {
            line.push(&[if byte.is_ascii_control() { b'?' } else { byte }]);
        }
        line
    }
}

impl PathEnd {
    /// What follows the last slash.
    pub(super) fn file_name(&self) -> FileName {
        let name = self.kept().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let mut file = FileName { bytes: [0; 64], len: name.len().min(64) };
        for (place, &byte) in file.bytes.iter_mut().zip(name) {
            *place = byte;
        }
        file
    }
}

impl Mapping {
    pub(super) const NONE: Self =
        Self { start: 0, end: 0, accessible: false, executable: false, offset: 0, inode: 0, name: Ends::EMPTY };

    pub(super) fn contains(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// A path, a name in brackets, or nothing.
    pub(super) fn name(&self) -> &[u8] {
        self.name.kept()
    }

    /// The name's end, and how long all of it is.
    pub(super) fn path(&self) -> PathEnd {
        let mut path = PathEnd::EMPTY;
        self.name.end().iter().for_each(|&byte| path.push(byte));
        path.len = self.name.len();
        path
    }

    pub(super) fn file_name(&self) -> FileName {
        self.path().file_name()
    }

    /// A line of the file, without its newline; `None` if it is none.
    fn parse(line: &Ends<LINE>) -> Option<Self> {
        let mut rest = line.kept();
        let dropped = line.len() - rest.len();
        let mut field = || {
            let at = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
            let (field, behind) = rest.split_at(at);
            rest = behind.get(1..).unwrap_or_default();
            field
        };
        let (range, access, offset, _device, inode) = (field(), field(), field(), field(), field());
        let mut ends = range.splitn(2, |&byte| byte == b'-');
        let mut mapping = Self {
            start: number(ends.next()?, 16)? as usize,
            end: number(ends.next()?, 16)? as usize,
            accessible: access.get(..3)? != b"---",
            executable: access.get(2) == Some(&b'x'),
            offset: number(offset, 16)?,
            inode: number(inode, 10)?,
            ..Self::NONE
        };
        rest.trim_ascii_start().iter().for_each(|&byte| mapping.name.push(byte));
        mapping.name.len += dropped;
        Some(mapping)
    }
}

fn number(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, &digit| {
        let digit = char::from(digit).to_digit(base)?;
        sum.checked_mul(base.into())?.checked_add(digit.into())
    })
}

/// So much is kept of a line.
const LINE: usize = 512;

/// Cuts a stream of bytes into lines.
struct Lines(Ends<LINE>);

impl Lines {
    fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(&Mapping)) {
        for &byte in bytes {
            if byte == b'\n' {
                if let Some(mapping) = Mapping::parse(&self.0) {
                    each(&mapping);
                }
                self.0.len = 0;
            } else {
                self.0.push(byte);
            }
        }
    }
}

/// Calls `each` with every mapping of this process, by ascending address. An error if they cannot be read.
pub(super) fn each(each: &mut dyn FnMut(&Mapping)) -> os::Result<()> {
    let fd = os::open(c"/proc/self/maps", libc::O_RDONLY, 0)?;
    let mut lines = Lines(Ends::EMPTY);
    let mut buffer = [0; 1024];
    let result = loop {
        match os::read(fd, &mut buffer) {
            Ok(0) => break Ok(()),
            Ok(length) => lines.feed(buffer.get(..length).unwrap_or_default(), each),
            Err(os::Errno(libc::EINTR)) => {}
            Err(error) => break Err(error),
        }
    };
    os::close(fd);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn parsed(text: &str, step: usize) -> Vec<Mapping> {
        let mut lines = Lines(Ends::EMPTY);
        let mut all = Vec::new();
        for bytes in text.as_bytes().chunks(step) {
            lines.feed(bytes, &mut |mapping| all.push(*mapping));
        }
        all
    }

    #[test]
    fn lines_of_every_form_are_understood() {
        let text = "55d0-55d8 r-xp 00002000 fe:00 1234                       /usr/bin/a b c\n\
            7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]\n\
            7f00-7f01 ---p 00000000 00:00 0 \n\
            7f01-7f02 rw-s 00000000 00:01 77 /memfd:x (deleted)\n";
        for step in [1, 7, 1000] {
            let all = parsed(text, step);
            let names: Vec<_> =
                all.iter().map(|mapping| String::from_utf8_lossy(mapping.name()).into_owned()).collect();
            assert_eq!(names, ["/usr/bin/a b c", "[stack]", "", "/memfd:x (deleted)"]);
            assert_eq!((all[0].start, all[0].end, all[0].offset, all[0].inode), (0x55d0, 0x55d8, 0x2000, 1234));
            assert!(all[0].executable && all[0].accessible && !all[2].accessible && all[3].accessible);
            assert!(all[1].contains(0x7ffd_0000_0000) && !all[1].contains(0x7ffd_0002_1000));
        }
    }

    #[test]
    fn nonsense_is_passed_over_and_of_endless_names_the_ends_are_kept() {
        let mut text = String::from("\n \nx-y rw-p 0 0:0 0\n1-2\n1 rw-p 0 0:0 0\n1-2 rw 0 0:0 0\n");
        assert!(parsed(&text, 3).is_empty());
        for length in [90, 140, 300, 5000] {
            let folders = "x".repeat(length);
            text.push_str("1000-2000 rw-p 0 0:0 5 /memfd:");
            text.push_str(&folders);
            text.push_str("/libend.so\n");
            let all = parsed(&text, 100);
            let path = all[0].path();
            assert!(all.len() == 1 && all[0].name().starts_with(b"/memfd:"));
            assert!(path.end().ends_with(b"x/libend.so") && path.end().len() == MODULE_BYTES);
            assert_eq!(path.len(), "/memfd:/libend.so".len() + length);
            assert_eq!(path.file_name().describe(Line::new()).bytes(), b"libend.so");
            text.clear();
        }
    }

    #[test]
    fn this_process_has_a_stack_and_its_code() {
        let code = each as *const () as usize;
        let (mut stack, mut own) = (false, false);
        each(&mut |mapping| {
            stack |= mapping.name() == b"[stack]";
            own |= mapping.contains(code) && mapping.executable && mapping.inode != 0;
        })
        .unwrap();
        assert!(stack && own);
    }
}
