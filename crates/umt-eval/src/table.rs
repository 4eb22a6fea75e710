//! A table of text, and what all tables of results write alike.

use crate::metrics;
use crate::results::SummaryRow;

pub(crate) const NONE: &str = "–";

/// A table of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Column names.
    pub header: Vec<String>,
    /// Rows, each as long as the header.
    pub rows: Vec<Vec<String>>,
    /// How to read it; may be empty.
    pub note: String,
}

impl Table {
    /// Takes out a column that has the same value in all rows, and returns it.
    pub(crate) fn take_constant(&mut self, name: &str) -> Option<String> {
        let at = self.header.iter().position(|known| known == name)?;
        let value = self.rows.first()?.get(at)?.clone();
        if self.rows.iter().any(|row| row.get(at) != Some(&value)) {
            return None;
        }
        self.header.remove(at);
        self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
        Some(value)
    }

    /// The table in markdown, its title as a heading of the second level. Columns are padded, so
    /// that it reads well as plain text.
    pub fn to_markdown(&self) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width =
            |c: usize| lines().filter_map(|l| l.get(c)).map(|t| escape(t).chars().count()).max().unwrap_or(0).max(3);
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut out = format!("## {}\n\n", self.title);
        for (i, line) in lines().enumerate() {
            for (text, width) in line.iter().zip(&widths) {
                let text = escape(text);
                out += &format!("| {text}{} ", " ".repeat(width - text.chars().count()));
            }
            out += "|\n";
            if i == 0 {
                let rule = |(c, w): (usize, &usize)| {
                    if c == 0 { format!("|:{}", "-".repeat(w + 1)) } else { format!("|{}:", "-".repeat(w + 1)) }
                };
                out += &widths.iter().enumerate().map(rule).collect::<String>();
                out += "|\n";
            }
        }
        if !self.note.is_empty() {
            out += &format!("\n{}\n", self.note);
        }
        out
    }
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// (stage, modality) of a probe `probe.<stage>.<modality>`.
pub(crate) fn probed(stage: &str) -> Option<(&str, &str)> {
    stage.strip_prefix("probe.")?.rsplit_once('.')
}

pub(crate) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut out: Vec<&str> = Vec::new();
    for name in names {
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

/// 100 for fractions, 1 for others.
pub(crate) fn scale(metric: &str) -> f64 {
    let fraction = metrics::by_id(metric).map_or(true, |m| m.is_fraction());
    if fraction { 100.0 } else { 1.0 }
}

pub(crate) fn heading(metric: &str) -> String {
    let name = metrics::by_id(metric).map_or(metric, |m| m.heading());
    if scale(metric) == 100.0 { format!("{name} %") } else { name.into() }
}

pub(crate) fn cell(summary: Option<&SummaryRow>) -> String {
    let Some(s) = summary else { return NONE.into() };
    let scale = scale(&s.metric);
    if s.n > 1 { format!("{:.2} ± {:.2}", s.mean * scale, s.std * scale) } else { format!("{:.2}", s.mean * scale) }
}

pub(crate) fn seeds_note(summary: &[&SummaryRow]) -> String {
    let least = summary.iter().map(|s| s.n).min().unwrap_or(0);
    let most = summary.iter().map(|s| s.n).max().unwrap_or(0);
    match (least, most) {
        (0 | 1, 1) => "One seed: no spread.".into(),
        (a, b) if a == b => format!("Mean ± sample standard deviation over {a} seeds."),
        (a, b) => format!("Mean ± sample standard deviation over {a} to {b} seeds."),
    }
}
