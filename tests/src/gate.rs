//! A place where a shell script inside some other program's run waits for the test.

use crate::artefacts::Folder;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

/// Two FIFOs: the script says it has come, and waits for leave to go on.
pub struct Gate {
    folder: Folder,
    ready: File,
    go: File,
}

impl Gate {
    pub fn new() -> Self {
        let folder = Folder::new();
        let open = |name: &str| {
            let path = folder.path().join(name);
            assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
            // For both directions: neither side's opening waits for the other then.
            OpenOptions::new().read(true).write(true).open(&path).expect("a FIFO of our own")
        };
        Self { ready: open("ready"), go: open("go"), folder }
    }

    /// The shell commands that wait here, once.
    pub fn script(&self) -> String {
        let folder = self.folder.path().display();
        format!("echo here > {folder}/ready; read -r gate < {folder}/go")
    }

    /// Waits until a script has come.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) {
        let mut ready = libc::pollfd { fd: self.ready.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(deadline.as_millis()).expect("a deadline of days");
        // SAFETY: one `pollfd`, which outlives the call.
        let count = unsafe { libc::poll(&raw mut ready, 1, milliseconds) };
        assert_eq!(count, 1, "nobody came to the gate in {deadline:?}");
        let mut line = [0; 5];
        self.ready.read_exact(&mut line).expect("reading a FIFO of our own");
    }

    /// Lets it go on.
    pub fn open(&mut self) {
        self.go.write_all(b"go\n").expect("writing a FIFO of our own");
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
