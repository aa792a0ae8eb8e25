//! Tools and rights a test needs. Without them it says that it was skipped; where `CI` is set that is a failure.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// `true`, after saying so, if one of `tools` is not on the `PATH`: the test has nothing to do then.
///
/// ```no_run
/// if tests::missing(&["tmux", "less"]) {
///     return;
/// }
/// ```
#[must_use]
pub fn missing(tools: &[&str]) -> bool {
    match tools.iter().find(|tool| find(tool).is_none()) {
        Some(tool) => skipped(&format!("needs `{tool}`")),
        None => false,
    }
}

/// `true`, after saying so, if this user may not make mount namespaces.
#[must_use]
pub fn missing_privilege() -> bool {
    // SAFETY: no pointers, no preconditions.
    if unsafe { libc::geteuid() } == 0 { false } else { skipped("needs root, to mount a /dev/shm of its own") }
}

/// `true`, after saying so, if the kernel cannot mark pages as guards (`MADV_GUARD_INSTALL`, Linux 6.13).
#[must_use]
pub fn missing_guards() -> bool {
    const MADV_GUARD_INSTALL: i32 = 102;
    // SAFETY: a mapping of our own, which is only advised on and unmapped.
    let has_them = unsafe {
        let (read_write, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let page = libc::mmap(std::ptr::null_mut(), 4096, read_write, private, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        let result = libc::madvise(page, 4096, MADV_GUARD_INSTALL);
        libc::munmap(page, 4096);
        result == 0
    };
    !has_them && skipped("needs a kernel with MADV_GUARD_INSTALL")
}

/// `true`, after saying so, if the kernel cannot be told which PID to give next.
#[must_use]
pub fn missing_last_pid() -> bool {
    !Path::new(LAST_PID).exists() && skipped("needs a kernel with CONFIG_CHECKPOINT_RESTORE")
}

/// The last PID that was given in the writer's PID namespace.
pub const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Where `tool` lies.
pub fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file())
}

/// Debian's own `python3`: the first on the `PATH` may be a wrapper script that starts the real one.
pub fn python() -> Option<PathBuf> {
    let python = PathBuf::from("/usr/bin/python3");
    if python.is_file() { Some(python) } else { find("python3") }
}

/// Reports a skipped test; panics where `CI` is set, since nothing may be skipped there.
pub fn skipped(why: &str) -> bool {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED {name}: {why}");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty() || ci == "false"), "{name} was skipped: {why}");
    true
}

/// How long tests that try at random shall go on: `STATSMON_FUZZ_SECONDS`. Not set, they are content with a few tries.
#[must_use]
pub fn long_run() -> Option<Duration> {
    std::env::var("STATSMON_FUZZ_SECONDS").ok()?.parse().ok().map(Duration::from_secs)
}
