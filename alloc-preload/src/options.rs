//! The options: one table, read once from the program's environment (`environment`). The README's table is printed from
//! it.

mod environment;

pub(crate) use environment::{give, lend_environment};

use crate::bare::BARE;
use core::cell::UnsafeCell;

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
    /// Memory of the heap that was overwritten: a block on its way to its owner, or what a hardened heap finds.
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

/// Whether huge pages are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Huge {
    /// Where they cost next to no memory and are not dear: see `window::huge` and `span::growth`.
    Auto,
    /// Where they cost next to no memory, however long they take.
    Filled,
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
        values: "milliseconds, 0 (at once) or never (-1)",
        help: "how long freed memory is kept before it goes back to the system",
        set: |options, value| store(&mut options.decay_ms, decay(value)),
    },
    Opt {
        name: "STATSALLOC_HUGE",
        default: "auto",
        values: "auto|filled|always|never",
        help: "whether to use huge pages; `filled` does where they cost next to no memory, `auto` likewise unless they take long to get, and for a hundredth of the program's time at most",
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
        b"filled" => Some(Huge::Filled),
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
    use std::{format, string::String};

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
}
