//! Who frees other allocators' blocks is told once and kept in the segment, with the file its code is from.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::artefacts::compiled;
use tests::hazard::{self, Allocator, Outcome};
use tests::{Run, Running, Snapshot, missing, program, snapshot, statsmon};

/// Callers that a segment has room for.
const KEPT: usize = 16;

fn library() -> PathBuf {
    compiled("callers.c", &["-shared", "-fPIC"])
}

/// `foreign.c`, as `binary`, up to its first pause.
fn begun(binary: &Path, mode: &str) -> Running {
    begun_with(binary, mode, &library())
}

fn begun_with(binary: &Path, mode: &str, library: &Path) -> Running {
    let mut command = Command::new(binary);
    command.arg(mode).arg(compiled("hazards/deep.c", &["-shared", "-fPIC"])).arg(library);
    let mut running = command.env("STATSALLOC_MISUSE", "double=count").preload().begin();
    assert_eq!(running.line(), "before");
    running
}

/// Lets it free its blocks, and looks.
fn freed(running: &mut Running) -> Snapshot {
    assert_eq!(snapshot(running.pid()).number("/misuse/foreign_frees"), 0);
    running.go();
    assert_eq!(running.line(), "after");
    snapshot(running.pid())
}

/// Lets it end; what it has said on standard error.
fn told(mut running: Running) -> Vec<String> {
    running.go();
    assert_eq!(running.line(), "survived");
    running.finish().success().err().lines().map(str::to_owned).collect()
}

/// The records, oldest first, each of them whole.
fn records(seen: &Snapshot) -> &[Value] {
    let records = seen.list("/misuse/last");
    for record in records.iter().filter(|record| record["kind"] != "double_free") {
        assert_eq!((record["kind"].as_str(), record["call"].as_str()), (Some("foreign"), Some("free")), "{record}");
        assert!(
            record["address"].as_str().unwrap().starts_with("0x") && record["tid"].as_u64().unwrap() > 0,
            "{record}"
        );
    }
    records
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_else(|| panic!("no {field} in {record}"))
}

/// What a symboliser calls the function that the caller is in.
fn function(record: &Value, file: &Path) -> String {
    let path = text(record, "module");
    // Of a long path only the end is kept.
    assert!(file.to_str().unwrap().ends_with(path.trim_start_matches('…')), "{path} is not {}", file.display());
    let mut command = Command::new("addr2line");
    let found = command.arg("-f").arg("-e").arg(file).arg(text(record, "module_offset")).finish().success().out();
    found.lines().next().unwrap().to_owned()
}

#[test]
fn the_last_sixteen_callers_are_kept_with_a_place_that_can_be_symbolised() {
    if missing(&["addr2line"]) {
        return;
    }
    // One that is loaded anywhere, and one that is linked for its address.
    for binary in [program("foreign.c"), compiled("foreign.c", &["-no-pie"])] {
        let mut running = begun(&binary, "once");
        let seen = freed(&mut running);
        assert_eq!(seen.number("/misuse/foreign_frees"), (1..=20).sum::<i64>());
        let records = records(&seen);
        assert_eq!(records.len(), KEPT, "{records:?}");
        for (record, number) in records.iter().zip(5..) {
            assert_eq!((record["number"].as_u64(), record["frees"].as_u64()), (Some(number), Some(number)), "{record}");
            let (prefix, first, file) =
                if number <= 10 { ("program", 1, &binary) } else { ("library", 11, &library()) };
            assert_eq!(function(record, file), format!("{prefix}_{}", number - first), "{record}");
        }
        let lines = told(running);
        assert_eq!(lines.len(), 20, "one for each caller: {lines:?}");
        for (line, record) in lines[4..].iter().zip(records) {
            let path = text(record, "module");
            let place = format!("({}+{})", path.rsplit('/').next().unwrap(), text(record, "module_offset"));
            for word in [text(record, "address"), text(record, "caller"), &place] {
                assert!(line.contains(word), "no {word} in {line}");
            }
        }
    }
}

/// Names are looked up in the C library alone there, and mean this heap all the same.
#[test]
fn a_block_of_ours_is_freed_where_the_preloaded_names_do_not_come_first() {
    let ours = Allocator::ours();
    for name in [
        "to_a_deeply_bound_library",
        "to_the_c_library_by_its_handle",
        "from_a_deeply_bound_library",
        "mixed_with_a_deeply_bound_library",
    ] {
        let case = hazard::cases().into_iter().find(|case| case.name == name).unwrap();
        let (outcome, finished) = case.run(&ours);
        assert_eq!(outcome, Outcome::Survived, "{name}: {finished:?}");
        assert_eq!(finished.err(), "", "{name}: nothing is foreign");
    }
}

