//! What the user asks for.

use crate::error::{self, Error};
use crate::run;
use crate::source::{Selection, Target};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Shows the heap of running programs.
///
/// Start a program with the library, and look at it from another terminal:
///
///   statsmon run -- less README.md
///   statsmon less
///
/// On a terminal the screen opens; anywhere else one snapshot is printed as text.
/// Without a process it lists all preloaded ones; with two it compares them.
///
/// The first line says what the heap suffers from, and the second where it comes from:
///
///   LEAK SUSPECTED  the floor rises, evenly, for five minutes or more
///   WARMING UP      it rises ever more slowly
///   GROWING         it rises, not for long enough to tell
///   FILLING         blocks that were allocated before come into use
///   FRAGMENTATION   free blocks are pinned between live ones
///   ROUNDING        blocks are larger than what was asked for
///   CACHE           free memory is kept; when it goes back is said
///   CHURN           as much is freed every second as the heap holds
///   THREAD CHURN    threads come and go
///   STRANDED        ended threads left memory behind
///   NOT THE HEAP    the memory, or its growth, lies elsewhere
///   STABLE, VARYING none of these
///
/// Then the chain from what was requested to what is resident: requested + rounding
/// = allocated, + pinned free + cached free + tables + other = resident, + not heap = RSS.
/// `?` explains every key and word. It never stops the program or writes to it.
#[derive(Parser, Debug)]
#[command(name = "statsmon", version, verbatim_doc_comment, args_conflicts_with_subcommands = true)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

const AFTER_HELP: &str = "\
Examples:

  statsmon                        all preloaded processes
  statsmon redis-server           one of them
  statsmon 4711 4712              two, side by side
  statsmon --json 4711 > before   a snapshot,
  statsmon 4711 --against before  and what has changed since
  statsmon --format openmetrics   for Prometheus
  statsmon man | man -l -         the manual; of run: statsmon man run
  statsmon completions bash       completions for a shell

Exit codes: 0 fine, 1 I/O error, 2 usage, 3 no such process, 4 running but without statistics, also where it has \
become such a program since, 5 not permitted, 6 layout version not understood, 7 the process is dead and its last state \
was shown. With several processes all are shown, and the first failure's code is returned. Without a process to look \
for, only 1 and 2 occur; a screen that has opened returns 0 whatever it showed.";

#[derive(Args, Debug)]
pub(crate) struct LookArgs {
    /// Processes to show, by PID or by name (which must be unique among the preloaded ones, or be a segment's); all if
    /// none is given
    #[arg(value_name = "PID|NAME", value_parser = parse_target)]
    targets: Vec<Target>,
    /// Print one snapshot as text and end; the default where stdout is no terminal
    #[arg(long)]
    once: bool,
    /// Print in this form
    #[arg(long, value_name = "FORM", value_enum)]
    format: Option<Form>,
    /// Print JSON: one object per snapshot and line
    #[arg(long, conflicts_with_all = ["csv", "format"])]
    json: bool,
    /// Print CSV: a line of names, then one line per process and snapshot
    #[arg(long, conflicts_with = "format")]
    csv: bool,
    /// Compare the process with what an earlier `--json` has written to FILE
    #[arg(long, value_name = "FILE", requires = "targets")]
    against: Option<PathBuf>,
    /// OpenMetrics: one series for each process, by its PID, instead of one for each name
    #[arg(long)]
    label_pid: bool,
    /// Print this many snapshots
    #[arg(short = 'n', long = "count", value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Time between two snapshots, or two looks of the screen [default: 1]; alone, it prints until interrupted
    #[arg(short = 'd', long = "delay", value_name = "SECONDS", value_parser = parse_seconds)]
    #[arg(allow_negative_numbers = true)]
    delay: Option<Duration>,
    #[command(flatten)]
    terminal: TerminalArgs,
}

