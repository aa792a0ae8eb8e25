//! Everything that is not a screen: OpenMetrics, comparisons, manual pages, completions.

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};
use tests::artefacts::Folder;
use tests::{Finished, Run, Running, find, missing, statsmon};

fn ask(arguments: &[&str]) -> Finished {
    Command::new(statsmon()).args(arguments).finish()
}

fn cat() -> Running {
    let mut cat = Command::new("cat").preload().begin();
    cat.send(b"ready\n");
    assert_eq!(cat.line(), "ready");
    cat
}

/// Runs a tool with `input`, and wants it to find no fault.
#[track_caller]
fn approves(tool: &mut Command, input: &str) {
    let mut child = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{tool:?}: {}\n{input}", String::from_utf8_lossy(&said));
}

#[test]
fn openmetrics_please_promtool() {
    if missing(&["promtool"]) {
        return;
    }
    let (one, _other) = (cat(), cat());
    let pid = one.pid().to_string();
    for arguments in
        [&["--format", "openmetrics"][..], &["--format", "openmetrics", "--label-pid", &pid], &["--label-pid"]]
    {
        let text = ask(arguments).success().out();
        assert!(text.ends_with("# EOF\n"), "{text}");
        approves(Command::new("promtool").args(["check", "metrics"]), &text);
        // Its other reader, that of OpenMetrics, fills a database, for which every sample needs a time.
        let dated = text.lines().map(|line| match line.starts_with('#') {
            true => format!("{line}\n"),
            false => format!("{line} 1700000000\n"),
        });
        let folder = Folder::new();
        let file = folder.path().join("metrics");
        std::fs::write(&file, dated.collect::<String>()).unwrap();
        let mut import = Command::new("promtool");
        import.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&file).arg(folder.path().join("blocks"));
        approves(&mut import, "");
    }
}

/// The value of a sample.
fn sample(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn processes_of_one_name_are_one_series_unless_pids_are_wanted() {
    let folder = Folder::new();
    let copy = folder.copy("/bin/cat".as_ref(), "twins");
    let begin = || {
        let mut twin = Command::new(&copy).preload().begin();
        twin.send(b"ready\n");
        assert_eq!(twin.line(), "ready");
        twin
    };
    let (one, other) = (begin(), begin());
    let (one, other) = (one.pid().to_string(), other.pid().to_string());
    let both = ask(&["--format", "openmetrics", &one, &other]).success().out();
    assert_eq!(sample(&both, "malloc_processes{process=\"twins\"}"), Some(2.0), "{both}");
    assert!(!both.contains("pid="), "{both}");
    let each = ask(&["--format", "openmetrics", "--label-pid", &one, &other]).success().out();
    let of = |pid: &str| sample(&each, &format!("malloc_live_blocks{{process=\"twins\",pid=\"{pid}\"}}")).unwrap();
    assert_eq!(sample(&both, "malloc_live_blocks{process=\"twins\"}"), Some(of(&one) + of(&other)));
    let classes = both.lines().filter(|line| line.starts_with("malloc_class_allocated_bytes{")).count();
    assert!(classes > 60, "{both}");
}

#[test]
fn every_form_ends_quietly_where_its_reader_has_enough() {
    let _cat = cat();
    for form in ["text", "json", "csv", "openmetrics"] {
        let mut pipe = Command::new("bash");
        pipe.args(["-c", "set -o pipefail; \"$0\" --format \"$1\" -n 50 -d 0.05 | head -1"]).arg(statsmon()).arg(form);
        let finished = pipe.finish().success();
        assert_eq!((finished.out().lines().count(), finished.err().as_str()), (1, ""), "{form}");
    }
    let long = ask(&["--format", "json"]).success();
    let short = ask(&["--json"]).success();
    let keys = |finished: &Finished| {
        let value: Value = serde_json::from_slice(&finished.stdout).unwrap();
        value.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(&long), keys(&short));
    assert_eq!(ask(&["--json", "--format", "csv"]).code(), 2);
}

#[test]
fn two_processes_and_an_earlier_look_are_compared() {
    let (one, mut other) = (cat(), cat());
    let (left, right) = (one.pid().to_string(), other.pid().to_string());
    let compared = |finished: &Finished| -> Value {
        let snapshot: Value = serde_json::from_slice(&finished.stdout).unwrap();
        snapshot["comparison"].clone()
    };
    let pair = compared(&ask(&["--json", &left, &right]).success());
    assert_eq!((pair["left"]["pid"].to_string(), pair["right"]["pid"].to_string()), (left.clone(), right.clone()));
    assert!(pair["totals"].as_array().unwrap().iter().any(|total| total["name"] == "requested_bytes"), "{pair}");
    assert!(ask(&["--once", &left, &right]).success().out().contains("DIFFERENCE"));
    assert!(compared(&ask(&["--json", &left]).success()).is_null());

    let folder = Folder::new();
    let file = folder.path().join("before.json");
    std::fs::write(&file, ask(&["--json", &right]).success().stdout).unwrap();
    other.send(b"more\n");
    assert_eq!(other.line(), "more");
    let path = file.to_str().unwrap();
    let changed = compared(&ask(&["--json", &right, "--against", path]).success());
    for total in changed["totals"].as_array().unwrap() {
        let (before, now) = (total["left"].as_i64(), total["right"].as_i64());
        let difference = before.zip(now).map(|(before, now)| now - before);
        assert_eq!(total["difference"].as_i64(), difference, "{total}");
    }
    for (path, reason) in [("/nothing/there", "/nothing/there"), ("/dev/null", "no snapshot")] {
        let refused = ask(&["--json", &right, "--against", path]);
        assert_eq!(refused.code(), 1);
        assert!(refused.err().contains(reason), "{}", refused.err());
    }
    for form in ["csv", "openmetrics"] {
        assert_eq!(ask(&["--format", form, &right, "--against", path]).code(), 2);
    }
    // Of several it would not be known which is meant.
    assert_eq!(ask(&["--json", &left, &right, "--against", path]).code(), 2);
}

#[test]
fn manual_pages_and_completions_are_what_their_readers_expect() {
    for page in [&["man"][..], &["man", "run"]] {
        let page = ask(page).success().out();
        assert!(page.contains(".TH statsmon") && page.contains(".SH SYNOPSIS"), "{page}");
        if find("man").is_some() {
            approves(Command::new("man").args(["--warnings", "-E", "UTF-8", "-l", "-"]).env("MANWIDTH", "80"), &page);
        }
    }
    let bash = ask(&["completions", "bash"]).success().out();
    assert!(bash.contains("--against") && bash.contains("openmetrics"), "{bash}");
    approves(Command::new("bash").arg("-n"), &bash);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(ask(&["completions", shell]).success().out().contains("statsmon"), "{shell}");
    }
    assert_eq!(ask(&["completions", "abacus"]).code(), 2);
}

#[test]
fn the_help_teaches() {
    let help = ask(&["--help"]).success().out();
    for word in ["LEAK SUSPECTED", "pinned", "--against", "openmetrics", "Exit codes", "statsmon run --"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}
