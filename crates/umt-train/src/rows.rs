//! Lines of a run's logs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{EpochReport, Validation};

/// A line of `metrics.jsonl`, one per epoch: a function of settings, seed and step, so the file of a resumed run is the
/// same to the byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRow {
    /// Epochs done.
    pub epoch: u64,
    /// Updates done.
    pub step: u64,
    /// Learning rate of the last of them.
    pub lr: f32,
    /// Mean training loss over the epoch.
    pub loss: f64,
    /// Means of what the task logs further, by name.
    pub log: BTreeMap<String, f64>,
    /// Scores on validation, in epochs that have one.
    pub validation: Option<Validation>,
    /// Whether these are the best so far.
    pub best: bool,
}

impl EpochRow {
    /// The lines of a `metrics.jsonl`.
    ///
    /// # Errors
    /// The number of the first line that is none, and why.
    pub fn read(text: &[u8]) -> Result<Vec<Self>, String> {
        let lines = text.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| !line.is_empty());
        lines.map(|(line, at)| serde_json::from_slice(line).map_err(|error| format!("line {at}: {error}"))).collect()
    }

    /// The task's own loss, apart from what a method adds to it.
    pub fn task_loss(&self) -> f64 {
        self.log.get("task").copied().unwrap_or(self.loss)
    }
}

/// A line of `timing.jsonl`, one per epoch: what the steps took in the process that ended the epoch.
#[derive(Debug, Serialize)]
pub(crate) struct TimingRow {
    pub(crate) epoch: u64,
    pub(crate) step: u64,
    /// Seconds of the steps.
    pub(crate) seconds: f64,
    /// Of these, seconds spent waiting for the loader.
    pub(crate) wait_seconds: f64,
    pub(crate) samples_per_second: f64,
}

impl From<&EpochReport<'_>> for EpochRow {
    fn from(report: &EpochReport<'_>) -> Self {
        let EpochReport { epoch, step, lr, loss, log, validation, best, .. } = *report;
        Self { epoch, step, lr, loss, log: log.clone(), validation, best }
    }
}

impl From<&EpochReport<'_>> for TimingRow {
    fn from(report: &EpochReport<'_>) -> Self {
        let EpochReport { epoch, step, seconds, wait_seconds, samples_per_second, .. } = *report;
        Self { epoch, step, seconds, wait_seconds, samples_per_second }
    }
}
