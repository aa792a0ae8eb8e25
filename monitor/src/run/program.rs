//! The program to start: where it is, and whether the library can be preloaded into it.

use super::{NOT_EXECUTABLE, NOT_FOUND, elf, failure};
use crate::error::Error;
use rustix::fs::{Access, StatVfsMountFlags};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that can be started with the library.
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Finds the program as a shell would, and refuses one that would drop the library.
    pub(crate) fn find(arguments: &[OsString]) -> Result<Self, Error> {
        let name = arguments.first().ok_or_else(|| failure("no program given"))?;
        let path = locate(name, std::env::var_os("PATH").as_deref())?;
        check(&path)?;
        Ok(Self { path, arguments: arguments.to_vec() })
    }

    /// How to start it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0(&self.arguments[0]).args(&self.arguments[1..]);
        command
    }

    /// The command line, for people.
    pub(crate) fn line(&self) -> String {
        let words: Vec<_> = self.arguments.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    /// Its short name.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The error for a start that failed.
    pub(crate) fn cannot_start(&self, cause: &io::Error) -> Error {
        let path = self.path.display();
        let (exit_code, message) = match cause.kind() {
            // The file itself was found before.
            ErrorKind::NotFound => (NOT_FOUND, format!("{path}: the interpreter that it names is not there")),
            _ => (NOT_EXECUTABLE, format!("{path}: {cause}")),
        };
        Error::CannotRun { exit_code, message }
    }
}

/// The file that `name` means: the path itself, or the first executable of that name in `search_path`.
fn locate(name: &OsStr, search_path: Option<&OsStr>) -> Result<PathBuf, Error> {
    let cannot = |exit_code, what: &str| {
        let message = format!("{}: {what}", name.to_string_lossy().escape_debug());
        Error::CannotRun { exit_code, message }
    };
    if name.as_bytes().contains(&b'/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(name.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(cannot(NOT_FOUND, "no such file")),
            Err(error) => Err(cannot(NOT_EXECUTABLE, &error.to_string())),
        };
    }
    let mut refused = None;
    let search_path = search_path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    for directory in search_path.as_bytes().split(|&byte| byte == b':').filter(|_| !name.is_empty()) {
        let directory = if directory.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(directory)) };
        let path = directory.join(name);
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => refused = Some(error),
            Err(_) => {}
        }
    }
    Err(match refused {
        Some(error) => cannot(NOT_EXECUTABLE, &error.to_string()),
        None => cannot(NOT_FOUND, "not found in PATH"),
    })
}

fn executable(path: &Path) -> io::Result<()> {
    if path.metadata()?.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    Ok(rustix::fs::access(path, Access::EXEC_OK)?)
}

/// Refuses a program (or a script's interpreter) that would not load the library.
fn check(path: &Path) -> Result<(), Error> {
    const LONGEST_CHAIN: usize = 5;
    let mut path = path.to_path_buf();
    for _ in 0..LONGEST_CHAIN {
        // Who may not read a program may still start it; then nothing is known about it.
        let Ok(start) = read_start(&path) else { return Ok(()) };
        if let Some(interpreter) = script_interpreter(&start) {
            path = interpreter;
            continue;
        }
        let refusal = elf::is_elf(&start).then(|| elf::refusal(&start)).flatten().or_else(|| privileges(&path));
        return match refusal {
            Some(reason) => Err(failure(format!("{} cannot be watched: {reason}", path.display()))),
            None => Ok(()),
        };
    }
    Ok(())
}

/// Enough of a file for its headers.
fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    const ENOUGH: u64 = 64 << 10;
    let mut start = Vec::new();
    File::open(path)?.take(ENOUGH).read_to_end(&mut start)?;
    Ok(start)
}

/// The interpreter that a script's first line names.
fn script_interpreter(start: &[u8]) -> Option<PathBuf> {
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?.trim_ascii();
    let interpreter = line.split(|byte| matches!(byte, b' ' | b'\t')).next().filter(|path| !path.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(interpreter)))
}

/// Why the dynamic linker would ignore `LD_PRELOAD`: the program gives its user rights that he does not have.
fn privileges(path: &Path) -> Option<String> {
    const SET_UID: u32 = 0o4000;
    const SET_GID: u32 = 0o2000;
    const GROUP_EXECUTES: u32 = 0o0010;
    let about = path.metadata().ok()?;
    let ignored = rustix::fs::statvfs(path).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::NOSUID));
    if ignored {
        return None;
    }
    let mode = about.permissions().mode();
    let user = rustix::process::getuid();
    if mode & SET_UID != 0 && about.uid() != user.as_raw() {
        return Some(format!("it runs as user {} (setuid), and then ignores LD_PRELOAD", about.uid()));
    }
    if mode & SET_GID != 0 && mode & GROUP_EXECUTES != 0 && about.gid() != rustix::process::getgid().as_raw() {
        return Some(format!("it runs as group {} (setgid), and then ignores LD_PRELOAD", about.gid()));
    }
    let mut capabilities = [0u8; 64];
    let capable = rustix::fs::getxattr(path, "security.capability", &mut capabilities).is_ok();
    (capable && !user.is_root()).then(|| "it has file capabilities, and then ignores LD_PRELOAD".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<PathBuf, Error>) -> u8 {
        result.map_or_else(|error| error.exit_code(), |_| 0)
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let path = Some(OsStr::new("/nonexistent::/bin"));
        assert_eq!(code(locate(OsStr::new("sh"), path)), 0);
        assert_eq!(code(locate(OsStr::new("/bin/sh"), None)), 0);
        assert_eq!(code(locate(OsStr::new("no-such-program"), path)), 127);
        assert_eq!(code(locate(OsStr::new(""), path)), 127);
        assert_eq!(code(locate(OsStr::new("/no/such"), path)), 127);
        assert_eq!(code(locate(OsStr::new("/etc"), path)), 126);
        assert_eq!(code(locate(OsStr::new("/etc/passwd"), path)), 126);
    }

    #[test]
    fn a_script_stands_for_its_interpreter() {
        assert_eq!(script_interpreter(b"#! /usr/bin/env python3\nx"), Some("/usr/bin/env".into()));
        assert_eq!(script_interpreter(b"#!/bin/sh"), Some("/bin/sh".into()));
        assert_eq!(script_interpreter(b"#!\n"), None);
        assert_eq!(script_interpreter(b"\x7fELF"), None);
    }
}
