//! Lines of a run's logs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{EpochReport, Validation};

/// A line of `metrics.jsonl`, one per epoch: a function of settings, seed and step, so the file of a resumed run is the
/// same to the byte.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'a> {
    /// Epochs done.
    pub(crate) epoch: u64,
    /// Updates done.
    pub(crate) step: u64,
    /// Learning rate of the last of them.
    pub(crate) lr: f32,
    /// Mean training loss over the epoch.
    pub(crate) loss: f64,
    /// Means of the task's further figures.
    pub(crate) log: &'a BTreeMap<String, f64>,
    /// Scores on validation, in epochs that have one.
    pub(crate) validation: Option<Validation>,
    /// Whether these are the best so far.
    pub(crate) best: bool,
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

impl<'a> From<&EpochReport<'a>> for Row<'a> {
    fn from(report: &EpochReport<'a>) -> Self {
        let EpochReport { epoch, step, lr, loss, log, validation, best, .. } = *report;
        Self { epoch, step, lr, loss, log, validation, best }
    }
}

impl From<&EpochReport<'_>> for TimingRow {
    fn from(report: &EpochReport<'_>) -> Self {
        let EpochReport { epoch, step, seconds, wait_seconds, samples_per_second, .. } = *report;
        Self { epoch, step, seconds, wait_seconds, samples_per_second }
    }
}
