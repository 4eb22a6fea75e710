//! Who watches a run: progress bars, logs, tests.

use std::collections::BTreeMap;

use crate::Validation;

/// Told of progress. Nothing it does can change the run.
pub trait Observer {
    /// After every update.
    fn on_step(&mut self, _report: &StepReport<'_>) {}

    /// After every epoch, its validation included.
    fn on_epoch(&mut self, _report: &EpochReport<'_>) {}

    /// Something that the user should know although the run goes on, for example a damaged checkpoint that was passed over.
    fn on_warning(&mut self, _text: &str) {}
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// One update.
#[derive(Clone, Debug)]
pub struct StepReport<'a> {
    /// Updates done.
    pub step: u64,
    /// Updates of the whole run.
    pub total: u64,
    /// Samples in this step's batch.
    pub samples: usize,
    /// Samples per second of this epoch so far, in this process.
    pub samples_per_second: f64,
    /// Loss of this batch.
    pub loss: f32,
    /// Learning rate of this update.
    pub lr: f32,
    /// The task's further figures.
    pub log: &'a BTreeMap<String, f32>,
}

/// One epoch.
#[derive(Clone, Debug)]
pub struct EpochReport<'a> {
    /// Epochs done.
    pub epoch: u64,
    /// Updates done.
    pub step: u64,
    /// Learning rate of the last update.
    pub lr: f32,
    /// Mean loss over the epoch's batches.
    pub loss: f64,
    /// Means of the task's further figures.
    pub log: &'a BTreeMap<String, f64>,
    /// Scores on validation, in epochs that have one.
    pub validation: Option<Validation>,
    /// Whether these weights are the best so far.
    pub best: bool,
    /// Seconds of the epoch's steps, validation excluded, in this process.
    pub seconds: f64,
    /// Seconds of these in which the loop waited for the loader: near 0, the network is the slow part.
    pub wait_seconds: f64,
    /// Samples per second of the epoch's steps in this process.
    pub samples_per_second: f64,
}
