//! What others may look at while a run goes on: `status.json`, and event files for TensorBoard. Neither is part of a result,
//! and where they cannot be written the run goes on.

use crate::out::alert;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use umt_recipe::{Loaded, Plan};
use umt_run::Now;
use umt_store::{EventLog, Store, StoreError};
use umt_train::{EpochReport, StepReport};

/// The file, in the run's folder.
pub const STATUS: &str = "status.json";
/// Between two states that steps bring.
const EVERY: Duration = Duration::from_secs(2);

/// Where a run is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub recipe: String,
    pub process: u32,
    /// running, finished or stopped.
    pub state: String,
    /// Seconds since 1970.
    pub begun: f64,
    pub updated: f64,
    /// Stages of all seeds, and how many of them are finished.
    pub stages: usize,
    pub finished: usize,
    /// The stage under way.
    pub stage: Option<String>,
    pub seed: Option<u64>,
    pub step: Option<u64>,
    pub steps: Option<u64>,
    pub loss: Option<f32>,
    pub samples_per_second: Option<f64>,
    /// Its last validation.
    pub validation: Option<f64>,
    /// For all stages that are left.
    pub seconds_left: Option<f64>,
    /// The last ones.
    pub warnings: Vec<String>,
}

pub struct Live {
    store: Store,
    pub status: Status,
    told: Instant,
    /// Keys by stage and seed.
    keys: BTreeMap<(String, u64), String>,
    /// The event file of the stage under way.
    board: Option<EventLog>,
    failed: bool,
}

impl Live {
    /// Begins to tell of a plan in the run's folder, which exists.
    pub fn open(loaded: &Loaded, plan: &Plan, folder: &Path) -> Result<Live, StoreError> {
        let keys = plan.nodes.iter().map(|node| ((node.unit.id.clone(), node.seed), node.key.clone()));
        let status = Status {
            recipe: loaded.name.clone(),
            process: std::process::id(),
            state: "running".into(),
            begun: now(),
            stages: plan.nodes.len(),
            ..Status::default()
        };
        let store = Store::shared(folder)?;
        let mut live = Live { store, status, told: Instant::now(), keys: keys.collect(), board: None, failed: false };
        live.write();
        Ok(live)
    }

    pub fn begin(&mut self, now: Now<'_>) {
        self.board = None;
        let Status { stage, seed, step, steps, loss, samples_per_second, validation, .. } = &mut self.status;
        (*stage, *seed) = (Some(now.stage.to_owned()), Some(now.seed));
        (*step, *steps, *loss, *samples_per_second, *validation) = (None, None, None, None, None);
        self.write();
    }

    pub fn step(&mut self, report: &StepReport<'_>, left: Option<Duration>) {
        let status = &mut self.status;
        (status.step, status.steps) = (Some(report.step), Some(report.total));
        (status.loss, status.samples_per_second) = (Some(report.loss), Some(report.samples_per_second));
        status.seconds_left = left.map(|left| left.as_secs_f64());
        if self.told.elapsed() >= EVERY {
            self.write();
        }
    }

    pub fn epoch(&mut self, now: Now<'_>, report: &EpochReport<'_>) {
        self.status.validation = report.validation.map(|v| v.miou.unwrap_or(v.top1)).or(self.status.validation);
        self.write();
        let written = self.scalars(now, report);
        self.tell(written);
    }

    pub fn finish(&mut self, reused: bool) {
        self.status.finished += 1;
        // A finished run is looked through in no time: nothing to tell of each stage.
        if !reused {
            (self.status.stage, self.status.seed) = (None, None);
            self.write();
        }
    }

    pub fn warn(&mut self, text: &str) {
        self.status.warnings.push(text.to_owned());
        let over = self.status.warnings.len().saturating_sub(5);
        self.status.warnings.drain(..over);
    }

    /// The run has come to its end.
    pub fn end(&mut self) {
        self.status.state = "finished".into();
        self.status.seconds_left = Some(0.0);
        self.write();
    }

    /// An epoch's values, under the tags that a board groups by.
    fn scalars(&mut self, at: Now<'_>, report: &EpochReport<'_>) -> Result<(), StoreError> {
        let path = self.path(at);
        let board = match &mut self.board {
            Some(board) => board,
            none => none.insert(EventLog::open(&self.store, &path, report.epoch, now())?),
        };
        let mut values = vec![
            ("train/loss".to_owned(), report.loss),
            ("train/lr".to_owned(), f64::from(report.lr)),
            ("speed/samples_per_second".to_owned(), report.samples_per_second),
            ("speed/wait_seconds".to_owned(), report.wait_seconds),
        ];
        values.extend(report.log.iter().map(|(name, value)| (format!("train/{name}"), *value)));
        if let Some(v) = &report.validation {
            values.push(("validation/loss".into(), v.loss));
            values.push(("validation/top1".into(), v.top1));
            values.extend(v.miou.map(|miou| ("validation/miou".to_owned(), miou)));
        }
        board.scalars(now(), report.epoch, &values)
    }

    /// Stages with other settings have other keys, and files of their own.
    fn path(&self, at: Now<'_>) -> PathBuf {
        let key = self.keys.get(&(at.stage.to_owned(), at.seed)).map_or("", String::as_str);
        let run = format!("{}.seed{}.{}", at.stage, at.seed, key.get(..8).unwrap_or(key));
        self.store.path("tensorboard").join(run).join("events.out.tfevents.umt")
    }

    fn write(&mut self) {
        self.told = Instant::now();
        self.status.updated = now();
        let written = self.store.commit_json(&self.store.path(STATUS), &self.status).map(drop);
        self.tell(written);
    }

    /// The first failure is worth a word.
    fn tell(&mut self, written: Result<(), StoreError>) {
        if let Err(error) = written
            && !std::mem::replace(&mut self.failed, true)
        {
            alert!("warning: the run goes on, but others cannot follow it: {error}");
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.status.state == "running" {
            self.status.state = "stopped".into();
            self.write();
        }
    }
}

pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
