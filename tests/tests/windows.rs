//! Programs with windows, ten seconds each on a display of their own.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::artefacts::Folder;
use tests::visible::check;
use tests::{Run, library, missing, snapshot, visible};

const WHILE_RUNNING: Duration = Duration::from_secs(10);

/// Runs a program under Xvfb and a session bus of its own, looks at it for ten seconds, then asks it to end.
fn ten_seconds(name: &str, arguments: &str, least_allocations: i64) {
    if missing(&["xvfb-run", "xauth", "dbus-run-session", name]) {
        return;
    }
    let (home, runtime) = (Folder::new(), Folder::new());
    std::fs::set_permissions(runtime.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let inner = format!("echo $$; export LD_PRELOAD={}; exec {name} {arguments}", library().display());
    let mut command = Command::new("xvfb-run");
    command.args(["-a", "-s", "-screen 0 1024x768x24", "dbus-run-session", "--", "sh", "-c", &inner]);
    command.env("HOME", home.path()).env("XDG_RUNTIME_DIR", runtime.path()).env("GDK_BACKEND", "x11");
    command.env("NO_AT_BRIDGE", "1").env("LIBGL_ALWAYS_SOFTWARE", "1");
    command.env("XDG_CONFIG_HOME", home.path()).env("XDG_CACHE_HOME", home.path()).env("GIO_USE_VFS", "local");
    let mut running = command.begin();
    let pid: u32 = running.line().parse().unwrap();
    let mut seen = visible(pid, "");
    let start = Instant::now();
    let mut looks = 0;
    while start.elapsed() < WHILE_RUNNING || seen.total("allocations") < least_allocations {
        let now = snapshot(pid);
        assert!(now.total("allocations") >= seen.total("allocations"), "{name}");
        assert!(now.total("frees") >= seen.total("frees"), "{name}");
        assert!(start.elapsed() < 9 * WHILE_RUNNING, "{name} has allocated little: {}", now.0["totals"]);
        check(&now, name);
        seen = now;
        looks += 1;
    }
    assert!(looks >= 3);
    assert!(seen.text("/executable").ends_with(name) || seen.text("/command").contains(name));
    // SAFETY: no pointers; the process was alive a moment ago and its parent, in our group, has not reaped it.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGTERM) };
    let finished = running.finish();
    let (out, err) = (finished.out(), finished.err());
    for line in out.lines().chain(err.lines()) {
        let lower = line.to_lowercase();
        assert!(!lower.contains("statsalloc"), "{name}: {line}");
        assert!(!lower.contains("segmentation fault") && !lower.contains("aborted"), "{name}: {line}");
    }
}

#[test]
fn nautilus_runs_for_ten_seconds() {
    ten_seconds("nautilus", "--new-window /usr", 100_000);
}

#[test]
fn gtk3_demo_runs_for_ten_seconds() {
    ten_seconds("gtk3-demo", "", 50_000);
}

#[test]
fn wireshark_runs_for_ten_seconds() {
    ten_seconds("wireshark", "", 100_000);
}
