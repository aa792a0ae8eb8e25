//! Builds the preload library and lays it beside the monitor's binary, so that one `cargo build` gives both.
//!
//! The library is always a release build: its tests and figures are about that one, and a debug build of an allocator
//! slows every program that it is loaded into. `STATSMON_WITHOUT_LIBRARY=1` leaves it out, for those who build it
//! themselves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const LIBRARY: &str = "libstatsalloc.so";
const OPT_OUT: &str = "STATSMON_WITHOUT_LIBRARY";
/// What the outer build is made with must not leak into the inner one: flags, wrappers (clippy is one), its target.
const NOT_INHERITED: [&str; 9] = [
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

fn main() {
    println!("cargo::rerun-if-env-changed={OPT_OUT}");
    let workspace = variable("CARGO_MANIFEST_DIR").join("..");
    let library = ["alloc-preload/Cargo.toml", "alloc-preload/build.rs", "alloc-preload/layout.ld"];
    for part in ["Cargo.toml", "Cargo.lock", "shm-layout/Cargo.toml"].iter().chain(&library) {
        println!("cargo::rerun-if-changed={}", workspace.join(part).display());
    }
    for sources in ["alloc-preload/src", "shm-layout/src"] {
        println!("cargo::rerun-if-changed={}", workspace.join(sources).display());
    }
    if env::var_os(OPT_OUT).is_some_and(|value| value == "1") {
        return;
    }
    let out = variable("OUT_DIR");
    let built = build(&workspace, &out.join("preload"));
    // OUT_DIR is <target>/<profile>/build/statsmon-<hash>/out.
    let beside = out.ancestors().nth(3).expect("OUT_DIR lies in the target directory");
    place(&built, &beside.join(LIBRARY)).unwrap_or_else(|error| panic!("placing {LIBRARY} in {beside:?}: {error}"));
}

fn build(workspace: &Path, target: &Path) -> PathBuf {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(workspace).args(["build", "--quiet", "--release", "--package", "alloc-preload"]);
    // Everything it needs is among what the monitor needs, so it has been downloaded by now.
    cargo.arg("--offline").arg("--target-dir").arg(target);
    if workspace.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    let status = cargo.status().unwrap_or_else(|error| panic!("starting {cargo:?}: {error}"));
    assert!(status.success(), "building {LIBRARY} failed ({status}); {OPT_OUT}=1 leaves it out");
    target.join("release").join(LIBRARY)
}

/// Copies the library under another name and renames it: programs that run with the old one keep it.
fn place(built: &Path, destination: &Path) -> io::Result<()> {
    let content = fs::read(built)?;
    if fs::read(destination).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let temporary = destination.with_extension(format!("so.{}", std::process::id()));
    fs::copy(built, &temporary)?;
    fs::rename(&temporary, destination)
}

fn variable(name: &str) -> PathBuf {
    PathBuf::from(env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}")))
}
