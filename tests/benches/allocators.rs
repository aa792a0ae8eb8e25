//! Who is compared: the C library's allocator, ours, and whichever peers are installed.

use crate::options::Options;
use std::path::{Path, PathBuf};

/// One allocator, chosen by what is preloaded.
#[derive(Clone, Debug)]
pub(crate) struct Allocator {
    pub(crate) name: String,
    /// Nothing for the C library's own.
    pub(crate) preload: Option<PathBuf>,
}

/// The one that all ratios are relative to.
pub(crate) const BASELINE: &str = "glibc";
/// This workspace's build.
pub(crate) const OURS: &str = "statsalloc";

/// Where libraries lie on multiarch and other systems.
const FOLDERS: [&str; 4] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"];

/// Peers that distributions have: name, file, Debian's package.
const INSTALLED: [(&str, &str, &str); 3] = [
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("mimalloc2", "libmimalloc.so.2.0", "libmimalloc2.0"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
];

/// The allocators that `options` ask for; those not installed are named on standard error and left out.
///
/// # Errors
///
/// A library that was named and is not there, or an unknown allocator.
pub(crate) fn chosen(options: &Options) -> Result<Vec<Allocator>, String> {
    let wanted = |name: &str| options.allocators.is_empty() || options.allocators.iter().any(|given| given == name);
    let mut known = vec![BASELINE.to_owned(), OURS.to_owned()];
    let mut found = Vec::new();
    if wanted(BASELINE) {
        found.push(Allocator { name: BASELINE.to_owned(), preload: None });
    }
    // Other builds take the place of this workspace's, unless it is asked for by name.
    if wanted(OURS) && (options.library.is_empty() || !options.allocators.is_empty()) {
        found.push(Allocator { name: OURS.to_owned(), preload: Some(tests::library()) });
    }
    for (label, path) in options.libraries() {
        known.push(label.clone());
        let path = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        found.push(Allocator { name: label, preload: Some(path) });
    }
    for (name, file, package) in INSTALLED {
        known.push(name.to_owned());
        if !wanted(name) {
            continue;
        }
        match FOLDERS.iter().map(|folder| Path::new(folder).join(file)).find(|path| path.is_file()) {
            Some(path) => found.push(Allocator { name: name.to_owned(), preload: Some(path) }),
            None => eprintln!("without {name}: {file} is not installed (Debian's package {package})"),
        }
    }
    match options.allocators.iter().find(|given| !known.contains(given)) {
        Some(unknown) => Err(format!("no allocator {unknown}; there are {}", known.join(", "))),
        None => Ok(found),
    }
}
