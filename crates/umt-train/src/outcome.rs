//! What surrounds a run, and what comes of it.

use std::path::Path;
use std::sync::atomic::AtomicUsize;

use umt_store::Store;

use crate::{Observer, Validation};

/// What surrounds a run.
pub struct Env<'a> {
    /// The stage's name, for messages.
    pub stage: &'a str,
    /// The run's folder, inside the store.
    pub dir: &'a Path,
    /// Writes the folder.
    pub store: &'a Store,
    /// The run's seed, handed to the task's steps.
    pub seed: u64,
    /// Told of progress.
    pub observer: &'a mut dyn Observer,
    /// 0, or the number of the signal that asks the run to stop.
    pub stop: &'a AtomicUsize,
}

/// A finished run. The kept weights are in the task.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Updates of the whole run.
    pub steps: u64,
    /// Updates done by this call; 0 when the run was finished before.
    pub steps_now: u64,
    /// The run's logs, complete: file name and text.
    pub logs: Vec<(&'static str, Vec<u8>)>,
    /// Which weights the task holds.
    pub kept: Kept,
    /// Seconds of all calls that worked on the run: steps, validation and checkpoints.
    pub seconds: f64,
    /// Seconds in which the steps waited for the loader.
    pub wait_seconds: f64,
    /// Samples per second of the steps, validation and checkpoints excluded.
    pub samples_per_second: f64,
}

/// Which weights a finished run kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kept {
    /// True: the best by validation. False: those of the last step.
    pub best: bool,
    /// Epochs done when they were reached.
    pub epoch: u64,
    /// Updates done when they were reached.
    pub step: u64,
    /// Their scores on validation, if there is one.
    pub validation: Option<Validation>,
}
