//! What is said of a process.

use super::written;
use crate::model::diagnosis::{ClassShare, Finding, Kind, Numbers, ThreadShare};
use crate::model::fake::{CREATED, about, busy};
use crate::model::limits::Growth;
use crate::model::{Diagnosis, Limits, Line, Process, Snapshot, State};
use crate::view::{text, verdict};

#[test]
fn a_span_that_grows_does_not_seem_to_shrink() {
    let least = |seconds: u32| {
        let text = verdict::span(f64::from(seconds));
        let (number, unit) = text.split_once(' ').unwrap();
        number.parse::<u32>().unwrap() * if unit == "s" { 1 } else { 60 }
    };
    assert!((1..3599).all(|seconds| least(seconds) <= least(seconds + 1)));
    assert_eq!([119.0, 120.0, 3599.0, 7500.0].map(verdict::span), ["119 s", "2 min", "59 min", "2 h 05 min"]);
}

fn finding(kind: Kind) -> Finding {
    Finding {
        kind,
        since: Some(CREATED),
        numbers: Numbers {
            bytes: Some(211 << 20),
            share: Some(0.42),
            bytes_per_second: (kind != Kind::NotHeap).then_some(1.2e6),
            seconds: Some(1020.0),
            low_bytes: Some(10 << 20),
            high_bytes: (kind != Kind::Growing).then_some(20 << 20),
            allocations_per_second: Some(1.3e6),
            thread_ends_per_second: Some(12.0),
            live_blocks: (kind == Kind::Fragmentation).then_some(12),
            carved_blocks: Some(480),
            slabs: Some(31),
            file_bytes: Some(200 << 20),
        },
        classes: vec![
            ClassShare { line: Line::class(4096), share: 0.6, bytes: 600 },
            ClassShare { line: Line::bucket(Some(131_072)), share: 0.3, bytes: 300 },
        ],
        threads: vec![ThreadShare {
            tid: Some(7),
            name: "evil\x1b[2J".into(),
            share: 0.71,
            certain_share: 0.71,
            allocated_by_bytes: 1,
        }],
    }
}

#[test]
fn of_a_dead_process_it_is_said_where_its_growth_came_from() {
    let mut process = busy().process(about(State::Crashed), 12);
    process.misuse.as_mut().unwrap().last.clear();
    for state in [State::Crashed, State::Exited] {
        process.state = state;
        let mut said = |kind: Kind| {
            process.diagnosis = Some(Diagnosis { finding: finding(kind), also: None });
            written(|out| text::write_details(&Snapshot::of(CREATED, vec![process.clone()]), out))
        };
        let leak = said(Kind::LeakSuspected);
        let lines: Vec<&str> = leak.lines().map(str::trim).skip_while(|line| !line.contains("before: ")).collect();
        assert!(lines[1].starts_with("where: class 4096 60 %"), "{leak}");
        assert!(lines[2].starts_with("alloc. by: evil"), "{leak}");
        // A cache that nobody can give back, and maps that are gone, are nowhere.
        assert!(!said(Kind::Cache).contains("returns") && !said(Kind::NotHeap).contains("/proc/"));
    }
}

#[test]
fn one_that_was_about_to_meet_its_limit_has_most_likely_run_out_of_memory() {
    let mut process = busy().process(about(State::Crashed), 12);
    process.misuse.as_mut().unwrap().last.clear();
    let mut said = |used: u64, growth: f64| {
        let growth = Growth { heap: Some(growth), outside: None };
        process.limits = Some(Limits::at_growth(300 << 20, used << 20, &growth));
        (
            verdict::verdict(&process).unwrap().text,
            written(|out| text::write_details(&Snapshot::of(CREATED, vec![process.clone()]), out)),
        )
    };
    let (near, whole) = said(288, 0.0);
    assert_eq!(near, "out of memory? its cgroup had used 96 % of 300 MiB when last seen");
    assert!(whole.contains("288 MiB used\n") && !whole.contains("met in"), "{whole}");
    assert!(said(200, 50e6).0.starts_with("out of memory?"));
    assert!(said(200, 1e6).0.starts_with("killed, crashed"));
}

#[test]
fn a_misuse_that_the_process_has_survived_stands_above_its_figures() {
    let mut process = busy().process(about(State::Live), 12);
    let said = |process: &Process, also: Option<Kind>| {
        let diagnosis = Some(Diagnosis { finding: finding(Kind::Stable), also: also.map(finding) });
        verdict::verdict(&Process { diagnosis, ..process.clone() }).unwrap().also.unwrap_or_default()
    };
    assert!(said(&process, None).starts_with("misuse: double free in free(0x"), "{}", said(&process, None));
    assert!(said(&process, Some(Kind::NotHeap)).starts_with("not the heap: "));
    process.misuse.as_mut().unwrap().last.retain(|event| event.kind == "foreign");
    assert_eq!(said(&process, None), "");
}

#[test]
fn a_misuse_stands_in_the_list_unless_something_else_is_wrong() {
    let mut process = busy().process(about(State::Live), 12);
    let word = |process: &Process, kind: Option<Kind>| {
        let diagnosis = kind.map(|kind| Diagnosis { finding: finding(kind), also: None });
        verdict::word(&Process { diagnosis, ..process.clone() })
    };
    assert_eq!(word(&process, Some(Kind::Stable)), "misuse!");
    assert_eq!(word(&process, None), "misuse!");
    assert_eq!(word(&process, Some(Kind::LeakSuspected)), "leak?");
    process.state = State::Crashed;
    assert_eq!(word(&process, Some(Kind::LeakSuspected)), "misuse!");
    process.misuse.as_mut().unwrap().last.retain(|event| event.kind == "foreign");
    assert_eq!(word(&process, Some(Kind::LeakSuspected)), "leak?");
}

#[test]
fn every_diagnosis_has_its_words() {
    let kinds = [
        Kind::NotHeap,
        Kind::LeakSuspected,
        Kind::WarmingUp,
        Kind::Growing,
        Kind::Filling,
        Kind::Fragmentation,
        Kind::Rounding,
        Kind::Cache,
        Kind::Churn,
        Kind::ThreadChurn,
        Kind::Stranded,
        Kind::Stable,
        Kind::Varying,
    ];
    let mut words = Vec::new();
    for kind in kinds {
        let mut process = busy().process(about(State::Live), 12);
        let also = (kind == Kind::LeakSuspected).then(|| finding(Kind::Cache));
        process.diagnosis = Some(Diagnosis { finding: finding(kind), also });
        let verdict = verdict::verdict(&process).unwrap();
        words.push(format!("{}  {}\n  {}", verdict.title, verdict.text, verdict.place.join("\n  ")));
        words.extend(verdict.also.as_ref().map(|also| format!("  also {also}")));
        assert!(verdict.title.len() + verdict.text.len() + 4 <= 80, "{verdict:?} does not fit");
        assert!(verdict::word(&process).len() <= 9);
    }
    let mut process = busy().process(about(State::Live), 12);
    let mut again = finding(Kind::Growing);
    again.numbers.high_bytes = Some(1 << 30);
    process.diagnosis = Some(Diagnosis { finding: again, also: None });
    words.push(format!("GROWING  {}", verdict::verdict(&process).unwrap().text));
    insta::assert_snapshot!("diagnoses", words.join("\n"));
}
