//! Preload libraries of peers that distributions do not have, built from the sources inside their Rust crates, the way
//! their own build files do: the peer's own overriding functions are the exported ones, with nothing between.

use crate::compile;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How one of them is built.
pub(crate) struct Shim {
    pub(crate) name: &'static str,
    /// The crate that carries the sources.
    package: &'static str,
    compiler: &'static str,
    /// Below the crate's folder.
    include: &'static str,
    /// Below `include`.
    sources: &'static [&'static str],
    flags: &'static [&'static str],
}

pub(crate) const SHIMS: [Shim; 2] = [
    Shim {
        name: "mimalloc3",
        package: "libmimalloc-sys",
        compiler: "gcc",
        include: "c_src/mimalloc/v3/include",
        sources: &["../src/static.c"],
        flags: &[
            "-DMI_MALLOC_OVERRIDE",
            "-DMI_SHARED_LIB",
            "-DMI_SHARED_LIB_EXPORT",
            "-DMI_BUILD_RELEASE",
            "-DMI_DEBUG=0",
            "-fno-builtin-malloc",
        ],
    },
    Shim {
        name: "snmalloc",
        package: "snmalloc-sys",
        compiler: "g++",
        include: "upstream/src",
        sources: &["snmalloc/override/malloc.cc", "snmalloc/override/new.cc"],
        flags: &[
            "-std=c++20",
            "-fomit-frame-pointer",
            "-ffunction-sections",
            "-mcx16",
            "-mprfchw",
            "-DSNMALLOC_EXPORT=__attribute__((visibility(\"default\")))",
            "-DSNMALLOC_USE_CXX11_THREAD_ATEXIT_DIRECT",
            "-DSNMALLOC_USE_WAIT_ON_ADDRESS=1",
            "-DSNMALLOC_HAS_LINUX_FUTEX_H",
            "-DSNMALLOC_HAS_LINUX_RANDOM_H",
            "-DSNMALLOC_PLATFORM_HAS_GETENTROPY",
            "-DSNMALLOC_CHECK_LOADS=false",
            "-DSNMALLOC_PAGEID=false",
            "-static-libstdc++",
            // Else the runtime's symbols in it would take the place of the program's own.
            "-Wl,--exclude-libs,ALL",
        ],
    },
];

/// What all of them are built with.
const FLAGS: [&str; 7] =
    ["-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-ftls-model=initial-exec", "-pthread", "-shared"];

impl Shim {
    /// The library and the version of the crate it comes from.
    ///
    /// # Errors
    ///
    /// The crate cannot be fetched, the compiler is missing or rejects the sources.
    pub(crate) fn built(&self) -> Result<(PathBuf, String), String> {
        let (folder, version) = self.fetched()?;
        let library = compile::directory("shims")?.join(format!("lib{}-{version}.so", self.name));
        if library.is_file() {
            return Ok((library, format!("crate {} {version}", self.package)));
        }
        eprintln!("building {} {version}", self.name);
        let fresh = library.with_extension(std::process::id().to_string());
        let include = folder.join(self.include);
        let sources = self.sources.iter().map(|source| include.join(source));
        let mut compiler = Command::new(self.compiler);
        compiler.args(FLAGS).args(self.flags).arg("-I").arg(&include).args(sources).arg("-o").arg(&fresh);
        compile::succeeds(&mut compiler)?;
        std::fs::rename(&fresh, &library).map_err(|error| format!("{}: {error}", library.display()))?;
        Ok((library, format!("crate {} {version}", self.package)))
    }

    /// Where cargo has put the crate, and its version.
    fn fetched(&self) -> Result<(PathBuf, String), String> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/shims/Cargo.toml");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["metadata", "--format-version", "1", "--locked", "--quiet", "--manifest-path"]).arg(&manifest);
        let metadata: Value =
            serde_json::from_slice(&compile::succeeds(&mut cargo)?).map_err(|error| error.to_string())?;
        let packages = metadata["packages"].as_array().ok_or("cargo names no packages")?;
        let package = packages.iter().find(|package| package["name"] == self.package);
        let text = |key: &str| package.and_then(|package| package[key].as_str());
        match (text("manifest_path").map(Path::new).and_then(Path::parent), text("version")) {
            (Some(folder), Some(version)) => Ok((folder.to_owned(), version.to_owned())),
            _ => Err(format!("cargo does not know {}", self.package)),
        }
    }
}
