//! Programs with windows, driven by hand for a while each on a display of their own, and watched twice a second: ten
//! seconds, or `STATSALLOC_DRIVE_SECONDS`. GLib 2.74 carves its slices from `posix_memalign`; with
//! `G_SLICE=always-malloc` it does without them.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::artefacts::Folder;
use tests::visible::check;
use tests::{Run, Snapshot, library, missing, program, statsmon, visible};

fn while_running() -> Duration {
    let seconds = std::env::var("STATSALLOC_DRIVE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// What a hand does again and again, one call of xdotool each, one with every look: scrolls, and shows the folder in other ways.
/// Nautilus 43 reads a `GFile` that it has freed when windows or tabs are opened, or entries activated, before a window has its
/// folder (so memcheck says without the library, and it dies of it there, too), so none of these is here.
const NAUTILUS: [&[&str]; 8] = [
    &["mousemove", "500", "300"],
    &["click", "--repeat", "10", "5"],
    &["key", "ctrl+1"],
    &["click", "--repeat", "10", "4"],
    &["key", "ctrl+h"],
    &["click", "--repeat", "10", "5"],
    &["key", "ctrl+2"],
    &["key", "ctrl+h"],
];

/// As [`NAUTILUS`]; Return opens the window of a demonstration.
const GTK3_DEMO: [&[&str]; 6] = [
    &["mousemove", "100", "300"],
    &["click", "--repeat", "10", "5"],
    &["click", "--repeat", "2", "1"],
    &["click", "--repeat", "10", "4"],
    &["key", "Down"],
    &["key", "Return"],
];

/// As [`NAUTILUS`]; the window opened and closed is that of the preferences.
const WIRESHARK: [&[&str]; 6] = [
    &["mousemove", "300", "300"],
    &["click", "--repeat", "10", "5"],
    &["click", "--repeat", "10", "4"],
    &["key", "ctrl+shift+p"],
    &["key", "Down"],
    &["key", "Escape"],
];

/// Runs a program under Xvfb and a session bus of its own, drives it and looks at it for a while, then asks it to end.
fn driven(name: &str, arguments: &str, hand: &[&[&str]], least_allocations: i64) {
    for slices in ["", "always-malloc"] {
        driven_with(name, arguments, hand, least_allocations, slices);
    }
}

/// Counters that never fall.
fn counters(seen: &Snapshot) -> [i64; 6] {
    let total = |name| seen.total(name);
    let threads = |name: &str| seen.number(&format!("/threads/{name}"));
    [
        total("allocations"),
        total("frees"),
        total("cumulative_requested_bytes"),
        total("reallocations"),
        threads("started"),
        threads("ended"),
    ]
}

fn driven_with(name: &str, arguments: &str, hand: &[&[&str]], least_allocations: i64, slices: &str) {
    if missing(&["xvfb-run", "xauth", "dbus-run-session", "xdotool", name]) {
        return;
    }
    let (home, runtime) = (Folder::new(), Folder::new());
    std::fs::set_permissions(runtime.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let inner = format!(
        "echo $$; echo $DISPLAY; echo $XAUTHORITY; export LD_PRELOAD={}; exec {name} {arguments}",
        library().display()
    );
    let mut command = Command::new("xvfb-run");
    command.args(["-a", "-s", "-screen 0 1024x768x24", "dbus-run-session", "--", "sh", "-c", &inner]);
    command.env("HOME", home.path()).env("XDG_RUNTIME_DIR", runtime.path()).env("GDK_BACKEND", "x11");
    command.env("NO_AT_BRIDGE", "1").env("LIBGL_ALWAYS_SOFTWARE", "1");
    command.env("XDG_CONFIG_HOME", home.path()).env("XDG_CACHE_HOME", home.path()).env("GIO_USE_VFS", "local");
    if !slices.is_empty() {
        command.env("G_SLICE", slices);
    }
    let mut running = command.begin();
    let pid: u32 = running.line().parse().unwrap();
    let (display, authority) = (running.line(), running.line());
    let mut hand = hand.iter().cycle();
    let mut seen = visible(pid, "");
    let start = Instant::now();
    let mut watch = Command::new(statsmon());
    let mut watch = watch.args(["--json", "-d", "0.5", &pid.to_string()]).begin_within(10 * while_running());
    let mut looks = 0;
    while start.elapsed() < while_running() || seen.total("allocations") < least_allocations {
        let look: Value = serde_json::from_str(&watch.line()).expect("a line is JSON");
        let now = Snapshot(look["processes"][0].clone());
        assert_eq!(now.text("/state"), "live", "{name}: {}", running.errors());
        let fallen = counters(&now).into_iter().zip(counters(&seen)).any(|(now, before)| now < before);
        assert!(!fallen, "{name}: {:?} after {:?}", counters(&now), counters(&seen));
        let threads = |kind: &str| now.number(&format!("/threads/{kind}"));
        assert_eq!(threads("started") - threads("ended"), threads("live"), "{name}: {}", now.0["threads"]);
        assert!(start.elapsed() < 9 * while_running(), "{name} has allocated little: {}", now.0["totals"]);
        check(&now, name);
        seen = now;
        looks += 1;
        let mut xdotool = Command::new("xdotool");
        xdotool.args(*hand.next().unwrap()).env("DISPLAY", &display).env("XAUTHORITY", &authority).finish();
    }
    drop(watch);
    assert!(looks >= 3);
    println!("{name} {slices}: {looks} looks, {} {}", seen.0["totals"], seen.0["threads"]);
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
fn nautilus_is_driven_without_a_mistake() {
    driven("nautilus", "--new-window /usr", &NAUTILUS, 100_000);
}

#[test]
fn gtk3_demo_is_driven_without_a_mistake() {
    driven("gtk3-demo", "", &GTK3_DEMO, 50_000);
}

#[test]
fn wireshark_is_driven_without_a_mistake() {
    driven("wireshark", "", &WIRESHARK, 100_000);
}

/// GLib before 2.76 has an allocator of its own on top of `posix_memalign`.
#[test]
fn a_slice_given_to_free_is_named_with_the_block_around_it() {
    let finished = Command::new(program("slices.c")).preload().finish();
    if finished.status.code() == Some(77) {
        tests::require::skipped("needs GLib");
        return;
    }
    let (out, err) = (finished.out(), finished.err());
    if out.ends_with("survived\n") {
        // This GLib's slices are blocks.
        assert_eq!(err, "");
        return;
    }
    assert_eq!(finished.signal(), Some(libc::SIGABRT), "{finished:?}");
    let slice = out.lines().next().unwrap();
    assert!(err.contains(&format!("invalid pointer: free({slice}) points into a live ")), "{err}");
    assert!(err.contains("-byte block (") && err.contains(" requested) that begins at 0x"), "{err}");
}
