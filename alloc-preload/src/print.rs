//! Text without allocation: one line, built on the stack, written in one call.

use crate::os;
use core::fmt::{self, Write};

/// A line of text, cut at its capacity.
pub(crate) struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; 512], len: 0 }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn text(mut self, text: &str) -> Self {
        let _ = self.write_str(text);
        self
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn number(mut self, number: u64) -> Self {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(digits.get(at..).unwrap_or_default());
        self
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn hex(mut self, number: u64) -> Self {
        self.push(b"0x");
        let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            self.push(&[b"0123456789abcdef"[(number >> (digit * 4) & 15) as usize]]);
        }
        self
    }

    /// Writes the line to standard error.
    pub(crate) fn print(mut self) {
        self.push(b"\n");
        let _ = os::write(2, self.bytes());
    }

    /// What was written so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let taken = bytes.len().min(room.len());
        for (place, &byte) in room.iter_mut().zip(bytes) {
            *place = byte;
        }
        self.len += taken;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// An impossible state: says what, and aborts.
#[cold]
#[inline(never)]
pub(crate) fn fatal(what: &str) -> ! {
    Line::new().text("statsalloc: internal error: ").text(what).print();
    os::raise(libc::SIGABRT);
    os::exit_group(134)
}