/// How the screen looks and what it listens to.
#[derive(Args, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TerminalArgs {
    /// Draw with ASCII characters only; the default where the locale is not UTF-8
    #[arg(long)]
    pub(crate) ascii: bool,
    /// Use no colours, as with NO_COLOR set
    #[arg(long)]
    pub(crate) no_color: bool,
    /// Let the mouse choose tabs, rows and columns (the terminal's own selection then needs Shift)
    #[arg(long)]
    pub(crate) mouse: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Run(RunArgs),
    /// Print the manual page; try `statsmon man | man -l -`
    Man {
        /// The page about a subcommand
        page: Option<Page>,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// The manual's pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Page {
    /// statsmon-run(1)
    Run,
}

/// Prints completions.
pub(crate) fn print_completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "statsmon", &mut script);
    print(&script)
}

/// Prints to stdout. That nobody reads it is no error.
pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Start a program with the library.
///
/// Without an option statsmon becomes the program: its output, exit status, signals and job control are its own.
#[derive(Args, Debug)]
#[command(after_help = RUN_AFTER_HELP)]
pub(crate) struct RunArgs {
    /// Stay its parent and print its final statistics to stderr when it ends, then one line per descendant
    #[arg(long, conflicts_with = "watch")]
    pub(crate) report: bool,
    /// Open the screen on it; its output goes to a log file
    #[arg(long)]
    pub(crate) watch: bool,
    /// Time between two looks of the screen [default: 1]
    #[arg(short = 'd', long = "delay", value_name = "SECONDS", value_parser = parse_seconds, requires = "watch")]
    pub(crate) delay: Option<Duration>,
    #[command(flatten)]
    pub(crate) terminal: TerminalArgs,
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

const RUN_AFTER_HELP: &str = "\
The library is looked for in $STATSMON_PRELOAD, beside statsmon, and in ../lib/statsmon/ from there.

Exit codes: the program's own (128 + N for signal N); 125 if statsmon itself fails or the program cannot be preloaded, \
126 if it cannot be executed, 127 if it is not found.";

/// Says what is wrong with the arguments, or gives the help that was asked for.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if !error.use_stderr()
        && let Err(cause) = printed
        && cause.kind() != io::ErrorKind::BrokenPipe
    {
        let error = Error::io("writing to stdout", cause);
        error::report(&error);
        return ExitCode::from(error.exit_code());
    }
    // Where no complaint can be printed, the exit code still says it.
    let own_failure = std::env::args_os().nth(1).is_some_and(|first| first == "run");
    match error.use_stderr() {
        false => ExitCode::SUCCESS,
        true if own_failure => ExitCode::from(run::FAILED),
        true => ExitCode::from(USAGE),
    }
}

/// Exit code for arguments that make no sense.
const USAGE: u8 = 2;

/// How to show the processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Form {
    /// Aligned, for people
    Text,
    /// One object per snapshot and line
    Json,
    /// A line of names, then one line per process and snapshot
    Csv,
    /// For Prometheus and its like; processes of one name are summed
    #[value(name = "openmetrics")]
    OpenMetrics,
}

/// What to do, all defaults settled.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Plan {
    /// Open the screen.
    Screen { selection: Selection, interval: Duration, against: Option<PathBuf>, terminal: TerminalArgs },
    /// Print snapshots.
    Print(Print),
}

/// What to print.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Print {
    pub(crate) selection: Selection,
    pub(crate) form: Form,
    /// Without end where unknown.
    pub(crate) snapshots: Option<u64>,
    pub(crate) interval: Duration,
    /// An earlier snapshot to compare with.
    pub(crate) against: Option<PathBuf>,
    /// OpenMetrics: one series for each process.
    pub(crate) label_pid: bool,
}

/// Time between two looks.
pub(crate) const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

