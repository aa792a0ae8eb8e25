//! The options: one table, read once from the program's environment. The README's table is printed from it.

use crate::bare::BARE;
use crate::os;
use crate::print::Line;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::ptr::addr_of;

/// What a misuse does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MisuseAction {
    /// One line on standard error, then `SIGABRT`.
    Abort,
    /// One line on standard error.
    Warn,
    /// Only counted and recorded.
    Count,
}

/// What each kind of misuse does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MisuseActions {
    /// A block that has been freed before.
    pub(crate) double: MisuseAction,
    /// A pointer into a live block, or one to it with the wrong size.
    pub(crate) interior: MisuseAction,
    /// A pointer that was never anybody's block.
    pub(crate) wild: MisuseAction,
    /// A pointer that may be another allocator's block. A warning comes once for each caller.
    pub(crate) foreign: MisuseAction,
    /// A free list that does not hold together.
    pub(crate) list: MisuseAction,
}

impl MisuseActions {
    /// All do the same, but that foreign pointers never end the program unless that is asked for by their name.
    const fn all(action: MisuseAction) -> Self {
        let foreign = match action {
            MisuseAction::Count => MisuseAction::Count,
            MisuseAction::Abort | MisuseAction::Warn => MisuseAction::Warn,
        };
        Self { double: action, interior: action, wild: action, foreign, list: action }
    }

    fn of_kind(&mut self, kind: &[u8]) -> Option<&mut MisuseAction> {
        match kind {
            b"double" => Some(&mut self.double),
            b"interior" => Some(&mut self.interior),
            b"wild" => Some(&mut self.wild),
            b"foreign" => Some(&mut self.foreign),
            b"list" => Some(&mut self.list),
            _ => None,
        }
    }

    /// `action` and `kind=action`, separated by commas; a later one goes before an earlier one.
    fn parse(value: &[u8]) -> Option<Self> {
        let mut actions = Options::DEFAULT.misuse;
        for item in value.split(|&byte| byte == b',') {
            match item.iter().position(|&byte| byte == b'=') {
                None => actions = Self::all(misuse_action(item)?),
                Some(at) => {
                    let (kind, action) = item.split_at(at);
                    *actions.of_kind(kind)? = misuse_action(action.get(1..)?)?;
                }
            }
        }
        Some(actions)
    }
}

/// Whether huge pages are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Huge {
    /// Once the heap is large and well filled.
    Auto,
    /// From the start.
    Always,
    Never,
}

/// How this program wants its heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    pub(crate) misuse: MisuseActions,
    /// Milliseconds until cached memory is handed back; `None`: never.
    pub(crate) decay_ms: Option<u32>,
    pub(crate) huge: Huge,
    /// See `harden`.
    pub(crate) harden: bool,
    pub(crate) publish: bool,
    /// Whether the segment outlives an orderly end.
    pub(crate) keep: bool,
    pub(crate) verbose: bool,
    /// Whether a thread of ours gives memory back while the program is idle.
    pub(crate) background: bool,
}

struct Chosen(UnsafeCell<Options>);

// SAFETY: written once by `choose`, before any second thread makes its first call.
unsafe impl Sync for Chosen {}

static CHOSEN: Chosen = Chosen(UnsafeCell::new(Options::DEFAULT));

/// The options of this process.
#[inline]
pub(crate) fn options() -> &'static Options {
    // SAFETY: see `Chosen`.
    unsafe { &*CHOSEN.0.get() }
}

/// # Safety
/// Once, while the process is booted.
pub(crate) unsafe fn choose(options: Options) {
    // SAFETY: the caller's.
    unsafe { *CHOSEN.0.get() = options };
}

/// One option.
pub(crate) struct Opt {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    /// The values it takes, with their unit.
    pub(crate) values: &'static str,
    pub(crate) help: &'static str,
    /// Stores a value; false where it is not understood.
    set: fn(&mut Options, &[u8]) -> bool,
}

/// Every option's name starts with this.
const PREFIX: &[u8] = b"STATSALLOC_";

