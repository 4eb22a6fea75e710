//! Tries combinations of settings on validation, one seed: the table from which a recipe's values are taken.

use crate::error::RunError;
use crate::run::{Options, execute, prepare};
use crate::watch::Watch;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use umt_eval::Table;
use umt_recipe::{Loaded, Overrides, Recipe, Stage, Task};
use umt_store::Store;

/// One setting and the values to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// A dotted key. `train.*` and `distill.*` mean the searched stages alone, so that their parents stay what they are.
    pub key: String,
    /// Values as on the command line.
    pub values: Vec<String>,
}

impl std::str::FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}`: expected KEY=VALUE,VALUE, such as train.lr=0.02,0.05");
        let (key, values) = text.split_once('=').ok_or_else(wrong)?;
        let values: Vec<String> = values.split(',').map(|v| v.trim().to_owned()).collect();
        if key.trim().is_empty() || values.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Axis { key: key.trim().into(), values })
    }
}

/// A combination and what a stage reached with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// The stage.
    pub stage: String,
    /// `key=value` of every axis that reaches the stage.
    pub settings: Vec<String>,
    /// Best top-1 on validation.
    pub validation_top1: f64,
    /// Optimiser updates.
    pub steps: u64,
    /// Seconds, recorded when it ran.
    pub seconds: f64,
    /// The stage's key.
    pub key: String,
    /// Whether no other combination of the stage is better.
    pub best: bool,
}

/// All trials of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Search {
    /// The recipe.
    pub recipe: String,
    /// The seed.
    pub seed: u64,
    /// The data set's digest.
    pub data_digest: String,
    /// Trials by stage, in the order of the grid.
    pub trials: Vec<Trial>,
}

/// A recipe as text, for a search that reads it once per combination.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its file, for messages.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// Runs the grid. `options.only` names the searched stages; all that fuse when empty. Training is never `refit`: the
/// figures are those of the best checkpoint on validation, and test is not looked at.
///
/// # Errors
/// See [`RunError`]; finished trials are kept and reused by the next call.
pub fn search(
    text: Text<'_>,
    over: &Overrides,
    axes: &[Axis],
    options: &Options,
    watch: &mut dyn Watch,
    stop: &Arc<AtomicUsize>,
) -> Result<Search, RunError> {
    let base = Recipe::parse(text.name, text.file, text.text, over)?;
    let stages = searched(&base, &options.only)?;
    let seed = options.seeds.as_ref().unwrap_or(&base.recipe.seeds).first().copied().unwrap_or(1);
    let options = Options { only: stages.clone(), seeds: Some(vec![seed]), ..options.clone() };
    // The whole grid is checked before the first of it runs.
    let mut grid = Vec::new();
    for settings in combinations(axes) {
        let mut over = over.clone();
        over.sets.push("train.refit=false".into());
        over.sets.extend(stages.iter().map(|s| format!("stage.{s}.train.refit=false")));
        over.sets.extend(settings.iter().flat_map(|s| aimed(s, &stages, &base.recipe)));
        let loaded = Recipe::parse(text.name, text.file, text.text, &over)?;
        let prepared = prepare(&loaded, &options, watch)?;
        grid.push((settings, prepared));
    }
    let name = grid.first().map_or_else(|| text.name.to_owned(), |(_, prepared)| prepared.loaded.name.clone());
    let store = Store::open(&options.out.join(&name))?;
    let mut result = Search { recipe: name, seed, data_digest: String::new(), trials: Vec::new() };
    let mut seen = BTreeSet::new();
    for (settings, prepared) in grid {
        let finished = execute(prepared, &options, &store, watch, stop)?;
        result.data_digest = finished.data_digest;
        for done in finished.done.iter().filter(|d| stages.contains(&d.record.stage)) {
            let record = &done.record;
            let Some(validation_top1) = record.figure("validation", "top1") else {
                let message = format!("stage `{}` has no validation figure: set data.validation.share", record.stage);
                return Err(RunError::Usage(message));
            };
            if seen.insert(record.key.clone()) {
                result.trials.push(Trial {
                    stage: record.stage.clone(),
                    settings: reaching(&settings, &record.stage, &base.recipe),
                    validation_top1,
                    steps: record.steps,
                    seconds: record.wall_seconds,
                    key: record.key.clone(),
                    best: false,
                });
            }
        }
    }
    result.mark();
    store.commit_json(&store.path("search.json"), &result)?;
    store.commit(&store.path("search.md"), result.table().to_markdown().as_bytes())?;
    Ok(result)
}

/// The stages to search: those named, or all that fuse.
fn searched(base: &Loaded, only: &[String]) -> Result<Vec<String>, RunError> {
    let recipe = &base.recipe;
    // What is given by a file has nothing to search.
    let network = |s: &Stage| s.task.is_network() && s.weights.is_none();
    let fuses = |s: &Stage| network(s) && matches!(s.task, Task::Fusion { .. });
    if only.is_empty() {
        return Ok(recipe.stage.iter().filter(|s| fuses(s)).map(|s| s.id.clone()).collect());
    }
    let mut stages = Vec::new();
    for pattern in only {
        let found: Vec<usize> = recipe.matching(pattern).into_iter().filter(|&i| network(&recipe.stage[i])).collect();
        if found.is_empty() {
            let known = recipe.stage.iter().filter(|s| network(s)).map(|s| &s.id);
            let message = format!("--only {pattern}: no such network stage; stages: {}", umt_recipe::list(known));
            return Err(RunError::Usage(message));
        }
        stages.extend(found.into_iter().map(|i| recipe.stage[i].id.clone()));
    }
    Ok(stages)
}

/// All combinations, the last axis fastest.
fn combinations(axes: &[Axis]) -> Vec<Vec<String>> {
    axes.iter().fold(vec![Vec::new()], |all, axis| {
        let longer = |so_far: &Vec<String>| {
            let so_far = so_far.clone();
            axis.values.iter().map(move |v| [so_far.clone(), vec![format!("{}={v}", axis.key)]].concat())
        };
        all.iter().flat_map(longer).collect()
    })
}

/// The `--set` arguments that one setting of the grid stands for.
fn aimed(setting: &str, stages: &[String], recipe: &Recipe) -> Vec<String> {
    if setting.starts_with("train.") {
        return stages.iter().map(|s| format!("stage.{s}.{setting}")).collect();
    }
    if ["distill.", "objective."].iter().any(|key| setting.starts_with(key)) {
        let distilled = |s: &&String| recipe.find(s).is_some_and(|s| s.distill.is_some());
        return stages.iter().filter(distilled).map(|s| format!("stage.{s}.{setting}")).collect();
    }
    vec![setting.to_owned()]
}

/// The settings that reach a stage: what is distilled does not reach a stage without teachers.
fn reaching(settings: &[String], stage: &str, recipe: &Recipe) -> Vec<String> {
    let distilled = recipe.find(stage).is_some_and(|s| s.distill.is_some());
    let own = |s: &str| s.starts_with("distill.") || s.starts_with("objective.");
    settings.iter().filter(|s| distilled || !own(s)).cloned().collect()
}

impl Search {
    fn mark(&mut self) {
        self.trials.sort_by(|a, b| a.stage.cmp(&b.stage));
        for i in 0..self.trials.len() {
            let own = &self.trials[i];
            let beaten = self.trials.iter().any(|t| t.stage == own.stage && t.validation_top1 > own.validation_top1);
            self.trials[i].best = !beaten;
        }
    }

    /// The trials as a table for people.
    pub fn table(&self) -> Table {
        let row = |t: &Trial| {
            vec![
                t.stage.clone(),
                t.settings.join(" "),
                format!("{:.2}{}", 100.0 * t.validation_top1, if t.best { " *" } else { "" }),
                t.steps.to_string(),
                format!("{:.0}", t.seconds),
            ]
        };
        Table {
            title: format!("Search of {} on validation, seed {}", self.recipe, self.seed),
            header: ["stage", "settings", "top-1 %", "steps", "seconds"].map(String::from).to_vec(),
            rows: self.trials.iter().map(row).collect(),
            note: "* best of its stage. A setting that does not reach a stage is tried once for it.".into(),
        }
    }
}
