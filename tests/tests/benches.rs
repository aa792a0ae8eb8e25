//! The benchmarks run, small and once; no time is judged here. They judge by means and intervals: these must be right.

#[path = "../benches/stats.rs"]
mod stats;

use serde_json::Value;
use stats::{arithmetic, geometric, median, student};
use std::process::Command;
use std::time::Duration;
use tests::artefacts::{Folder, cargo, compiled};
use tests::{Finished, Run, missing};

fn peers(arguments: &[&str]) -> Finished {
    benchmark("peers", arguments)
}

/// A benchmark, built as this test is.
fn benchmark(name: &str, arguments: &[&str]) -> Finished {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap();
    let profile = if built.ends_with("debug") { "dev" } else { "release" };
    let mut bench: Command = cargo();
    bench.args(["bench", "--quiet", "--locked", "-p", "tests", "--bench", name, "--profile", profile]);
    bench.arg("--target-dir").arg(built.parent().unwrap()).arg("--").args(arguments);
    // It may have to be built first.
    bench.finish_within(Duration::from_secs(1200))
}

/// All that are compared.
const ALLOCATORS: [&str; 7] = ["glibc", "statsalloc", "mimalloc3", "snmalloc", "mimalloc2", "jemalloc", "tcmalloc"];

#[test]
fn every_benchmark_runs_and_every_reading_is_there() {
    if missing(&["gcc", "g++"]) {
        return;
    }
    let folder = Folder::new();
    let [json, page] = ["readings.json", "page.md"].map(|name| folder.path().join(name));
    let modes = ["suite", "micro", "startup", "scaling", "heap", "giveback", "price"];
    let mut arguments = vec!["--all", "--quick"];
    arguments.extend(["--json", json.to_str().unwrap(), "--page", page.to_str().unwrap()]);
    let told = peers(&arguments).success();
    let readings: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let seen: Vec<&str> =
        readings["modes"].as_array().unwrap().iter().map(|mode| mode["mode"].as_str().unwrap()).collect();
    assert_eq!(seen, modes);
    // All of them, or those that are there, and a word on the others.
    let there = |name: &&str| readings["allocators"][name].is_string();
    let (compared, absent): (Vec<&str>, Vec<&str>) = ALLOCATORS.into_iter().partition(there);
    assert!(std::env::var_os("CI").is_none() || absent.is_empty(), "without {absent:?}: {}", told.err());
    assert!(absent.iter().all(|name| told.err().contains(&format!("without {name}: "))), "{absent:?}: {}", told.err());
    assert!(["glibc", "statsalloc"].iter().all(|name| compared.contains(name)), "{compared:?}");
    for mode in readings["modes"].as_array().unwrap() {
        let cases = mode["cases"].as_array().unwrap();
        assert!(!cases.is_empty(), "{mode}");
        let compared = if mode["mode"] == "price" { &["bare", "statsalloc"] } else { compared.as_slice() };
        for case in cases {
            for allocator in compared {
                let run = &case["runs"][allocator][0];
                let figure = run["figure"].as_f64().unwrap_or_else(|| panic!("{case}"));
                assert!(figure > 0.0 || case["unit"] == "KiB", "{case}");
                assert!(run["peak_rss_kib"].as_f64().unwrap() > 100.0, "{case}");
            }
        }
    }
    for group in ["single", "multi", "real"] {
        assert!(readings["modes"][0]["cases"].as_array().unwrap().iter().any(|case| case["group"] == group));
    }
    let page = std::fs::read_to_string(&page).unwrap();
    for text in [
        "# Allocators compared",
        "| kernel | Linux",
        "## Whole programs",
        "| trees |",
        "## Price of the statistics",
        "| a doubling |",
    ] {
        assert!(page.contains(text), "{text} is not on the page:\n{page}\n{}", told.err());
    }
}

