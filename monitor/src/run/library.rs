//! Where the library is, and how it gets into the program.

use super::{elf, failure};
use crate::error::Error;
use crate::source::proc::LIBRARY;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names the library's file; looked at before anything else.
const VARIABLE: &str = "STATSMON_PRELOAD";

/// The library: where the variable says, else beside this program, else in `../lib/statsmon/` from there.
pub(crate) fn find() -> Result<PathBuf, Error> {
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let own_directory = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let candidates = candidates(variable.as_deref(), own_directory.as_deref());
    let found = candidates.iter().find(|path| path.is_file()).and_then(|path| path.canonicalize().ok());
    let Some(path) = found else {
        return Err(failure(missing(&candidates)));
    };
    match is_ours(&path) {
        Ok(true) => {}
        Ok(false) => return Err(failure(format!("{} is not {LIBRARY}; set {VARIABLE} to its path", path.display()))),
        Err(cause) => return Err(failure(format!("reading {}: {cause}", path.display()))),
    }
    // The dynamic linker takes both for separators, and nothing quotes them.
    if path.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b' ' | b':')) {
        return Err(failure(format!(
            "{} cannot be preloaded: its path holds a blank or a colon; set {VARIABLE} to a copy elsewhere",
            path.display()
        )));
    }
    Ok(path)
}

fn missing(candidates: &[PathBuf]) -> String {
    let looked = match candidates {
        [] => " nothing: without /proc this program does not know where it lies".to_owned(),
        some => some.iter().map(|path| format!("\n  {}", path.display())).collect(),
    };
    format!("{LIBRARY} was not found; looked at{looked}\nset {VARIABLE} to its path")
}

/// How the library begins its answer to `malloc_info`. This program has it too, and is no library.
const OURS: &[u8] = b"<malloc version=\"statsalloc-";

/// Whether a file is the library, by what stands in it: the dynamic linker passes over what it cannot load, and takes
/// any other library without a word.
fn is_ours(path: &Path) -> io::Result<bool> {
    // Several times its size, debugging information included.
    const ENOUGH: u64 = 16 << 20;
    let mut bytes = Vec::new();
    File::open(path)?.take(ENOUGH).read_to_end(&mut bytes)?;
    Ok(elf::is_library(&bytes) && bytes.windows(OURS.len()).any(|window| window == OURS))
}

fn candidates(variable: Option<&OsStr>, own_directory: Option<&Path>) -> Vec<PathBuf> {
    match (variable, own_directory) {
        // Who names a file means that one.
        (Some(path), _) => vec![PathBuf::from(path)],
        (None, Some(directory)) => vec![directory.join(LIBRARY), directory.join("../lib/statsmon").join(LIBRARY)],
        (None, None) => Vec::new(),
    }
}

/// The value of `LD_PRELOAD`: the library, then what was there.
pub(crate) fn preload(library: &Path, present: Option<OsString>) -> OsString {
    let mut value = library.as_os_str().to_owned();
    let present = present.unwrap_or_default();
    for other in present.as_bytes().split(|byte| matches!(byte, b' ' | b':')) {
        if !other.is_empty() && other != library.as_os_str().as_bytes() {
            value.push(":");
            value.push(OsStr::from_bytes(other));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_preloaded_stays_behind_the_library_and_nothing_is_preloaded_twice() {
        let ours = Path::new("/lib/ours.so");
        assert_eq!(preload(ours, None), "/lib/ours.so");
        assert_eq!(preload(ours, Some("".into())), "/lib/ours.so");
        assert_eq!(preload(ours, Some("a.so b.so:/lib/ours.so".into())), "/lib/ours.so:a.so:b.so");
    }

    #[test]
    fn programs_and_other_libraries_are_not_taken_for_the_library() {
        let own = std::env::current_exe().unwrap();
        // As data, which an optimiser would otherwise take apart.
        let words = std::hint::black_box(OURS);
        assert!(
            std::fs::read(&own).unwrap().windows(OURS.len()).any(|window| window == words),
            "the words are in here"
        );
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])));
        let libraries: Vec<&Path> = mapped.filter(|path| path.to_string_lossy().contains(".so")).collect();
        assert!(!libraries.is_empty(), "{maps}");
        for other in libraries.into_iter().chain([own.as_path(), Path::new("/dev/null")]) {
            assert!(!is_ours(other).unwrap(), "{other:?}");
        }
    }

    #[test]
    fn the_variable_overrides_the_usual_places() {
        assert_eq!(candidates(Some(OsStr::new("/x.so")), Some(Path::new("/bin"))), [Path::new("/x.so")]);
        let usual = candidates(None, Some(Path::new("/opt/bin")));
        assert_eq!(usual[0], Path::new("/opt/bin/libstatsalloc.so"));
        assert_eq!(usual[1], Path::new("/opt/bin/../lib/statsmon/libstatsalloc.so"));
    }

    #[test]
    fn a_missing_library_is_told_with_the_places_even_where_there_are_none() {
        let some = missing(&candidates(None, Some(Path::new("/opt/bin"))));
        assert!(some.contains("looked at\n  /opt/bin/libstatsalloc.so\n"), "{some}");
        let none = missing(&candidates(None, None));
        assert!(none.contains("looked at nothing: without /proc"), "{none}");
    }
}
