//! The README's main command works as it is written there.

use std::process::Command;
use tests::artefacts::{directory, workspace};
use tests::{Run, missing, statsmon};

#[test]
fn the_main_command_works_as_written() {
    if missing(&["python3"]) {
        return;
    }
    statsmon();
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let line = readme.lines().find(|line| line.starts_with("cargo run --release -- "));
    let line = line.expect("a line that begins with `cargo run --release -- `");
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(workspace()).env("CARGO_TARGET_DIR", directory());
    let finished = command.finish().success();
    assert_eq!(finished.out(), "5888890\n", "{line}");
    let text = finished.err();
    for word in ["peak requested", "peak allocated", "still live", "threads"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

#[test]
fn the_library_lies_beside_the_binary() {
    assert_eq!(statsmon().parent(), tests::library().parent());
}