#[test]
fn a_program_that_fails_under_an_allocator_is_told_and_fails_the_run() {
    if missing(&["gcc", "g++"]) {
        return;
    }
    let broken = format!("broken={}", compiled("broken.c", &["-shared", "-fPIC"]).display());
    let told =
        peers(&["--quick", "--allocators", "glibc", "--library", &broken, "--only", "trees", "--only", "vectors"]);
    assert_eq!(told.code(), 1, "{}{}", told.out(), told.err());
    let lines = told.out();
    let row = lines.lines().find(|line| line.starts_with("trees")).unwrap();
    assert!(row.contains("FAILED"), "{lines}");
    assert!(lines.lines().any(|line| line.contains("broken") && line.contains("exit status: 3")), "{lines}");
}

/// The loader goes on without it, and the program with another allocator than the one that is named.
#[test]
fn a_library_that_is_not_preloaded_is_told_and_not_measured() {
    if missing(&["gcc", "g++"]) {
        return;
    }
    let told = peers(&["--quick", "--allocators", "glibc", "--library", "none=/usr/bin/env", "--only", "trees"]);
    assert_eq!(told.code(), 1, "{}{}", told.out(), told.err());
    let lines = told.out();
    let row = lines.lines().find(|line| line.starts_with("trees")).unwrap();
    assert!(row.contains("FAILED"), "{lines}");
    assert!(lines.lines().any(|line| line.contains("none") && line.contains("cannot be preloaded")), "{lines}");
}

#[test]
fn watching_is_measured_and_readings_add_up() {
    if missing(&["gcc"]) {
        return;
    }
    let folder = Folder::new();
    let readings = folder.path().join("readings");
    let arguments = ["--quick", "--pairs", "2", "--threads", "2", "--readings", readings.to_str().unwrap()];
    for pairs in [2, 4] {
        let told = benchmark("watching", &arguments).success().out();
        assert!(told.contains(&format!("{pairs} pairs, 2 threads, a look each 0.1 s")), "{told}");
        let figures: Vec<&str> = told.lines().filter(|line| line.contains("time of an operation")).collect();
        assert_eq!(figures.len(), 2, "{told}");
        assert!(figures.iter().all(|line| line.contains("mean") && !line.contains("NaN")), "{told}");
        assert_eq!(std::fs::read_to_string(&readings).unwrap().lines().count(), pairs);
    }
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-3 * right.abs()
}

#[test]
fn one_outlier_does_not_move_the_median() {
    assert_eq!(median(&[3.0, 1.0, 1000.0]), 3.0);
    assert_eq!(median(&[4.0, 1.0, 1000.0, 2.0]), 3.0);
    assert!(median(&[]).is_nan());
}

#[test]
fn a_ratio_and_its_inverse_cancel() {
    let even = geometric(&[0.5, 2.0]);
    assert!(close(even.mean, 1.0), "{even:?}");
    // Mean 0, deviation ln 2 x sqrt 2, two values: half = 12.706 x ln 2.
    assert!(close(even.high, (12.706 * 2f64.ln()).exp()), "{even:?}");
    assert!(close(even.low * even.high, 1.0), "{even:?}");
}

#[test]
fn a_difference_has_its_sign_and_its_interval() {
    let saved = arithmetic(&[-3.0, -1.0]);
    // Deviation sqrt 2, two values: half = 12.706 x 1.
    assert!(close(saved.mean, -2.0) && close(saved.low, -14.706) && close(saved.high, 10.706), "{saved:?}");
}

#[test]
fn equal_ratios_leave_no_doubt_and_one_alone_leaves_all() {
    let sure = geometric(&[0.7; 15]);
    assert!(close(sure.low, 0.7) && close(sure.high, 0.7), "{sure:?}");
    let single = geometric(&[0.7]);
    assert!(close(single.mean, 0.7) && single.low.is_nan() && single.high.is_nan(), "{single:?}");
}

#[test]
fn more_runs_narrow_the_interval() {
    let few = geometric(&[0.8, 0.9, 1.0]);
    let many = geometric(&[0.8, 0.9, 1.0].repeat(5));
    assert!(close(few.mean, many.mean));
    assert!(few.low < many.low && many.high < few.high);
}

#[test]
fn the_table_of_quantiles_only_falls() {
    let all: Vec<f64> = (1..200).map(student).collect();
    assert!(all.windows(2).all(|pair| pair[1] <= pair[0]));
}
