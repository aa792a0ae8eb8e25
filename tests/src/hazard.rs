//! One hazard in a process of its own, under any allocator, and what became of it.
//!
//! The hazards are in `programs/hazards/`; each program lists its own. A list's third word says what surrounds the
//! process:
//!
//! | word | means |
//! |---|---|
//! | `as=`, `data=`, `fsize=`, `memlock=`, `nofile=`, `stack=` | both limits on that resource |
//! | `hide=FOLDER` | that folder is empty |
//! | `root` | makes calls that only root may make |
//! | `pid-namespace` | it has a PID namespace of its own, so that what it leaves behind ends with it |
//! | `library=FILE` | the path of that library, compiled, is in `HAZARD_LIBRARY` |
//! | `beside=FILE`, `before=FILE` | that library is preloaded after, or before, the allocator |
//! | `beside-itself` | a copy of the allocator in another file is preloaded after it |
//! | `audit=FILE` | that library is loaded by `LD_AUDIT` |
//! | `audits` | the allocator is loaded by `LD_AUDIT` as well |
//! | `twice` | the allocator is in `LD_PRELOAD` twice |
//! | `unloaded` | it is not in `LD_PRELOAD`, but its path in `HAZARD_ALLOCATOR` |
//! | `linked` | it is not in `LD_PRELOAD`, but the program is linked with it |

use crate::artefacts::{compiled, directory, library, program};
use crate::process::{Finished, Run};
use crate::sandbox::Sandbox;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// After this long a case is taken to hang. The longest takes a few seconds alone on a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The programs that hold hazards.
const PROGRAMS: [&str; 16] = [
    "double.c",
    "interior.c",
    "wild.c",
    "foreign.c",
    "overwritten.c",
    "operators.cc",
    "forks.c",
    "life.c",
    "cancel.c",
    "loading.c",
    "dlopened.c",
    "tls.c",
    "linked.c",
    "ownmalloc.c",
    "limits.c",
    "filters.c",
];

/// What cases of a group have in common: the name in the programs' lists, the title, what must happen.
pub const GROUPS: [(&str, &str, Bar); 7] = [
    ("double", "freed twice", Bar::Detected),
    ("interior", "inside a block", Bar::Detected),
    ("wild", "not a block of anybody", Bar::Detected),
    ("foreign", "another allocator's block", Bar::Survived),
    ("overwritten", "written to after free", Bar::NotChosen),
    ("life", "process and thread life", Bar::Survived),
    ("limits", "limits and faults", Bar::Survived),
];

/// What must become of a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bar {
    /// A line on standard error, then SIGABRT.
    Detected,
    /// It ends well.
    Survived,
    /// It ends well, or is detected: what matters is that no chosen address is handed out.
    NotChosen,
}

/// What became of a case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// Ended by SIGABRT, after a message.
    Detected,
    /// Went on to its end, and what it checks was right.
    Survived,
    /// Saw something that must not be.
    Failed,
    /// `malloc` returned what the attacker wanted.
    Chosen,
    /// Ended by a signal, without a word.
    Crashed,
    /// Did not end.
    Hung,
}

impl Outcome {
    /// Whether this is as it should be.
    #[must_use]
    pub fn meets(self, bar: Bar) -> bool {
        match bar {
            Bar::Detected => self == Self::Detected,
            Bar::Survived => self == Self::Survived,
            Bar::NotChosen => matches!(self, Self::Survived | Self::Detected),
        }
    }

    /// One word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Survived => "survived",
            Self::Failed => "failed",
            Self::Chosen => "chosen",
            Self::Crashed => "crashed",
            Self::Hung => "hung",
        }
    }
}

/// An allocator under test.
#[derive(Clone, Debug)]
pub struct Allocator {
    pub name: &'static str,
    /// What is preloaded; nothing for the C library's own.
    pub library: Option<PathBuf>,
}

impl Allocator {
    /// Ours.
    #[must_use]
    pub fn ours() -> Self {
        Self { name: "statsalloc", library: Some(library()) }
    }

    /// The C library's and those of Debian's packages.
    #[must_use]
    pub fn peers() -> Vec<Self> {
        let debian = |name, file: &str| {
            let library = PathBuf::from("/usr/lib/x86_64-linux-gnu").join(file);
            assert!(library.is_file(), "{name} is not installed: no {}", library.display());
            Self { name, library: Some(library) }
        };
        vec![
            Self { name: "glibc", library: None },
            debian("jemalloc", "libjemalloc.so.2"),
            debian("mimalloc", "libmimalloc.so.2.0"),
            debian("tcmalloc", "libtcmalloc_minimal.so.4"),
        ]
    }
}

/// One case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Case {
    /// The first word of a row of [`GROUPS`].
    pub group: String,
    pub name: String,
    file: &'static str,
    surroundings: Vec<String>,
}

/// All cases, group by group.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for file in PROGRAMS {
        let listed = Command::new(binary(file, None)).finish().success().out();
        for line in listed.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (group, name) = (words.next().expect("a group"), words.next().expect("a name"));
            cases.push(Case { group, name, file, surroundings: words.collect() });
        }
    }
    cases.sort_by_key(|case| (GROUPS.iter().position(|group| group.0 == case.group), case.clone()));
    cases
}

