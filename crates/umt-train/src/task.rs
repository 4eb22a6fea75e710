//! What the loop trains.

use std::collections::BTreeMap;

use umt_eval::Confusion;
use umt_nn::{Array, Grads, Params, optim::Squares};

use crate::{BatchSource, Feed, TrainError};

/// A model with its objective: what the loop needs to know of a method.
pub trait Task {
    /// All parameters and buffers that belong in a checkpoint. Frozen teachers do not.
    fn params(&self) -> &Params;

    /// The same, for the optimiser and for resuming.
    fn params_mut(&mut self) -> &mut Params;

    /// Forward and backward over one batch. Updates batch-norm's running statistics in the parameters, but no weight.
    ///
    /// # Errors
    /// Whatever the task's parts refuse; an empty batch.
    fn step(&mut self, batch: &Feed, context: &StepContext) -> Result<StepOutput, TrainError>;

    /// Further figures of a step, made of Σx² of each gradient by parameter name.
    fn figures(&self, squares: &BTreeMap<String, f64>) -> Vec<(String, f32)> {
        let _ = squares;
        Vec::new()
    }

    /// One batch in evaluation mode: what validation scores. Changes nothing.
    ///
    /// # Errors
    /// Whatever the task's parts refuse.
    fn evaluate(&self, batch: &Feed) -> Result<Evaluation, TrainError>;

    /// Buffers as they are from the next epoch on, by name: for a method that looks at its figures once an epoch.
    /// Changes nothing itself. `None` when `context.stopped` said so: the loop then asks again when it goes on.
    ///
    /// # Errors
    /// Whatever the task's parts refuse.
    fn end_of_epoch(&self, context: &EpochContext<'_>) -> Result<Option<Vec<(String, Array)>>, TrainError> {
        let _ = context;
        Ok(Some(Vec::new()))
    }
}

/// What the evaluation of a batch yields; all batches of a task yield the same kind.
#[derive(Clone, Debug)]
pub enum Evaluation {
    /// Logits `[N, classes]`, for one class per sample: scored by top-1.
    Logits(Array),
    /// Over the pixels of all samples, for one class per pixel: scored by mean IoU.
    Pixels {
        /// Their confusion matrix.
        counts: Confusion,
        /// Cross-entropy in nats, summed over the pixels that count.
        loss: f64,
    },
}

/// What a task may look at when the steps of an epoch are done.
pub struct EpochContext<'a> {
    /// The epoch that ends, from 0.
    pub epoch: u64,
    /// Updates done.
    pub step: u64,
    /// Updates of the whole run.
    pub total: u64,
    /// The run's seed.
    pub seed: u64,
    /// The validation split, if there is one.
    pub validation: Option<&'a dyn BatchSource>,
    /// Whether a stop was asked for: to be looked at between batches.
    pub stopped: &'a dyn Fn() -> bool,
}

/// Where in the run a step is: with its ids, all that a step's random draws may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepContext {
    /// Updates done before this one.
    pub step: u64,
    /// Updates of the whole run.
    pub total: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// The run's seed.
    pub seed: u64,
}

/// What one step yields.
#[derive(Debug)]
pub struct StepOutput {
    /// Mean loss over the batch, the quantity whose gradients these are.
    pub loss: f32,
    /// Further figures by name, for example each term of the loss; their means over an epoch become metrics.
    pub log: BTreeMap<String, f32>,
    /// Gradient by parameter name.
    pub grads: Grads,
    /// Σx² of the gradients, where the task asked for them before it waited for a device.
    pub squares: Option<Squares>,
}
