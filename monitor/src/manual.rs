//! The manual pages: what the arguments' definition says, and besides that keys, environment and files.

use crate::cli::{Cli, Page, RunArgs};
use crate::view::tui;
use clap::{Args, CommandFactory};
use clap_mangen::Man;
use roff::{Roff, bold, roman};
use std::io;

/// Variables that statsmon goes by, and those of the library; README says more of these.
const ENVIRONMENT: [(&str, &str); 13] = [
    ("NO_COLOR", "Use no colours."),
    ("LC_ALL, LC_CTYPE, LANG", "Draw with ASCII alone where they name another character set than UTF-8."),
    ("TERM", "A terminal that is called dumb gets text instead of the screen."),
    ("STATSMON_PRELOAD", "The library that `statsmon run` preloads."),
    ("STATSMON_MINUTE_SECONDS", "How long a minute of the diagnosis is; for tests."),
    (
        "STATSALLOC_MISUSE",
        "abort (the default), warn or count: what a wrong free does, also by kind: double=warn,wild=count.",
    ),
    ("STATSALLOC_DECAY_MS", "How long freed memory is kept, in milliseconds (1000), or never."),
    ("STATSALLOC_HUGE", "auto (the default), filled, always or never: whether to use huge pages."),
    ("STATSALLOC_HARDEN", "1: look for writes beyond a block's end and after its free, at a price."),
    ("STATSALLOC_PUBLISH", "0: statsmon cannot see the heap."),
    ("STATSALLOC_KEEP", "1: the last state stays readable after an orderly end."),
    ("STATSALLOC_VERBOSE", "1: say on standard error why statsmon cannot see the heap."),
    ("STATSALLOC_BACKGROUND", "1: a thread gives memory back while the program is idle."),
];

const FILES: [(&str, &str); 1] = [(
    "/dev/shm/statsalloc.PID",
    "The statistics of a process. What crashed programs left stays for five minutes after it was found, sixteen of them at most.",
)];

/// The page about everything, or about a subcommand.
pub(crate) fn page(page: Option<Page>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match page {
        None => main_page(&mut text)?,
        Some(Page::Run) => {
            let command = clap::Command::new("statsmon-run")
                .bin_name("statsmon run")
                .version(env!("CARGO_PKG_VERSION"))
                .disable_version_flag(true);
            Man::new(RunArgs::augment_args(command)).render(&mut text)?;
            let mut of_programs =
                ENVIRONMENT.into_iter().filter(|(name, _)| name.contains("PRELOAD") || name.starts_with("STATSALLOC"));
            section("ENVIRONMENT", &mut of_programs, &mut text)?;
        }
    }
    Ok(as_it_stands(&text))
}

fn main_page(text: &mut Vec<u8>) -> io::Result<()> {
    // It names a page for every subcommand that is not hidden.
    let command = ["man", "completions"]
        .into_iter()
        .fold(Cli::command(), |whole, name| whole.mut_subcommand(name, |subcommand| subcommand.hide(true)))
        .disable_help_subcommand(true);
    let man = Man::new(command);
    man.render_title(text)?;
    man.render_name_section(text)?;
    man.render_synopsis_section(text)?;
    man.render_description_section(text)?;
    man.render_options_section(text)?;
    man.render_subcommands_section(text)?;
    section("KEYS", &mut tui::all_keys(), text)?;
    section("ENVIRONMENT", &mut ENVIRONMENT.into_iter(), text)?;
    section("FILES", &mut FILES.into_iter(), text)?;
    man.render_extra_section(text)?;
    man.render_version_section(text)
}

fn section(
    title: &str,
    entries: &mut dyn Iterator<Item = (&'static str, &'static str)>,
    text: &mut Vec<u8>,
) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (name, meaning) in entries {
        roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
    roff.to_writer(text)
}

/// The same with indented lines as they stand: they are lists and examples, no running text.
fn as_it_stands(text: &[u8]) -> Vec<u8> {
    let (mut lines, mut inside) = (Vec::new(), false);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b"  ") != inside {
            inside = !inside;
            lines.extend_from_slice(if inside { b".nf\n" } else { b".fi\n" });
        }
        lines.extend_from_slice(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn main_text() -> String {
        String::from_utf8(page(None).unwrap()).unwrap().replace("\\-", "-")
    }

    #[test]
    fn the_manual_names_no_page_that_cannot_be_printed() {
        let text = main_text();
        let named = text.split("statsmon-").skip(1).filter_map(|rest| rest.split_once("(1)").map(|(name, _)| name));
        let named: Vec<&str> = named.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric())).collect();
        let printable: Vec<String> = Page::value_variants()
            .iter()
            .filter_map(|page| Some(page.to_possible_value()?.get_name().into()))
            .collect();
        assert_eq!(named, printable, "{text}");
    }

    #[test]
    fn the_manual_has_every_option_of_the_library_that_readme_has() {
        let rows = include_str!("../../README.md").lines().filter_map(|line| line.strip_prefix("| `STATSALLOC_"));
        let documented: Vec<String> =
            rows.filter_map(|row| row.split_once('`')).map(|(name, _)| format!("STATSALLOC_{name}")).collect();
        let ours = ENVIRONMENT.iter().map(|(name, _)| *name).filter(|name| name.starts_with("STATSALLOC_"));
        assert_eq!(ours.collect::<Vec<_>>(), documented);
    }

    #[test]
    fn lists_and_examples_are_not_filled_and_fit_80_columns() {
        let text = main_text();
        let mut filled = true;
        for line in text.lines() {
            filled = if line == ".nf" { false } else { filled || line == ".fi" };
            assert_eq!(line.starts_with("  "), !filled && line != ".nf", "{line}");
            // The page's own indent is seven columns.
            assert!(filled || line.len() <= 72, "{line}");
        }
        assert!(text.contains(".nf\n  LEAK SUSPECTED") && text.contains(".fi\n"), "{text}");
    }

    #[test]
    fn the_manual_tells_keys_environment_and_files() {
        let text = main_text();
        for title in ["KEYS", "ENVIRONMENT", "FILES"] {
            assert!(text.contains(&format!(".SH {title}\n.TP\n")), "{title}: {text}");
        }
        assert!(text.contains("sort by the column to the left"), "{text}");
    }
}
