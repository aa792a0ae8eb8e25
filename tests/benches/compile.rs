//! The workload programs, each built once for this run, and the folders for what is built and generated.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// `programs/<file>` (`.c` or `.cc`), compiled with optimisation.
///
/// # Errors
///
/// The compiler is missing or rejects the file.
pub(crate) fn program(file: &str) -> Result<PathBuf, String> {
    static DONE: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut done = DONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let done = done.get_or_insert_default();
    if let Some(path) = done.get(file) {
        return Ok(path.clone());
    }
    let binary = directory("programs")?.join(file.replace('.', "_"));
    // Not into place at once: another benchmark may be running the old one.
    let fresh = binary.with_extension(std::process::id().to_string());
    let mut compiler = Command::new(if file.ends_with(".cc") { "g++" } else { "gcc" });
    // -fno-builtin: a compiler that knows `malloc` leaves pairs of calls out.
    compiler.args(["-O2", "-g", "-fno-builtin", "-Wall", "-Wextra", "-Werror", "-pthread", "-D_GNU_SOURCE"]);
    if file == "launch.c" {
        compiler.arg("-static");
    }
    succeeds(compiler.arg(source(file)).arg("-o").arg(&fresh))?;
    std::fs::rename(&fresh, &binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    done.insert(file.to_owned(), binary.clone());
    Ok(binary)
}

/// Where `programs/<file>` lies.
pub(crate) fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/programs").join(file)
}

/// A folder for what the benchmarks build or generate.
///
/// # Errors
///
/// It cannot be made.
pub(crate) fn directory(name: &str) -> Result<PathBuf, String> {
    let folder = tests::artefacts::directory().join("benches").join(name);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Runs `command` to its end and returns what it printed.
///
/// # Errors
///
/// It cannot be started, or fails: then the end of what it wrote to standard error.
pub(crate) fn succeeds(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
