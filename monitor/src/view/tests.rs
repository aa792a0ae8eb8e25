//! What a fixed model looks like in every form.

mod verdicts;

use super::{csv, json, openmetrics, report, text, verdict};
use crate::model::diagnosis::{Finding, Kind, Numbers};
use crate::model::fake::{CREATED, about, busy, taken_over};
use crate::model::{Diagnosis, Identity, Process, Snapshot, State, compare, derive};
use serde_json::Value;
use std::io;

fn snapshot() -> Snapshot {
    let now = CREATED.plus_seconds(12);
    let live = busy().process(about(State::Live), 12);
    let mut closed = derive::without_segment(about(State::NoAccess), now);
    closed.pid = 2000;
    closed.command = "evil\x1b]0;title\x07 \"quoted\", text".into();
    Snapshot::of(now, vec![live, closed])
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Every path in a JSON value with the type that is found there.
fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    let kind = match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| paths(value, &format!("{path}.{name}"), found));
            return;
        }
        Value::Array(items) => {
            items.iter().for_each(|item| paths(item, &format!("{path}[]"), found));
            return;
        }
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
    };
    let line = format!("{path}: {kind}");
    if !found.contains(&line) {
        found.push(line);
    }
}

#[test]
fn what_others_freed_of_an_ended_threads_heap_is_not_told_of_the_next_thread() {
    let snapshot = Snapshot::of(CREATED.plus_seconds(12), vec![taken_over().process(about(State::Live), 12)]);
    let text = written(|out| text::write_details(&snapshot, out));
    let line = text.lines().find(|line| line.ends_with("innocent")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["1234", "2", "2", "32", "B", "32", "B", "0", "-", "innocent"]
    );
}

#[test]
fn the_json_keeps_its_names_and_types() {
    let mut live_only = snapshot();
    live_only.processes.truncate(1);
    let written = written(|out| json::write(&live_only, out));
    assert_eq!(written.matches('\n').count(), 1);
    let value: Value = serde_json::from_str(&written).unwrap();
    let mut found = Vec::new();
    paths(&value, "", &mut found);
    insta::assert_snapshot!("json_names", found.join("\n"));
    insta::assert_snapshot!("json_totals", format!("{:#}", value["processes"][0]["totals"]));
}

#[test]
fn every_name_in_the_json_stands_in_the_readme() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let mut all = snapshot();
    let side = |process: &Process| compare::Side::of(process, CREATED);
    all.comparison = Some(compare::compare(&side(&all.processes[0]), &side(&all.processes[0])));
    let value: Value = serde_json::from_str(&written(|out| json::write(&all, out))).unwrap();
    let mut found = Vec::new();
    paths(&value, "", &mut found);
    let names = found.iter().flat_map(|line| line.split(": ").next().unwrap().split(['.', '[', ']']));
    let missing: Vec<&str> = names.filter(|name| !name.is_empty() && !readme.contains(&format!("`{name}`"))).collect();
    // What belongs to an event is told by its name.
    let missing: Vec<&str> = missing.into_iter().filter(|name| !["child", "before"].contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_is_unknown_is_null_and_never_nought() {
    let value: Value = serde_json::from_str(&written(|out| json::write(&snapshot(), out))).unwrap();
    let closed = &value["processes"][1];
    assert_eq!(closed["state"], "no_access");
    assert!(closed["totals"]["requested_bytes"].is_null() && closed["misuse"].is_null());
    assert_eq!(closed["totals"]["rss_bytes"], 3 << 20);
}

#[test]
fn the_list_has_a_line_per_process() {
    insta::assert_snapshot!("list", written(|out| text::write_list(&snapshot(), out)));
}

#[test]
fn the_details_are_aligned() {
    insta::assert_snapshot!("details", written(|out| text::write_details(&snapshot(), out)));
}

#[test]
fn no_figure_of_the_csv_has_an_exponent() {
    let mut process = busy().process(about(State::Live), 12);
    process.totals.resident_age_seconds = Some(6.9e-8);
    let written = written(|out| csv::write(&Snapshot::of(CREATED, vec![process]), out));
    assert!(written.contains(",0.000000069,"), "{written}");
}

#[test]
fn the_csv_has_as_many_cells_as_names() {
    let written = written(|out| csv::write_names(out).and_then(|()| csv::write(&snapshot(), out)));
    insta::assert_snapshot!("csv", written);
    let cells = |line: &str| line.matches(',').count();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(cells(lines[0]), cells(lines[1]));
}

#[test]
fn nothing_ever_escapes_to_the_terminal() {
    let processes = snapshot().processes;
    let ending = report::Ending::of("a\x1b[2J");
    let views = [
        written(|out| text::write_list(&snapshot(), out)),
        written(|out| text::write_details(&snapshot(), out)),
        written(|out| report::write(&ending, &processes, 0, out)),
    ];
    for view in views {
        assert!(view.chars().all(|character| character == '\n' || !character.is_control()), "{view}");
    }
}

#[test]
fn what_steers_a_terminal_is_escaped_in_json_and_read_back_as_it_was() {
    let command = "a\u{9b}31m\u{85}\u{202e}\u{feff}\u{7f}\x1b[2J\n\"\\ é \u{1f980}";
    let mut hostile = snapshot();
    hostile.processes[0].command = command.into();
    let json = written(|out| json::write(&hostile, out));
    let steers = |character: char| character != '\n' && super::format::is_dangerous(character);
    assert!(!json.chars().any(steers) && json.matches('\n').count() == 1, "{json:?}");
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["processes"][0]["command"], command);
}

