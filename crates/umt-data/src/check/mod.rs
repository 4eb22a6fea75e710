//! `data check`: what is there, missing, broken, or worth knowing. Nothing is written.
//!
//! Every sample is read as training would read it. Each file here finds one kind of thing.

mod classes;
mod depth;
mod files;
mod leaks;
mod look;
mod plan;
mod report;

pub use plan::Plan;
pub use report::CheckReport;

use crate::{
    DataConfig, DataError, Dataset, Defects, Progress,
    cache::decode_all,
    finding::{Finding, FindingKind, Findings},
    kinds,
};
use look::Look;
use std::path::Path;

/// How thoroughly a set is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOptions {
    /// Decode every file; otherwise only look whether it is there.
    pub decode: bool,
    /// The recipe that the set is meant for; `None` reads all that the set has.
    pub recipe: Option<Usage>,
    /// Threads; 0 takes all cores.
    pub threads: usize,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { decode: true, recipe: None, threads: 0 }
    }
}

/// What a recipe does with a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The recipe's name.
    pub recipe: String,
    /// Its settings of data.
    pub config: DataConfig,
    /// Whether the set is the one that it was written for, so that its rule of validation is meant as it is.
    pub own: bool,
}

/// Looks at a set, decoding all of it.
///
/// # Errors
/// As [`check_with`].
pub fn check(root: Option<&Path>, dataset: &str) -> Result<CheckReport, DataError> {
    check_with(root, dataset, &CheckOptions::default(), &mut |_| {})
}

/// [`check`] with settings and progress.
///
/// # Errors
/// A folder or list that is not there or not of the set's form, and settings of the recipe that the set cannot follow.
pub fn check_with(
    root: Option<&Path>,
    dataset: &str,
    options: &CheckOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<CheckReport, DataError> {
    let recipe = options.recipe.as_ref();
    let listed = recipe.map_or_else(DataConfig::default, |usage| usage.config.clone());
    let mut defects = Defects::collect();
    let mut set = match kinds::read_list(dataset, root, &listed, &mut defects) {
        Ok(set) => set,
        // A list without the columns that are needed has no rows to look at; what was found before is said as well.
        Err(DataError::List { path, line, reason, expected }) => {
            let mut findings = defects.found();
            let finding =
                Finding { remedy: format!("expected {expected}"), ..Finding::new(FindingKind::Header, reason) };
            findings.push(finding.at(&path, line, ""));
            return Ok(CheckReport::of_list(dataset, &path, findings));
        }
        Err(error) => return Err(error),
    };
    if let Some(usage) = recipe {
        kinds::has_parts(&set, &usage.config)?;
        if let Some(limit) = usage.config.limit {
            set.limit(limit);
        }
    }
    let mut config = recipe.map_or_else(|| look::everything(&set), |usage| usage.config.clone());
    config.decode_threads = options.threads;
    let mut looks = Looks::new(&set, &config, defects.found());
    looks.run(options, progress)?;
    Ok(looks.report(options))
}

/// What was seen of all samples.
struct Looks<'a> {
    set: &'a Dataset,
    config: &'a DataConfig,
    findings: Findings,
    usable: Vec<bool>,
    /// Row and length of each sample with audio.
    seconds: Vec<(u32, f32)>,
    contents: leaks::Contents,
    depths: depth::Depths,
    pixels: classes::Pixels,
    /// Digests of what the recipe would store.
    records: Vec<Option<u128>>,
}

impl<'a> Looks<'a> {
    fn new(set: &'a Dataset, config: &'a DataConfig, findings: Findings) -> Self {
        Self {
            set,
            config,
            findings,
            usable: vec![true; set.len()],
            seconds: Vec::new(),
            contents: leaks::Contents::default(),
            depths: depth::Depths::default(),
            pixels: classes::Pixels::default(),
            records: Vec::new(),
        }
    }

    fn run(&mut self, options: &CheckOptions, progress: &mut dyn FnMut(Progress)) -> Result<(), DataError> {
        let (set, config) = (self.set, self.config);
        let total = set.len();
        if !options.decode {
            for sample in set.iter() {
                self.see(sample.row(), Look::of_list(sample, config));
                progress(Progress { done: sample.row() + 1, total, bytes: 0 });
            }
            return Ok(());
        }
        let stored = options.recipe.is_some();
        let mut bytes = 0;
        decode_all(
            set,
            config,
            |sample, outcome| Look::of_files(sample, config, outcome, stored),
            &mut |row, look: Look| {
                bytes += look.bytes;
                self.see(row, look);
                progress(Progress { done: row + 1, total, bytes });
                Ok(())
            },
        )
        .map_err(|error| DataError::Worker { reason: error.to_string() })
    }

    fn see(&mut self, row: usize, look: Look) {
        self.usable[row] = look.usable;
        self.findings.extend(look.findings);
        self.seconds.extend(look.seconds.map(|seconds| (row as u32, seconds as f32)));
        self.contents.see(row, &look.contents);
        self.depths.see(row, look.depth);
        self.pixels.see(self.set.samples.splits()[row], &look.pixels);
        if let Some(record) = look.record {
            self.records.resize(self.set.len(), None);
            self.records[row] = Some(record);
        }
    }

    fn report(mut self, options: &CheckOptions) -> CheckReport {
        let set = self.set;
        if options.recipe.is_none() {
            // A run would say it of itself.
            if let Err(error) = set.trainable() {
                self.findings.push(Finding::new(FindingKind::NotTrainable, error.to_string()));
            }
            let short = look::short(set, &self.seconds);
            for (row, finding) in short {
                self.usable[row] = false;
                self.findings.push(finding);
            }
        }
        let mut used = set.clone();
        let plan = options.recipe.as_ref().map(|usage| {
            let skipped = self.usable.iter().filter(|&&usable| !usable).count();
            let (plan, finding) = Plan::new(usage, &mut used, &self.records, &self.usable);
            finding.into_iter().for_each(|finding| self.findings.push(finding));
            Plan { skipped, ..plan }
        });
        self.findings.extend(leaks::groups(set));
        self.findings.extend(self.contents.finish(set));
        self.findings.extend(classes::missing(&used, &self.usable, &self.pixels));
        self.findings.extend(self.depths.finish(set, self.config));
        self.findings.extend(files::unnamed(set));
        CheckReport::new(
            &used,
            &self.usable,
            plan,
            self.findings,
            report::Measured {
                pixels: self.pixels.counts(),
                seconds: look::range(&self.seconds),
                depth: self.depths.range(),
            },
        )
    }
}