pub(crate) static OPTIONS: [Opt; 8] = [
    Opt {
        name: "STATSALLOC_MISUSE",
        default: "abort",
        values: "abort|warn|count, and kind=abort|warn|count for the kinds double, interior, wild, foreign, list",
        help: "what a wrong free does, beside being counted",
        set: |options, value| store(&mut options.misuse, MisuseActions::parse(value)),
    },
    Opt {
        name: "STATSALLOC_DECAY_MS",
        default: "1000",
        values: "milliseconds, 0 (at once) or never",
        help: "how long freed memory is kept before it goes back to the system",
        set: |options, value| store(&mut options.decay_ms, decay(value)),
    },
    Opt {
        name: "STATSALLOC_HUGE",
        default: "auto",
        values: "auto|always|never",
        help: "whether to ask for huge pages",
        set: |options, value| store(&mut options.huge, huge(value)),
    },
    Opt {
        name: "STATSALLOC_HARDEN",
        default: "0",
        values: "0|1",
        help: "whether to look for writes beyond a block's end and after its free, at a price",
        set: |options, value| store(&mut options.harden, switch(value)),
    },
    Opt {
        name: "STATSALLOC_PUBLISH",
        default: "1",
        values: "1|0",
        help: "whether statsmon can see the heap",
        set: |options, value| store(&mut options.publish, switch(value)),
    },
    Opt {
        name: "STATSALLOC_KEEP",
        default: "0",
        values: "0|1",
        help: "whether the last state stays readable after an orderly end too, until it is swept",
        set: |options, value| store(&mut options.keep, switch(value)),
    },
    Opt {
        name: "STATSALLOC_VERBOSE",
        default: "0",
        values: "0|1",
        help: "whether to say on standard error why statsmon cannot see the heap",
        set: |options, value| store(&mut options.verbose, switch(value)),
    },
    Opt {
        name: "STATSALLOC_BACKGROUND",
        default: "0",
        values: "0|1",
        help: "whether a thread of the library gives memory back within the decay time while the program is idle",
        set: |options, value| store(&mut options.background, switch(value)),
    },
];

impl Options {
    /// As the table's defaults say.
    pub(crate) const DEFAULT: Self = Self {
        misuse: MisuseActions::all(MisuseAction::Abort),
        decay_ms: Some(1000),
        huge: Huge::Auto,
        harden: false,
        publish: !BARE,
        keep: false,
        verbose: false,
        background: false,
    };

    /// What the environment says. Allocates nothing, and needs nothing of libc to be initialised.
    pub(crate) fn read() -> Self {
        let mut options = Self::DEFAULT;
        if os::is_secure() {
            return options;
        }
        // SAFETY: libc's variable. The first allocation comes before any code of the program that could change it.
        let environment = unsafe { *addr_of!(environ) };
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

unsafe extern "C" {
    static environ: *const *const c_char;
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
fn push_printable(line: &mut Line, bytes: &[u8]) {
    for &byte in bytes.iter().take(64) {
        line.push(&[if byte.is_ascii_control() { b'?' } else { byte }]);
    }
}

fn store<T>(place: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *place = value;
            true
        }
        None => false,
    }
}

fn misuse_action(value: &[u8]) -> Option<MisuseAction> {
    match value {
        b"abort" => Some(MisuseAction::Abort),
        b"warn" => Some(MisuseAction::Warn),
        b"count" => Some(MisuseAction::Count),
        _ => None,
    }
}

fn huge(value: &[u8]) -> Option<Huge> {
    match value {
        b"auto" => Some(Huge::Auto),
        b"always" => Some(Huge::Always),
        b"never" => Some(Huge::Never),
        _ => None,
    }
}

fn decay(value: &[u8]) -> Option<Option<u32>> {
    match value {
        b"never" | b"-1" => Some(None),
        _ => number(value).map(Some),
    }
}

fn switch(value: &[u8]) -> Option<bool> {
    match value {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
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
    use std::{format, string::String, vec::Vec};

    /// The rows of the README's table, as the code's table has them.
    fn printed() -> String {
        let mut rows = String::from("| variable | default | values | meaning |\n|---|---|---|---|\n");
        for option in &OPTIONS {
            let values = option.values.replace('|', "\\|");
            rows.push_str(&format!("| `{}` | `{}` | {values} | {} |\n", option.name, option.default, option.help));
        }
        rows
    }

    #[test]
    fn the_readme_has_this_table() {
        let readme = include_str!("../../README.md");
        let printed = printed();
        assert!(readme.contains(&format!("\n{printed}\n")), "README.md should hold this table:\n{printed}");
        assert_eq!(readme.matches("| `STATSALLOC_").count(), OPTIONS.len(), "the README's table has rows of its own");
    }

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
