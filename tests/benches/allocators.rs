//! Who is compared: the C library's allocator, ours, and whichever peers there are.

use crate::options::Options;
use crate::shims::SHIMS;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One allocator, chosen by what is preloaded.
#[derive(Clone, Debug)]
pub(crate) struct Allocator {
    pub(crate) name: String,
    /// Nothing for the C library's own.
    preload: Option<PathBuf>,
    pub(crate) version: String,
    /// A build of ours, not a peer.
    pub(crate) ours: bool,
}

/// The one that all ratios are relative to.
pub(crate) const BASELINE: &str = "glibc";
/// This workspace's build.
pub(crate) const OURS: &str = "statsalloc";

/// The same without statistics and checks.
pub(crate) const BARE: &str = "bare";

/// Where libraries lie on multiarch and other systems.
const FOLDERS: [&str; 4] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"];

/// Peers that distributions have: name, file, Debian's package.
const INSTALLED: [(&str, &str, &str); 3] = [
    ("mimalloc2", "libmimalloc.so.2.0", "libmimalloc2.0"),
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
];

/// Programs that are linked with an allocator of their own, where distributions do that.
const OTHERWISE_LINKED: [&str; 1] = ["redis-server"];

impl Allocator {
    /// The C library's own.
    pub(crate) fn baseline() -> Self {
        Self { name: BASELINE.to_owned(), preload: None, version: package("libc6"), ours: false }
    }

    /// Our library, built without statistics and checks.
    pub(crate) fn bare(library: PathBuf) -> Self {
        peer(BARE, library, "this source without counters, ledger and checks".to_owned())
    }

    /// What to preload into `program`. A program that is linked with another allocator is given the C library's by
    /// preloading the C library itself, whose names then come first.
    pub(crate) fn preload_for(&self, program: &Path) -> &OsStr {
        match &self.preload {
            Some(library) => library.as_os_str(),
            None if OTHERWISE_LINKED.iter().any(|name| program.ends_with(name)) => OsStr::new("libc.so.6"),
            None => OsStr::new(""),
        }
    }
}

/// The allocators that `options` ask for; those not there are named on standard error and left out.
///
/// # Errors
///
/// A library that was named and is not there, or an unknown allocator.
pub(crate) fn chosen(options: &Options) -> Result<Vec<Allocator>, String> {
    let wanted = |name: &str| options.allocators.is_empty() || options.allocators.iter().any(|given| given == name);
    let mut known = vec![BASELINE.to_owned(), OURS.to_owned()];
    let mut found = Vec::new();
    if wanted(BASELINE) {
        found.push(Allocator::baseline());
    }
    // Other builds take the place of this workspace's, unless it is asked for by name.
    if wanted(OURS) && (options.library.is_empty() || !options.allocators.is_empty()) {
        found.push(ours(OURS.to_owned(), tests::library(), env!("CARGO_PKG_VERSION").to_owned()));
    }
    for (label, path) in options.libraries() {
        let path = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        known.push(label.clone());
        found.push(ours(label, path, "a build given on the command line".to_owned()));
    }
    for shim in &SHIMS {
        known.push(shim.name.to_owned());
        if wanted(shim.name) {
            match shim.built() {
                Ok((library, version)) => found.push(peer(shim.name, library, version)),
                Err(error) => eprintln!("without {}: {error}", shim.name),
            }
        }
    }
    for (name, file, debian) in INSTALLED {
        known.push(name.to_owned());
        if wanted(name) {
            match FOLDERS.iter().map(|folder| Path::new(folder).join(file)).find(|path| path.is_file()) {
                Some(library) => found.push(peer(name, library, package(debian))),
                None => eprintln!("without {name}: {file} is not installed (Debian's package {debian})"),
            }
        }
    }
    match options.allocators.iter().find(|given| !known.contains(given)) {
        Some(unknown) => Err(format!("no allocator {unknown}; there are {}", known.join(", "))),
        None => Ok(found),
    }
}

fn ours(name: String, library: PathBuf, version: String) -> Allocator {
    Allocator { name, preload: Some(library), version, ours: true }
}

fn peer(name: &str, library: PathBuf, version: String) -> Allocator {
    Allocator { name: name.to_owned(), preload: Some(library), version, ours: false }
}

/// The version of Debian's package, where Debian's tools can tell.
pub(crate) fn package(name: &str) -> String {
    let asked = Command::new("dpkg-query").args(["-W", "-f", "${Version}\n", name]).output();
    let told = asked.ok().filter(|output| output.status.success());
    let version = told.and_then(|output| String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned));
    version.unwrap_or_else(|| "of unknown version".to_owned())
}
