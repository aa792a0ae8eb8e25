//! The dated page: where, when and with what was measured, then the tables.

use super::Table;
use crate::allocators::Allocator;
use crate::compile;
use crate::options::Mode;
use crate::real;
use std::fmt::Write;
use std::process::Command;

/// What a reader must know to judge or repeat the figures, in pairs of name and value.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let options: Vec<String> = std::env::vars()
        .filter(|(name, _)| name.starts_with("STATSALLOC_"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut command = vec!["cargo bench -p tests --bench peers --".to_owned()];
    command.extend(std::env::args().skip(1).filter(|argument| argument != "--bench"));
    vec![
        ("date", told("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("command", command.join(" ")),
        ("options of the library", if options.is_empty() { "none".to_owned() } else { options.join(" ") }),
        ("commit", told("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])),
        ("processor", processor()),
        ("processors in use", std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |n| n.to_string())),
        ("memory", line_of("/proc/meminfo", "MemTotal:")),
        ("huge pages", first_line("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("kernel", told("uname", &["-sr"])),
        ("compiler", told("gcc", &["--version"])),
        ("real programs", real::versions()),
    ]
}

/// The page as Markdown.
pub(crate) fn markdown(allocators: &[Allocator], sections: &[(Mode, Vec<Table>)]) -> String {
    let mut out = "# Allocators compared\n\n| | |\n|---|---|\n".to_owned();
    for (name, value) in facts() {
        let _ = writeln!(out, "| {name} | {} |", value.replace('|', "\\|"));
    }
    for allocator in allocators {
        let _ = writeln!(out, "| {} | {} |", allocator.name, allocator.version);
    }
    out.push('\n');
    for (mode, tables) in sections {
        let _ = writeln!(out, "## {}\n", mode.title());
        for table in tables {
            out.push_str(&table.markdown());
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The first line that a program prints.
fn told(program: &str, arguments: &[&str]) -> String {
    let printed = compile::succeeds(Command::new(program).args(arguments)).unwrap_or_default();
    String::from_utf8_lossy(&printed).lines().next().unwrap_or("unknown").to_owned()
}

fn processor() -> String {
    line_of("/proc/cpuinfo", "model name").trim_start_matches([':', '\t', ' ']).to_owned()
}

/// What follows `key` in `file`.
fn line_of(file: &str, key: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(key));
    found.map_or_else(|| "unknown".to_owned(), |rest| rest.trim().to_owned())
}

fn first_line(file: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
