//! A terminal of 80 by 24 characters for programs with a screen: a `tmux` server of the test's own.

use crate::artefacts::Folder;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long a screen may take to show what it should.
const PATIENCE: Duration = Duration::from_secs(60);

/// One terminal; its server ends with it.
pub struct Terminal {
    folder: Folder,
}

impl Terminal {
    /// Opens it with `command` in it, which should wait at its end: what was on the screen is gone with it.
    pub fn open(command: &[&str]) -> Self {
        let terminal = Self { folder: Folder::new() };
        let mut arguments = vec!["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-s", "t", "--"];
        arguments.extend(command);
        terminal.tmux(&arguments);
        terminal
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let socket = self.folder.path().join("tmux");
        let mut tmux = Command::new("tmux");
        tmux.env_remove("TMUX").env_remove("LD_PRELOAD").env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color");
        tmux.arg("-S").arg(socket).args(arguments);
        tmux.output().expect("tmux can be started")
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What the screen shows, as text.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "t"])
    }

    /// The same with its colours and modifiers, as escape sequences.
    pub fn styled(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e", "-t", "t"])
    }

    /// Waits until the screen shows what `accepts` likes, and returns it.
    #[track_caller]
    pub fn wait(&self, what: &str, accepts: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if accepts(&screen) {
                return screen;
            }
            assert!(start.elapsed() < PATIENCE, "the screen does not show {what}:\n{screen}");
        }
    }

    /// Presses keys, by tmux's names for them.
    pub fn keys(&self, keys: &[&str]) {
        let mut arguments = vec!["send-keys", "-t", "t"];
        arguments.extend(keys);
        self.tmux(&arguments);
    }

    /// Changes the size.
    pub fn resize(&self, columns: u32, rows: u32) {
        self.tmux(&["resize-window", "-t", "t", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// PID of the command in it.
    pub fn pid(&self) -> u32 {
        self.tmux(&["display-message", "-p", "-t", "t", "#{pane_pid}"]).trim().parse().expect("a PID")
    }

    /// A format of tmux's about the terminal, such as `#{cursor_flag}`.
    pub fn ask(&self, format: &str) -> String {
        self.tmux(&["display-message", "-p", "-t", "t", format]).trim().to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails only if the server has ended already.
        let _ = self.output(&["kill-server"]);
    }
}
