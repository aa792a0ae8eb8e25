//! `statsmon`, `libstatsalloc.so` and the test programs, each built once.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// The monitor, with the library beside it, as `cargo build --release` makes them.
pub fn statsmon() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = cargo();
        build.args(["build", "--release", "--quiet", "-p", "statsmon", "--target-dir"]).arg(directory());
        let status = build.status().expect("cargo can be started");
        assert!(status.success(), "building statsmon failed: {status}");
        let binary = directory().join("release/statsmon");
        assert!(binary.is_file(), "no {}", binary.display());
        binary
    })
}

/// Cargo, in the workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    // What the outer cargo says to this test must not reach the inner one.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// The preload library that lies beside [`statsmon`].
pub fn library() -> PathBuf {
    let library = statsmon().with_file_name("libstatsalloc.so");
    assert!(library.is_file(), "the build left no {}", library.display());
    library
}

/// A preload library whose system calls fail on demand; see `alloc-preload/src/os/faults.rs`.
pub fn failing_library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = directory().join("failing");
        let mut build = cargo();
        build.args(["build", "--release", "--quiet", "-p", "alloc-preload", "--features", "failing-os"]);
        let status = build.arg("--target-dir").arg(&target).status().expect("cargo can be started");
        assert!(status.success(), "building the failing library failed: {status}");
        let library = target.join("release/libstatsalloc.so");
        assert!(library.is_file(), "no {}", library.display());
        library
    })
}

/// The test program `programs/<file>` (`.c` or `.cc`), compiled.
pub fn program(file: &str) -> PathBuf {
    compiled(file, &[])
}

/// As [`program`], with more arguments for the compiler; they become part of the binary's name.
pub fn compiled(file: &str, arguments: &[&str]) -> PathBuf {
    static DONE: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let key = format!("{file}{}", arguments.concat()).replace(['/', ' '], "_");
    let mut done = DONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let done = done.get_or_insert_default();
    if let Some(path) = done.get(&key) {
        return path.clone();
    }
    let source = sources().join(file);
    let compiler = if source.extension() == Some(OsStr::new("cc")) { "c++" } else { "cc" };
    let folder = directory().join("programs");
    std::fs::create_dir_all(&folder).expect("a folder for the test programs");
    let binary = folder.join(key.replace('.', "_"));
    // Renamed into place: another test binary may compile the same program at the same time.
    let fresh = binary.with_extension(std::process::id().to_string());
    let status = Command::new(compiler)
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fno-builtin", "-pthread", "-D_GNU_SOURCE"])
        // What the programs do wrong they do on purpose.
        .args(["-Wno-alloc-size-larger-than", "-Wno-free-nonheap-object", "-Wno-use-after-free"])
        .args(["-Wno-deprecated-declarations", "-I"])
        .arg(sources())
        .arg(&source)
        .arg("-o")
        .arg(&fresh)
        .args(arguments)
        .status()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(status.success(), "{} does not compile", source.display());
    std::fs::rename(&fresh, &binary).expect("renaming a test program");
    done.insert(key, binary.clone());
    binary
}

/// Folder of the test programs' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace around this package")
}

/// Everything the tests build lies here, beside the profile they were built in themselves.
pub fn directory() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    test.ancestors().nth(3).expect("target/<profile>/deps/<test>").join("end-to-end")
}

/// A new empty folder, removed on drop.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            // Short: the paths of sockets inside must fit into 108 bytes.
            let path = std::env::temp_dir().join(format!("end-to-end-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Of a test that was killed, and had the same PID.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("a temporary folder: {error}"),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A copy of a program in it, under this name or further down.
    pub fn copy(&self, of: &Path, name: &str) -> PathBuf {
        self.install(of, name, &[])
    }

    /// A script or program in it with these bytes, under this name or further down.
    pub fn executable(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        self.install(Path::new("/dev/stdin"), name, bytes.as_ref())
    }

    /// Done by another process. What this one has open for writing is open as well, for a moment, in each child that another
    /// test starts meanwhile, and a file that is open for writing cannot be executed ("Text file busy").
    fn install(&self, from: &Path, name: &str, input: &[u8]) -> PathBuf {
        let to = self.0.join(name);
        let mut command = Command::new("install");
        command.args(["-D", "-m", "755"]).args([from, &to]).stdin(Stdio::piped());
        let mut child = command.spawn().expect("install, of coreutils");
        child.stdin.take().expect("a pipe").write_all(input).expect("install reads");
        assert!(child.wait().expect("install ends").success(), "{}", to.display());
        to
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind at worst: a failing test shall show its own failure, not this one.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