impl LookArgs {
    /// Settles the defaults.
    pub(crate) fn plan(self, stdout_is_terminal: bool) -> Plan {
        let interval = self.delay.unwrap_or(DEFAULT_INTERVAL);
        let form = match (self.format, self.json, self.csv) {
            (Some(form), ..) => Some(form),
            (_, true, _) => Some(Form::Json),
            (.., true) => Some(Form::Csv),
            _ => None,
        };
        let prints = self.once || form.is_some() || self.label_pid || self.count.is_some() || !stdout_is_terminal;
        let selection = if self.targets.is_empty() { Selection::All } else { Selection::Targets(self.targets) };
        let against = self.against;
        if !prints {
            return Plan::Screen { selection, interval, against, terminal: self.terminal };
        }
        let form = form.unwrap_or(if self.label_pid { Form::OpenMetrics } else { Form::Text });
        let endless = self.delay.is_some() && !self.once;
        let snapshots = self.count.or(if endless { None } else { Some(1) });
        Plan::Print(Print { selection, form, snapshots, interval, against, label_pid: self.label_pid })
    }
}

fn parse_target(text: &str) -> Result<Target, String> {
    if text.is_empty() {
        return Err("a name has at least one character".into());
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Target::Name(text.into()));
    }
    match text.parse() {
        Ok(pid) if pid > 0 => Ok(Target::Pid(pid)),
        _ => Err("no process can have this PID".into()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    const RANGE: std::ops::RangeInclusive<f64> = 0.05..=86400.0;
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if RANGE.contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("between {} and {} seconds", RANGE.start(), RANGE.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str], terminal: bool) -> Plan {
        let arguments = std::iter::once("statsmon").chain(arguments.iter().copied());
        Cli::try_parse_from(arguments).unwrap().look.plan(terminal)
    }

    fn print(form: Form, snapshots: Option<u64>) -> Plan {
        let selection = Selection::All;
        Plan::Print(Print { selection, form, snapshots, interval: DEFAULT_INTERVAL, against: None, label_pid: false })
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_terminal_gets_the_screen_and_a_pipe_one_snapshot() {
        let screen = Plan::Screen {
            selection: Selection::All,
            interval: DEFAULT_INTERVAL,
            against: None,
            terminal: TerminalArgs::default(),
        };
        assert_eq!(plan(&[], true), screen);
        assert_eq!(plan(&["--format", "openmetrics"], true), print(Form::OpenMetrics, Some(1)));
        assert_eq!(plan(&["--format", "json"], true), plan(&["--json"], true));
        assert_eq!(plan(&[], false), print(Form::Text, Some(1)));
        assert_eq!(plan(&["--once"], true), print(Form::Text, Some(1)));
        assert_eq!(plan(&["--json"], true), print(Form::Json, Some(1)));
        assert_eq!(plan(&["-n", "3", "--csv"], true), print(Form::Csv, Some(3)));
        assert_eq!(plan(&["--json", "-d", "1"], false), print(Form::Json, None));
        assert_eq!(plan(&["--once", "-d", "1"], false), print(Form::Text, Some(1)));
    }

    #[test]
    fn numbers_are_pids_and_the_rest_are_names() {
        let Plan::Print(Print { selection, .. }) = plan(&["12", "less", "1a"], false) else { panic!() };
        let names = ["less", "1a"].map(|name| Target::Name(name.into()));
        assert_eq!(selection, Selection::Targets([&[Target::Pid(12)], &names[..]].concat()));
        for wrong in ["0", "99999999999", ""] {
            assert!(Cli::try_parse_from(["statsmon", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn everything_behind_run_belongs_to_the_program() {
        for arguments in [&["run", "--", "ls", "--json", "-n"][..], &["run", "ls", "--json", "-n"]] {
            let cli = Cli::try_parse_from(std::iter::once(&"statsmon").chain(arguments)).unwrap();
            let Some(Command::Run(run)) = cli.command else { panic!() };
            assert_eq!(run.command, ["ls", "--json", "-n"]);
        }
        assert!(Cli::try_parse_from(["statsmon", "run"]).is_err());
    }

    #[test]
    fn absurd_intervals_are_refused() {
        for wrong in ["0", "-1", "nan", "inf", "1e9", "x"] {
            assert!(Cli::try_parse_from(["statsmon", &format!("-d={wrong}")]).is_err(), "{wrong}");
        }
    }
}
