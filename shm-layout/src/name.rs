//! What a segment is called: `statsalloc.<pid>`, or `statsalloc.<pid>.<n>` where a live process in another PID
//! namespace holds the plain name.

/// Every segment's name starts with this.
pub const PREFIX: &str = "statsalloc.";
/// Where POSIX shared-memory objects appear.
pub const DIRECTORY: &str = "/dev/shm/";
/// Where the plain name is taken, `n` runs from 1 to this.
pub const MAX_SUFFIX: u32 = 63;
/// Longest name in bytes.
pub const MAX_LEN: usize = PREFIX.len() + 10 + 1 + 10;

/// How long a dead process's object is kept from when a sweep found it dead, in seconds. Library and monitor both sweep.
pub const DEAD_SECONDS: u64 = 300;
/// How many of them are kept at most.
pub const DEAD_KEPT: usize = 16;
/// Permission bit set on an object that was found dead (the sticky bit): it means nothing for a file, and setting it dates
/// the file's status. Nothing else says when its process died.
pub const DEAD_MARK: u32 = 0o1000;

/// A segment's name, without directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentName {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl SegmentName {
    /// The name for `pid`; `suffix` 0 is the plain one.
    pub fn new(pid: u32, suffix: u32) -> Self {
        let mut name = Self { bytes: [0; MAX_LEN], len: 0 };
        name.push(PREFIX.as_bytes());
        name.push_number(pid);
        if suffix != 0 {
            name.push(b".");
            name.push_number(suffix);
        }
        name
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default()).unwrap_or_default()
    }

    /// Reads a name: `(pid, suffix)`, or `None` for a file that is not a segment.
    pub fn parse(name: &[u8]) -> Option<(u32, u32)> {
        let rest = name.strip_prefix(PREFIX.as_bytes())?;
        let mut parts = rest.splitn(2, |&byte| byte == b'.');
        let pid = number(parts.next()?)?;
        let suffix = match parts.next() {
            None => 0,
            Some(digits) => number(digits).filter(|&n| n != 0)?,
        };
        Some((pid, suffix))
    }

    fn push(&mut self, text: &[u8]) {
        for (place, &byte) in self.bytes.iter_mut().skip(self.len).zip(text) {
            *place = byte;
        }
        self.len += text.len();
    }

    fn push_number(&mut self, number: u32) {
        let mut divisor = 1_000_000_000;
        while divisor > 1 && number < divisor {
            divisor /= 10;
        }
        while divisor > 0 {
            self.push(&[b'0' + (number / divisor % 10) as u8]);
            divisor /= 10;
        }
    }
}

/// A decimal number as we write it: no sign, no leading zero.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits[0] == b'0' {
        return None;
    }
    digits.iter().try_fold(0u32, |sum, &digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn names_are_read_back() {
        for (pid, suffix, text) in [
            (1, 0, "statsalloc.1"),
            (4_194_304, 0, "statsalloc.4194304"),
            (u32::MAX, u32::MAX, "statsalloc.4294967295.4294967295"),
            (10, 2, "statsalloc.10.2"),
        ] {
            let name = SegmentName::new(pid, suffix);
            assert_eq!(name.as_str().to_string(), text);
            assert_eq!(SegmentName::parse(text.as_bytes()), Some((pid, suffix)));
        }
    }

    #[test]
    fn other_files_are_no_segments() {
        for text in [
            "statsalloc.",
            "statsalloc.x",
            "statsalloc.1.",
            "statsalloc.1.0",
            "statsalloc.01",
            "statsalloc.1.2.3",
            "sem.x",
            "statsalloc.99999999999",
        ] {
            assert_eq!(SegmentName::parse(text.as_bytes()), None, "{text}");
        }
    }
}