#[test]
fn racing_callers_are_told_of_once_and_counted_to_the_last() {
    for _ in 0..5 {
        let mut running = begun(&program("foreign.c"), "race");
        // Who looks while they race sees whole records only.
        let pid = running.pid().to_string();
        let mut watch = Command::new(statsmon());
        let mut watch = watch.args(["--json", "-n", "1000", "-d", "0.05", &pid]).begin();
        running.go();
        let mut sum = 0;
        while sum < 4 * 500 * 20 {
            let document: Value = serde_json::from_str(&watch.line()).unwrap();
            let seen = Snapshot(document["processes"][0].clone());
            let mut by_caller = BTreeMap::new();
            for record in records(&seen) {
                let place = (text(record, "module").to_owned(), text(record, "module_offset").to_owned());
                let known = by_caller.insert(text(record, "caller").to_owned(), place);
                assert!(known.is_none(), "{record} is there twice");
                assert!(record["frees"].as_u64().unwrap() <= 4 * 500, "{record}");
            }
            assert!(by_caller.len() <= KEPT);
            sum = seen.number("/misuse/foreign_frees");
        }
        drop(watch);
        assert_eq!(running.line(), "after");
        let seen = snapshot(running.pid());
        assert_eq!(seen.number("/misuse/foreign_frees"), 4 * 500 * 20);
        let records = records(&seen);
        assert_eq!(records.len(), KEPT, "{records:?}");
        assert!(records.iter().all(|record| record["frees"] == 4 * 500), "{records:?}");
        assert_eq!(told(running).len(), 20, "one for each caller");
    }
}

#[test]
fn a_file_called_like_a_terminal_command_is_named_and_not_obeyed() {
    let folder = tests::artefacts::Folder::new();
    let file = folder.path().join("lib\x1b]0;owned\x07\x1b[2J.so");
    std::fs::copy(library(), &file).unwrap();
    let mut running = begun_with(&program("foreign.c"), "once", &file);
    let seen = freed(&mut running);
    assert_eq!(records(&seen).last().unwrap()["module"], file.to_str().unwrap());
    let text = Command::new(statsmon()).arg("--once").arg(running.pid().to_string()).finish().success().out();
    assert!(text.contains("lib\\x1b]0;owned\\x07\\x1b[2J.so+0x"), "{text}");
    let told = told(running);
    assert!(told[19].contains("(lib?]0;owned??[2J.so+0x"), "{}", told[19]);
    let steers = |text: &str| text.chars().any(|character| character.is_control() && character != '\n');
    assert!(!steers(&text) && !told.iter().any(|line| steers(line)), "{text}{told:?}");
}

#[test]
fn a_child_counts_for_itself_and_tells_nothing_anew() {
    let mut running = begun(&program("foreign.c"), "fork");
    running.go();
    let line = running.line();
    let child: u32 = line.strip_prefix("after ").unwrap().parse().unwrap();
    let seen = snapshot(child);
    assert_eq!(seen.number("/misuse/foreign_frees"), 1);
    let records = records(&seen);
    assert_eq!((records.len(), &records[0]["frees"], &records[0]["number"]), (1, &1.into(), &1.into()), "{records:?}");
    assert_eq!(records[0]["tid"], child);
    let parent = snapshot(running.pid());
    assert_eq!(parent.list("/misuse/last").len(), KEPT);
    assert_eq!(told(running).len(), 20, "one for each caller");
}

#[test]
fn many_callers_push_no_graver_misuse_out() {
    if missing(&["addr2line"]) {
        return;
    }
    let binary = program("foreign.c");
    let mut running = begun(&binary, "graver");
    let seen = freed(&mut running);
    let pid = running.pid();
    let text_form = Command::new(statsmon()).arg("--once").arg(pid.to_string()).finish().success().out();
    let lines: Vec<_> = text_form.lines().filter(|line| line.contains("foreign: free(0x")).collect();
    assert_eq!(lines.len(), KEPT, "{text_form}");
    let (graver, callers) = records(&seen).split_at(KEPT);
    assert!(text_form.contains("  double free: free("), "{text_form}");
    for record in graver {
        // Nothing was told of any of them; the place was looked up once.
        assert!(record["kind"] == "double_free" && record["frees"].is_null(), "{record}");
        assert_eq!(function(record, &binary), "main", "{record}");
    }
    for (line, record) in lines.iter().zip(callers) {
        let place = format!("({}+{})", text(record, "module"), text(record, "module_offset"));
        assert!(line.contains(&place) && line.ends_with(" more from there"), "{line}");
    }
    assert_eq!(told(running).len(), 20, "one for each caller");
}
