//! Reading the options from the environment: libc's where it is there, the loader's or the kernel's before.

use super::{OPTIONS, Opt, Options, PREFIX};
use crate::os;
use crate::print::Line;
use core::ffi::{CStr, c_char};
use core::ptr::{addr_of, addr_of_mut, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

impl Options {
    /// What the environment says. Allocates nothing, and needs nothing of libc to be initialised.
    pub(crate) fn read() -> Self {
        let mut options = Self::DEFAULT;
        if os::is_secure() {
            return options;
        }
        // SAFETY: libc's variable. The first allocation comes before any code of the program that could change it.
        let mut environment = unsafe { *addr_of!(environ) };
        if environment.is_null() {
            environment = GIVEN.load(Ordering::Relaxed).cast_const();
        }
        if environment.is_null() {
            // Inside the dynamic loader: libc has not been initialised yet.
            read_proc(&mut options);
        } else {
            // SAFETY: libc's environment: strings, then a null pointer.
            unsafe { read_environ(&mut options, environment) };
        }
        options
    }

    /// Applies one `NAME=value` where it is one of ours.
    fn apply(&mut self, entry: &[u8], complain: &mut dyn FnMut(Complaint<'_>)) {
        if !entry.starts_with(PREFIX) {
            return;
        }
        let mut parts = entry.splitn(2, |&byte| byte == b'=');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return };
        match OPTIONS.iter().find(|option| option.name.as_bytes() == name) {
            None => complain(Complaint::Unknown { name }),
            Some(option) => {
                if !(option.set)(self, value) {
                    complain(Complaint::BadValue { option, value });
                }
            }
        }
    }
}

/// What the loader has given to our constructor, which may come before libc's; null before that.
static GIVEN: AtomicPtr<*const c_char> = AtomicPtr::new(null_mut());

/// Takes note of the environment as the loader gives it to constructors.
///
/// # Safety
/// It is what the loader has given.
pub(crate) unsafe fn give(environment: *const *const c_char) {
    GIVEN.store(environment.cast_mut(), Ordering::Relaxed);
}

/// Has the C library know the environment before it has been initialised: for code that is not ours. It will be given the same.
#[cold]
pub(crate) fn lend_environment() {
    // SAFETY: libc's variable; the library's constructor comes before all other code of the process.
    unsafe {
        if (*addr_of!(environ)).is_null() {
            *addr_of_mut!(environ) = GIVEN.load(Ordering::Relaxed).cast_const();
        }
    }
}

unsafe extern "C" {
    static mut environ: *const *const c_char;
}

/// # Safety
/// `environment` is a null-terminated array of strings.
unsafe fn read_environ(options: &mut Options, mut environment: *const *const c_char) {
    loop {
        // SAFETY: not beyond the null pointer.
        let entry = unsafe { *environment };
        if entry.is_null() {
            return;
        }
        // SAFETY: a string, read up to the first byte that differs, and as a whole where none does.
        unsafe {
            if PREFIX.iter().enumerate().all(|(i, &byte)| *entry.add(i) as u8 == byte) {
                options.apply(CStr::from_ptr(entry).to_bytes(), &mut |complaint| complaint.describe().print());
            }
            environment = environment.add(1);
        }
    }
}

fn read_proc(options: &mut Options) {
    let Ok(fd) = os::open(c"/proc/self/environ", libc::O_RDONLY, 0) else { return };
    let mut entries = Entries::new();
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = os::read(fd, &mut buffer) {
        let bytes = buffer.get(..length).unwrap_or_default();
        entries.feed(bytes, &mut |entry| options.apply(entry, &mut |complaint| complaint.describe().print()));
    }
    os::close(fd);
}

/// Cuts a stream of bytes into entries that end with NUL. Of a longer entry than any of ours only the start is kept.
struct Entries {
    entry: [u8; 128],
    len: usize,
}

impl Entries {
    fn new() -> Self {
        Self { entry: [0; 128], len: 0 }
    }

    fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        for &byte in bytes {
            if byte == 0 {
                each(self.entry.get(..self.len).unwrap_or_default());
                self.len = 0;
            } else if let Some(place) = self.entry.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
    }
}

/// What is wrong with an entry of the environment.
enum Complaint<'a> {
    Unknown { name: &'a [u8] },
    BadValue { option: &'static Opt, value: &'a [u8] },
}

impl Complaint<'_> {
    #[cold]
    #[inline(never)]
    fn describe(&self) -> Line {
        match *self {
            Self::Unknown { name } => {
                let mut line = Line::new().text("statsalloc: there is no option ");
                push_printable(&mut line, name);
                OPTIONS.iter().fold(line.text(", only"), |line, option| line.text(" ").text(option.name))
            }
            Self::BadValue { option, value } => {
                let mut line = Line::new().text("statsalloc: ").text(option.name).text("=");
                push_printable(&mut line, value);
                let line = line.text(" is not understood, using ").text(option.default);
                line.text(" (").text(option.help).text(": ").text(option.values).text(")")
            }
        }
    }
}

