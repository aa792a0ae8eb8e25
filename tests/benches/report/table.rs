//! A table of words, as text and as Markdown.

use std::fmt::Write;

/// Rows of words under a heading; the first column names the row.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    pub(super) heading: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(title: String, heading: Vec<String>) -> Self {
        Self { title, heading, rows: Vec::new() }
    }

    /// Columns aligned with spaces.
    pub(crate) fn text(&self) -> String {
        let lines = || std::iter::once(&self.heading).chain(&self.rows);
        let width = |column: usize| lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..self.heading.len()).filter_map(width).collect();
        let mut out = format!("\n{}\n", self.title);
        for line in lines() {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let _ = if column == 0 { write!(out, "{cell:width$}") } else { write!(out, "  {cell:>width$}") };
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        out
    }

    /// A Markdown table with its title before it.
    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule: Vec<String> =
            (0..self.heading.len()).map(|column| if column == 0 { "---" } else { "---:" }.to_owned()).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}\n\n{}{}{rows}\n", self.title, line(&self.heading), line(&rule))
    }
}

/// Three significant digits, more before the point where there are more.
pub(super) fn three_digits(value: f64) -> String {
    let decimals = if value.abs() < 10.0 { 2 } else { usize::from(value.abs() < 100.0) };
    format!("{value:.decimals$}")
}