fn binary(file: &str, linked: Option<&Allocator>) -> PathBuf {
    let source = format!("hazards/{file}");
    match linked.and_then(|allocator| allocator.library.as_ref()) {
        Some(library) => {
            let path = library.to_str().expect("a path of letters");
            let folder = library.parent().and_then(|folder| folder.to_str()).expect("a folder around the library");
            compiled(&source, &["-Wl,--no-as-needed", path, &format!("-Wl,-rpath,{folder}")])
        }
        None => program(&source),
    }
}

fn shared(file: &str) -> PathBuf {
    compiled(&format!("hazards/{file}"), &["-shared", "-fPIC"])
}

/// The same library in another file.
fn copied(library: &Path) -> PathBuf {
    let name = library.file_name().expect("the path of a file");
    let copy = directory().join("programs").join(name);
    let fresh = copy.with_extension(std::process::id().to_string());
    std::fs::copy(library, &fresh).and_then(|_| std::fs::rename(&fresh, &copy)).expect("copying a library");
    copy
}

impl Case {
    /// What must become of it.
    #[must_use]
    pub fn bar(&self) -> Bar {
        let row = GROUPS.iter().find(|group| group.0 == self.group);
        row.unwrap_or_else(|| panic!("{} belongs to no group", self.name)).2
    }

    /// Whether only root can run it.
    #[must_use]
    pub fn needs_root(&self) -> bool {
        self.surroundings.iter().any(|word| word == "root" || word == "pid-namespace" || word.starts_with("hide="))
    }

    /// Runs it under `allocator`.
    #[must_use]
    pub fn run(&self, allocator: &Allocator) -> (Outcome, Finished) {
        let has = |word: &str| self.surroundings.iter().any(|own| own == word);
        let binary = binary(self.file, Some(allocator).filter(|_| has("linked")));
        let mut command = if has("pid-namespace") {
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", "--kill-child", "--", "env"]);
            command
        } else {
            Command::new("env")
        };
        // The preload is for the case alone, not for what starts it.
        let mut preload: Vec<_> = allocator.library.iter().cloned().collect();
        if has("unloaded") || has("linked") {
            preload.clear();
        }
        if has("twice") {
            preload.extend(allocator.library.clone());
        }
        if has("audits") {
            command.args(allocator.library.iter().map(|library| format!("LD_AUDIT={}", library.display())));
        }
        if has("beside-itself") {
            preload.extend(allocator.library.as_deref().map(copied));
        }
        command.limit(libc::RLIMIT_CORE, 0);
        for word in &self.surroundings {
            let Some((what, value)) = word.split_once('=') else { continue };
            match what {
                "hide" => {
                    command.hiding(value);
                }
                "library" => {
                    command.env("HAZARD_LIBRARY", shared(value));
                }
                "beside" => preload.push(shared(value)),
                "before" => preload.insert(0, shared(value)),
                "audit" => {
                    command.arg(format!("LD_AUDIT={}", shared(value).display()));
                }
                resource => {
                    let bytes = value.parse().unwrap_or_else(|_| panic!("{}: {word}", self.name));
                    command.limit(resource_of(resource), bytes);
                }
            }
        }
        if has("unloaded") {
            command.env("HAZARD_ALLOCATOR", allocator.library.as_deref().unwrap_or("libc.so.6".as_ref()));
        }
        if !preload.is_empty() {
            let list = preload.iter().map(|path| path.as_os_str().as_bytes()).collect::<Vec<_>>().join(&b':');
            command.arg(format!("LD_PRELOAD={}", String::from_utf8(list).expect("paths of letters")));
        }
        let (finished, late) = command.arg(binary).arg(&self.name).begin_within(PATIENCE).end();
        (outcome(&finished, late), finished)
    }
}

fn resource_of(name: &str) -> u32 {
    match name {
        "as" => libc::RLIMIT_AS,
        "data" => libc::RLIMIT_DATA,
        "fsize" => libc::RLIMIT_FSIZE,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "nofile" => libc::RLIMIT_NOFILE,
        "stack" => libc::RLIMIT_STACK,
        _ => panic!("no surroundings {name}"),
    }
}

fn outcome(finished: &Finished, late: bool) -> Outcome {
    // A PID namespace's first process reports a signal as a shell does.
    let signal = finished.signal().or_else(|| finished.status.code().filter(|&code| code > 128).map(|code| code - 128));
    match (signal, finished.status.code()) {
        _ if late => Outcome::Hung,
        (Some(libc::SIGABRT), _) if !finished.stderr.is_empty() => Outcome::Detected,
        (Some(_), _) => Outcome::Crashed,
        (None, Some(0)) if finished.out().ends_with("survived\n") => Outcome::Survived,
        (None, Some(93)) => Outcome::Chosen,
        _ => Outcome::Failed,
    }
}

/// How many of a group's outcomes meet its bar, and what became of the others, as a cell of a table.
#[must_use]
pub fn summary(bar: Bar, outcomes: &[Outcome]) -> String {
    let met = outcomes.iter().filter(|outcome| outcome.meets(bar)).count();
    let mut cell = format!("{met} of {}", outcomes.len());
    for other in
        [Outcome::Survived, Outcome::Failed, Outcome::Chosen, Outcome::Crashed, Outcome::Detected, Outcome::Hung]
    {
        let count = outcomes.iter().filter(|&&outcome| outcome == other && !outcome.meets(bar)).count();
        if count != 0 {
            // Going on as if nothing were is not surviving where something should have been noticed.
            let word = if other == Outcome::Survived { "missed" } else { other.word() };
            write!(cell, ", {count} {word}").expect("writing to a string");
        }
    }
    cell
}
