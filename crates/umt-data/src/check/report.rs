//! What a look at a set found, as text, JSON and csv.

use super::{Plan, classes};
use crate::{
    Dataset, OnError, Split, SplitCounts,
    finding::{Finding, FindingKind, Findings},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// What a look at a set found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The set's name.
    pub dataset: String,
    /// Its folder.
    pub root: PathBuf,
    /// Samples named by the list.
    pub samples: usize,
    /// Samples that a run can use.
    pub usable: usize,
    /// Class names.
    pub classes: Vec<String>,
    /// Usable samples of each class, per split; empty where each pixel has a class of its own.
    pub class_counts: BTreeMap<Split, Vec<u64>>,
    /// Pixels of each class, per split, if label maps were decoded.
    pub pixel_counts: BTreeMap<Split, Vec<u64>>,
    /// Kinds of group, with the number of groups of each.
    pub groups: BTreeMap<String, usize>,
    /// Shortest, median and longest audio in seconds, if any was decoded.
    pub seconds: Option<[f64; 3]>,
    /// Smallest, median and largest depth in millimetres, if any was decoded.
    pub depth: Option<[u16; 3]>,
    /// What the recipe makes of the set, if one was named.
    pub plan: Option<Plan>,
    /// Problems and notes.
    pub findings: Findings,
}

/// What was measured of the samples.
pub(super) struct Measured {
    pub pixels: BTreeMap<Split, Vec<u64>>,
    pub seconds: Option<[f64; 3]>,
    pub depth: Option<[u16; 3]>,
}

/// How many findings of a kind are named in the text.
const NAMED: usize = 5;

impl CheckReport {
    pub(super) fn new(
        set: &Dataset,
        usable: &[bool],
        plan: Option<Plan>,
        findings: Findings,
        measured: Measured,
    ) -> Self {
        let counts = |split| classes::samples(set, usable, split);
        let class_counts = match set.dense {
            Some(_) => BTreeMap::new(),
            None => Split::ALL.into_iter().map(|split| (split, counts(split))).collect(),
        };
        let groups = set.group_names.iter().enumerate().map(|(column, name)| {
            let of = (0..set.len()).map(|row| set.samples.group(row, column));
            (name.clone(), of.filter(|group| !group.is_empty()).collect::<BTreeSet<_>>().len())
        });
        Self {
            dataset: set.name.clone(),
            root: set.shown_root(),
            samples: set.len(),
            usable: usable.iter().filter(|&&usable| usable).count(),
            classes: set.classes.clone(),
            class_counts: class_counts.into_iter().filter(|(_, counts)| counts.iter().any(|&n| n > 0)).collect(),
            pixel_counts: measured.pixels,
            groups: groups.collect(),
            seconds: measured.seconds,
            depth: measured.depth,
            plan,
            findings,
        }
    }

    /// The report on a list whose rows cannot be read.
    pub(super) fn of_list(dataset: &str, list: &Path, findings: Findings) -> Self {
        Self {
            dataset: dataset.to_owned(),
            root: list.to_owned(),
            samples: 0,
            usable: 0,
            classes: Vec::new(),
            class_counts: BTreeMap::new(),
            pixel_counts: BTreeMap::new(),
            groups: BTreeMap::new(),
            seconds: None,
            depth: None,
            plan: None,
            findings,
        }
    }

    /// Whether there is no problem; notes are none.
    pub fn is_clean(&self) -> bool {
        self.problems().next().is_none()
    }

    /// The kinds of problem that occur, and how many there are of each.
    pub fn problems(&self) -> impl Iterator<Item = (FindingKind, usize)> {
        self.findings.counts().iter().map(|(&kind, &count)| (kind, count)).filter(|(kind, _)| !kind.is_note())
    }

    /// All problems and notes as csv: kind, whether it is a problem or a note, list, line, id, reason and remedy.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = csv::Writer::from_writer(out);
        table.write_record(["kind", "weight", "list", "line", "id", "reason", "remedy"])?;
        for Finding { kind, list, line, id, reason, remedy } in self.findings.list() {
            let weight = if kind.is_note() { "note" } else { "problem" };
            let line = if *line == 0 { String::new() } else { line.to_string() };
            table.write_record([kind.name(), weight, list, &line, id, reason, remedy])?;
        }
        table.flush()
    }

    fn write_counts(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.class_counts.is_empty() && self.pixel_counts.is_empty() {
            return Ok(());
        }
        let width = self.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(6);
        write!(out, "  {:width$}", if self.pixel_counts.is_empty() { "class" } else { "pixels" })?;
        for split in self.class_counts.keys().chain(self.pixel_counts.keys()) {
            write!(out, " {split:>12}")?;
        }
        writeln!(out)?;
        for (class, name) in self.classes.iter().enumerate() {
            write!(out, "  {name:width$}")?;
            for counts in self.class_counts.values().chain(self.pixel_counts.values()) {
                write!(out, " {:>12}", counts.get(class).copied().unwrap_or(0))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_plan(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Plan { recipe, counts, skipped, on_error, validation }) = &self.plan else { return Ok(()) };
        let SplitCounts { train, validation: held, test, left_out } = counts;
        writeln!(out, "  `{recipe}` uses {train} train, {held} validation, {test} test; {left_out} left out")?;
        if let Some(text) = validation {
            writeln!(out, "  {text}")?;
        }
        match (skipped, on_error) {
            (0, _) => Ok(()),
            (n, OnError::Skip) => writeln!(out, "  {n} that cannot be used are left out (data.on-error = \"skip\")"),
            (n, OnError::Stop) => writeln!(
                out,
                "  it ends at the first of {n} that cannot be used (data.on-error = \"stop\"; \"skip\" leaves them out)"
            ),
        }
    }

    fn write_findings(&self, out: &mut fmt::Formatter<'_>, notes: bool) -> fmt::Result {
        for (&kind, &count) in self.findings.counts().iter().filter(|(kind, _)| kind.is_note() == notes) {
            writeln!(out, "  {}{kind}: {count}", if notes { "note, " } else { "" })?;
            let mut remedy = "";
            for finding in self.findings.list().iter().filter(|finding| finding.kind == kind).take(NAMED) {
                writeln!(out, "    {}{}", finding.place(), finding.reason)?;
                if finding.remedy != remedy {
                    remedy = &finding.remedy;
                    writeln!(out, "      -> {remedy}")?;
                }
            }
            if count > NAMED {
                writeln!(out, "    ... and {} more", count - NAMED)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} in {}", self.dataset, self.root.display())?;
        writeln!(out, "  {} samples, {} classes, {} usable", self.samples, self.classes.len(), self.usable)?;
        if let Some([first, median, last]) = self.seconds {
            writeln!(out, "  audio: {first:.2} to {last:.2} s, median {median:.2} s")?;
        }
        if let Some([least, median, most]) = self.depth {
            writeln!(out, "  depth: {least} to {most} mm, median {median} mm")?;
        }
        for (name, count) in &self.groups {
            writeln!(out, "  {count} groups of kind `{name}`")?;
        }
        self.write_plan(out)?;
        self.write_counts(out)?;
        self.write_findings(out, true)?;
        self.write_findings(out, false)?;
        match self.is_clean() {
            true => writeln!(out, "  no problem was found"),
            false => {
                let count: usize = self.problems().map(|(_, count)| count).sum();
                writeln!(out, "  {count} problem{}", if count == 1 { "" } else { "s" })
            }
        }
    }
}
