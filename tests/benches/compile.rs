//! The workload programs, each built once for this run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
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
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/programs").join(file);
    let folder = directory("programs")?;
    let binary = folder.join(file.replace('.', "_"));
    let compiler = if file.ends_with(".cc") { "g++" } else { "gcc" };
    // Not into place at once: another benchmark may be running the old one.
    let fresh = binary.with_extension(std::process::id().to_string());
    let mut command = Command::new(compiler);
    // -fno-builtin: a compiler that knows `malloc` leaves pairs of calls out.
    command.args(["-O2", "-g", "-fno-builtin", "-Wall", "-Wextra", "-Werror", "-pthread", "-D_GNU_SOURCE"]);
    if file == "launch.c" {
        command.arg("-static");
    }
    let status = command.arg(&source).arg("-o").arg(&fresh).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(_) => return Err(format!("{} does not compile", source.display())),
        Err(error) => return Err(format!("{compiler}: {error}")),
    }
    std::fs::rename(&fresh, &binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    done.insert(file.to_owned(), binary.clone());
    Ok(binary)
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