#[test]
fn a_descendant_with_the_programs_number_elsewhere_is_not_taken_for_the_program() {
    let mut elsewhere = busy().process(about(State::Exited), 12);
    (elsewhere.id, elsewhere.command) = (Identity::Segment { device: 3, inode: 7 }, "elsewhere".into());
    let processes = [elsewhere, busy().process(about(State::Exited), 12)];
    let ending = report::Ending::of("less");
    let report = written(|out| report::write(&ending, &processes, 0, out));
    let descendants = report.split("descendants").nth(1).unwrap();
    assert!(
        descendants.contains("elsewhere") && descendants.ends_with("(its PID in another PID namespace)\n"),
        "{report}"
    );
    assert!(!descendants.contains("less"), "{report}");
}

#[test]
fn the_report_names_the_program_first_and_then_its_descendants() {
    let mut child: Process = busy().process(about(State::Exited), 12);
    (child.id, child.pid) = (Identity::Process { pid: 1300, start_ticks: 0 }, 1300);
    child.command = "child".into();
    let processes = [busy().process(about(State::Exited), 12), child];
    let how = "ended with status 3".into();
    let ending = report::Ending { how, seconds: 1.25, ..report::Ending::of("less README.md") };
    insta::assert_snapshot!("report", written(|out| report::write(&ending, &processes, 2, out)));
    insta::assert_snapshot!("report_without_statistics", written(|out| report::write(&ending, &[], 0, out)));
}

#[test]
fn the_report_says_whether_the_kernel_killed_for_want_of_memory_and_how_sure_that_is() {
    let line = |out_of_memory: report::OutOfMemory| {
        let out_of_memory = Some(out_of_memory);
        let ending = report::Ending { by_signal: true, out_of_memory, ..report::Ending::of("less") };
        let report = written(|out| report::write(&ending, &[], 0, out));
        report.lines().nth(1).unwrap().to_owned()
    };
    use report::OutOfMemory::{Group, System};
    assert_eq!(
        line(Group { kills: 1, was_killed: true }),
        "  out of memory: the kernel killed it, or another process of its control group"
    );
    assert_eq!(
        line(Group { kills: 1, was_killed: false }),
        "  out of memory: the kernel killed a process of its control group meanwhile"
    );
    assert_eq!(
        line(Group { kills: 2, was_killed: true }),
        "  out of memory: the kernel killed 2 processes of its control group meanwhile"
    );
    assert_eq!(
        line(System { kills: 1 }),
        "  out of memory? the kernel killed a process of this system for want of it meanwhile"
    );
}

#[test]
fn figures_from_before_an_exec_are_not_reported_as_the_final_ones() {
    let first_lines = |process: &Process, by_signal| {
        let (command, how) = ("env -i less".into(), "ended".into());
        let ending = report::Ending {
            command,
            how,
            by_signal,
            out_of_memory: None,
            was_verbose: false,
            seconds: 1.0,
            pid: 1234,
        };
        let mut child = process.clone();
        (child.id, child.pid) = (Identity::Process { pid: 1300, start_ticks: 0 }, 1300);
        let text = written(|out| report::write(&ending, &[process.clone(), child], 0, out));
        let child = text.lines().find(|line| line.trim_start().starts_with("1300")).unwrap().to_owned();
        (text.lines().nth(1).unwrap().to_owned(), child)
    };
    let mut process = busy().process(about(State::Crashed), 12);
    let (program, descendant) = first_lines(&process, false);
    assert!(program.contains("became a program without the library") && !descendant.contains("killed "), "{program}");
    assert!(descendant.contains("killed, or exec"), "{descendant}");
    // So does who may not make system calls at its end: its figures are the final ones.
    assert!(program.contains("if it became") && program.contains("or had given up new privileges"), "{program}");
    let (program, _) = first_lines(&process, true);
    assert!(program.starts_with("  peak requested"), "{program}");
    (process.state, process.replaced_by) = (State::Exited, Some("evil\x1b[31m".into()));
    let (program, descendant) = first_lines(&process, true);
    assert!(program.contains("had become evil\\x1b[31m, a program without the library"), "{program}");
    assert!(descendant.contains("became evil\\x1b[31m"), "{descendant}");
}