/// At most 64 bytes of what somebody else wrote, without control characters.
#[cold]
#[inline(never)]
fn push_printable(line: &mut Line, bytes: &[u8]) {
    for &byte in bytes.iter().take(64) {
        line.push(&[if byte.is_ascii_control() { b'?' } else { byte }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Huge, MisuseAction, MisuseActions};
    use std::{string::String, vec::Vec};

    /// Feeds a block as `/proc/self/environ` holds it, a few bytes at a time.
    fn parse(block: &[u8]) -> (Options, Vec<String>) {
        let mut options = Options::DEFAULT;
        let mut complaints = Vec::new();
        let mut entries = Entries::new();
        for bytes in block.chunks(7) {
            entries.feed(bytes, &mut |entry| {
                options.apply(entry, &mut |complaint| {
                    complaints.push(String::from_utf8_lossy(complaint.describe().bytes()).into_owned());
                });
            });
        }
        (options, complaints)
    }

    #[test]
    fn the_table_states_the_defaults() {
        let mut options = Options {
            misuse: MisuseActions::all(MisuseAction::Count),
            decay_ms: None,
            huge: Huge::Never,
            harden: true,
            publish: false,
            keep: true,
            verbose: true,
            background: true,
        };
        for option in &OPTIONS {
            assert!((option.set)(&mut options, option.default.as_bytes()), "{}", option.name);
            assert!(option.name.as_bytes().starts_with(PREFIX));
        }
        assert_eq!(options, Options::DEFAULT);
    }

    #[test]
    fn values_are_read() {
        let block = b"A=b\0STATSALLOC_MISUSE=warn\0STATSALLOC_DECAY_MS=0\0STATSALLOC_HUGE=never\0STATSALLOC_HARDEN=1\0\
            STATSALLOC_PUBLISH=0\0STATSALLOC_KEEP=1\0STATSALLOC_VERBOSE=1\0STATSALLOC_BACKGROUND=1\0Z=\0";
        let (options, complaints) = parse(block);
        let wanted = Options {
            misuse: MisuseActions::all(MisuseAction::Warn),
            decay_ms: Some(0),
            huge: Huge::Never,
            harden: true,
            publish: false,
            keep: true,
            verbose: true,
            background: true,
        };
        assert_eq!(options, wanted);
        assert!(complaints.is_empty());
        assert_eq!(parse(b"STATSALLOC_DECAY_MS=-1\0").0.decay_ms, None);
        assert_eq!(parse(b"STATSALLOC_DECAY_MS=never\0").0.decay_ms, None);
        assert_eq!(parse(b"STATSALLOC_DECAY_MS=4294967295\0").0.decay_ms, Some(u32::MAX));
    }

    #[test]
    fn each_kind_of_misuse_has_an_action_of_its_own() {
        use MisuseAction::{Abort, Count, Warn};
        let parsed = |value: &str| MisuseActions::parse(value.as_bytes());
        let all = |action| MisuseActions { foreign: action, ..MisuseActions::all(action) };
        assert_eq!(parsed("abort"), Some(MisuseActions { foreign: Warn, ..all(Abort) }));
        assert_eq!(parsed("warn"), Some(all(Warn)));
        assert_eq!(parsed("count"), Some(all(Count)));
        assert_eq!(parsed("foreign=abort"), Some(all(Abort)));
        assert_eq!(
            parsed("warn,double=abort,list=count"),
            Some(MisuseActions { double: Abort, list: Count, ..all(Warn) })
        );
        assert_eq!(parsed("interior=count,wild=warn,foreign=count"), {
            Some(MisuseActions { interior: Count, wild: Warn, foreign: Count, ..all(Abort) })
        });
        for bad in ["", ",", "warn,", "double", "double=", "double=die", "=abort", "other=warn", "double=warn=abort"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bad_value_is_one_line_and_the_default() {
        for (entry, shown) in [
            ("STATSALLOC_MISUSE=die", "STATSALLOC_MISUSE=die is not understood, using abort (what"),
            ("STATSALLOC_MISUSE=", "STATSALLOC_MISUSE= is not understood"),
            ("STATSALLOC_DECAY_MS=4294967296", "STATSALLOC_DECAY_MS=4294967296 is not understood, using 1000"),
            ("STATSALLOC_DECAY_MS=1s", "STATSALLOC_DECAY_MS=1s is not understood"),
            ("STATSALLOC_PUBLISH=yes\n", "STATSALLOC_PUBLISH=yes? is not understood, using 1"),
            ("STATSALLOC_MISUES=abort", "there is no option STATSALLOC_MISUES, only STATSALLOC_MISUSE STATSALLOC_D"),
        ] {
            let (options, complaints) = parse(format!("PATH=/bin\0{entry}\0HOME=/\0").as_bytes());
            assert_eq!(options, Options::DEFAULT);
            assert_eq!(complaints.len(), 1);
            assert!(complaints[0].contains(shown), "{}", complaints[0]);
        }
    }

    #[test]
    fn other_and_endless_entries_are_passed_over() {
        let mut block = Vec::new();
        block.extend_from_slice(b"LONG=");
        block.resize(100_000, b'x');
        block.extend_from_slice(
            b"\0XSTATSALLOC_MISUSE=warn\0STATSALLOC_\0=\0\0STATSALLOC_HUGE=always\0STATSALLOC_HUGE=",
        );
        block.resize(200_000, b'n');
        let (options, complaints) = parse(&block);
        assert_eq!(options, Options { huge: Huge::Always, ..Options::DEFAULT });
        assert!(complaints.is_empty());
        block.push(0);
        assert_eq!(parse(&block).1.len(), 1);
    }
}
