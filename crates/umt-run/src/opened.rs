//! A finished run, opened for reading.

use crate::done::Done;
use crate::error::RunError;
use crate::folder::folder_of;
use crate::record::{Found, Record, look};
use crate::run_record::{RECIPE, RESULTS, RunRecord};
use std::collections::BTreeSet;
use std::path::Path;
use umt_eval::Results;
use umt_recipe::plan::Node;
use umt_recipe::{Loaded, Overrides, Recipe};

/// A run whose every stage is complete and undamaged.
pub struct Opened {
    /// Its figures.
    pub results: Results,
    /// Its recipe, as it ran.
    pub loaded: Loaded,
    /// Its stages, all seeds.
    pub done: Vec<Done>,
}

impl Opened {
    /// Reads the folder of a run, such as `runs/synthetic-av`; everything that is returned was compared with a record.
    ///
    /// # Errors
    /// A folder that is no finished run; a damaged stage; what may not be read.
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        let run = RunRecord::open(folder)?;
        let results = Results::from_json(&run.read(folder, RESULTS)?)
            .map_err(|source| RunError::Eval { stage: RESULTS.into(), source })?;
        let file = folder.join(RECIPE).display().to_string();
        let text = run.read(folder, RECIPE)?;
        let loaded = Recipe::parse(&results.recipe, &file, &text, &Overrides::default())?;
        let units = loaded.recipe.units();
        let stages: BTreeSet<(&str, u64, &str)> =
            results.rows.iter().map(|r| (r.stage.as_str(), r.seed, r.key.as_str())).collect();
        let mut done = Vec::new();
        for (stage, seed, key) in stages {
            let Some(unit) = units.iter().find(|u| u.id == stage).cloned() else { continue };
            let dir = folder_of(folder, stage, seed, key);
            let record = finished(&dir, key)?;
            let settings = record.settings.clone();
            done.push(Done {
                node: Node { unit, seed, key: key.to_owned(), parents: Vec::new(), settings },
                dir,
                record,
            });
        }
        Ok(Self { results, loaded, done })
    }

    /// A stage by its row's id, one entry per seed.
    pub fn stages(&self, id: &str) -> Vec<&Done> {
        self.done.iter().filter(|d| d.record.stage == id).collect()
    }

    /// Class names in the order of the logits.
    pub fn classes(&self) -> Vec<String> {
        self.done.iter().map(|d| &d.record.classes).find(|c| !c.is_empty()).cloned().unwrap_or_default()
    }
}

fn finished(dir: &Path, key: &str) -> Result<Record, RunError> {
    match look(dir, key)? {
        Found::Finished(record) => Ok(*record),
        Found::Unfinished => Err(RunError::Usage(format!("{} is not finished: run `reproduce` first", dir.display()))),
        Found::Damaged(reason) => Err(RunError::Store(umt_store::StoreError::Corrupt {
            path: dir.to_owned(),
            reason: format!("{reason}; `reproduce` repeats the stage"),
        })),
    }
}