#[test]
fn a_program_that_was_replaced_raises_no_alarm() {
    let mut process = busy().process(about(State::Replaced), 12);
    process.replaced_by = Some("evil\x1b[31m".into());
    for state in [State::Replaced, State::Exited] {
        process.state = state;
        let verdict = verdict::verdict(&process).unwrap();
        assert!(!verdict.alarms && verdict.text.contains("become evil\\x1b[31m, without the library"), "{verdict:?}");
        assert!(verdict.place[0].contains("before that"), "{verdict:?}");
    }
    let snapshot = Snapshot::of(CREATED, vec![busy().process(about(State::Replaced), 12)]);
    let metrics = written(|out| openmetrics::write(&snapshot, false, out));
    assert!(metrics.lines().all(|line| line.starts_with('#')), "its heap is gone, and it is not dead: {metrics}");
    let mut crashed = busy().process(about(State::Crashed), 12);
    crashed.misuse.as_mut().unwrap().last.clear();
    assert!(verdict::verdict(&crashed).unwrap().text.contains("replaced by exec"), "a segment alone cannot tell");
}

#[test]
fn openmetrics_keep_their_names_and_labels() {
    let written = written(|out| openmetrics::write(&snapshot(), true, out));
    // Of the many sizes two say it all.
    let kept = |line: &&str| !line.contains("block_bytes=") || line.contains("=\"64\"") || line.contains("+Inf");
    let kept: Vec<&str> = written.lines().filter(kept).collect();
    insta::assert_snapshot!("openmetrics", kept.join("\n"));
    assert!(!written.contains("pid=\"2000\""), "what cannot be read has no figures");
}

#[test]
fn every_metric_stands_in_the_readme() {
    let readme = include_str!("../../../README.md");
    let all = written(|out| openmetrics::write(&snapshot(), false, out));
    let names: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    assert!(names.len() > 20, "{all}");
    for name in names {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn openmetrics_of_a_dead_process_say_that_it_is_dead_and_no_more() {
    let processes = [State::Crashed, State::Exited, State::Crashed].map(|state| busy().process(about(state), 12));
    let snapshot = Snapshot::of(CREATED, processes.to_vec());
    let written = written(|out| openmetrics::write(&snapshot, false, out));
    let samples: Vec<&str> = written.lines().filter(|line| !line.starts_with('#')).collect();
    let of = |state, count| format!("malloc_dead_processes{{process=\"less\",state=\"{state}\"}} {count}");
    assert_eq!(samples, [of("crashed", 2), of("exited", 1)]);
}

#[test]
fn the_help_of_openmetrics_is_true_of_processes_that_are_summed() {
    let mut one = busy().process(about(State::Live), 12);
    let finding =
        Finding { kind: Kind::Stable, since: None, numbers: Numbers::default(), classes: vec![], threads: vec![] };
    one.diagnosis = Some(Diagnosis { finding, also: None });
    let two = vec![one; 2];
    let written = written(|out| openmetrics::write(&Snapshot::of(CREATED, two.clone()), false, out));
    let of = |name: &str| {
        let start = format!("{name}{{");
        let help = written.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        let sample = written.lines().find(|line| line.starts_with(&start)).and_then(|line| line.rsplit(' ').next());
        (help.unwrap().to_owned(), sample.unwrap().parse::<u64>().unwrap())
    };
    for (name, peak) in [
        ("malloc_peak_requested_bytes", two[0].totals.peak_requested_bytes),
        ("malloc_peak_allocated_bytes", two[0].totals.peak_allocated_bytes),
    ] {
        let (help, sum) = of(name);
        assert_eq!(Some(sum), peak.map(|peak| 2 * peak));
        assert!(help.contains("in each process, added up"), "{help}");
    }
    let (help, sum) = of("malloc_diagnosis");
    assert!(sum == 2 && help.starts_with("Processes"), "{help}: {sum}");
    let counters = written.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once("_total "));
    for (name, help) in counters {
        assert!(help.ends_with(" living processes."), "{name} falls when a process ends: {help}");
    }
}

#[test]
fn a_name_cannot_break_out_of_its_label() {
    let mut process = busy().process(about(State::Live), 12);
    process.name = "a\"} 1\n\\b\x1b".into();
    let snapshot = Snapshot::of(CREATED, vec![process]);
    let written = written(|out| openmetrics::write(&snapshot, false, out));
    assert!(written.contains("malloc_processes{process=\"a\\\"} 1\\\\n\\\\b\\\\x1b\"} 1\n"), "{written}");
}
