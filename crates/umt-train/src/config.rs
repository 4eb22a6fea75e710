//! Settings of one training run, with every default in one place.

use serde::{Deserialize, Serialize};
use umt_data::LoaderConfig;
use umt_nn::NnError;
use umt_nn::optim::OptimizerConfig;
use umt_nn::schedule::ScheduleConfig;

use crate::TrainError;

/// Settings of one training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainConfig {
    /// Passes over the training samples. Either this or `steps`, never both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Optimiser updates; the last epoch may then be cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Samples per update.
    pub batch: usize,
    /// Base learning rate, which the schedule scales.
    pub lr: f32,
    /// Update rule.
    pub optimizer: OptimizerConfig,
    /// Curve of the learning rate.
    pub schedule: ScheduleConfig,
    /// Largest gradient norm; larger gradients are scaled down to it. None: no clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f32>,
    /// True: train on all of train and keep the last weights. False: keep the best by validation.
    pub refit: bool,
    /// Epochs between validations; the last epoch is always validated.
    pub eval_every: u64,
    /// Least seconds between checkpoints at the ends of epochs; 0: at every one. The end of the run, and a stop, always
    /// have one. Where checkpoints lie never changes the result, only how much a killed run does again.
    pub checkpoint_seconds: f64,
    /// Steps between further checkpoints; 0: none.
    pub checkpoint_every: u64,
    /// Loader threads.
    pub workers: usize,
    /// Batches that the loader prepares ahead.
    pub prefetch: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: None,
            steps: None,
            batch: 64,
            lr: 0.05,
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            clip: None,
            refit: false,
            eval_every: 1,
            checkpoint_seconds: 15.0,
            checkpoint_every: 0,
            workers: 1,
            prefetch: 2,
        }
    }
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Passes over the training samples.
    Epochs(u64),
    /// Optimiser updates.
    Steps(u64),
}

impl TrainConfig {
    /// The run's length.
    ///
    /// # Errors
    /// [`TrainError::Config`] when both `epochs` and `steps` are given, neither is, or the given one is 0.
    pub fn length(&self) -> Result<Length, TrainError> {
        let length = match (self.epochs, self.steps) {
            (Some(_), Some(_)) => {
                return Err(refuse("epochs", "both epochs and steps are given: keep one"));
            }
            (None, None) => {
                return Err(refuse("epochs", "neither epochs nor steps is given: give one"));
            }
            (Some(epochs), None) => Length::Epochs(epochs),
            (None, Some(steps)) => Length::Steps(steps),
        };
        match length {
            Length::Epochs(0) => Err(refuse("epochs", "0 is not 1 or more")),
            Length::Steps(0) => Err(refuse("steps", "0 is not 1 or more")),
            positive => Ok(positive),
        }
    }

    /// Optimiser updates of the whole run, for epochs of `per_epoch` batches.
    ///
    /// # Errors
    /// As [`TrainConfig::length`], and when an epoch has no batch.
    pub fn total_steps(&self, per_epoch: u64) -> Result<u64, TrainError> {
        if per_epoch == 0 {
            let reason = format!("no batch: the training split has fewer samples than one batch of {}", self.batch);
            return Err(refuse("batch", &reason));
        }
        Ok(match self.length()? {
            Length::Epochs(epochs) => epochs.saturating_mul(per_epoch),
            Length::Steps(steps) => steps,
        })
    }

    /// Refuses settings that contradict one another or lie outside their range.
    ///
    /// # Errors
    /// [`TrainError::Config`] names the setting, for example `optimizer.momentum`.
    pub fn check(&self) -> Result<(), TrainError> {
        self.length()?;
        if self.batch == 0 {
            return Err(refuse("batch", "0 is not 1 or more"));
        }
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(refuse("lr", &format!("{} is not above 0", self.lr)));
        }
        if let Some(clip) = self.clip.filter(|c| !(*c > 0.0 && c.is_finite())) {
            return Err(refuse("clip", &format!("{clip} is not above 0")));
        }
        if self.eval_every == 0 {
            return Err(refuse("eval-every", "0 is not 1 or more"));
        }
        if !(self.checkpoint_seconds >= 0.0 && self.checkpoint_seconds.is_finite()) {
            return Err(refuse("checkpoint-seconds", &format!("{} is not 0 or more", self.checkpoint_seconds)));
        }
        self.optimizer.check().and_then(|()| self.schedule.check()).map_err(setting)
    }

    /// Loader settings for the training split (`train`) or for an evaluation, over this many samples.
    ///
    /// Training leaves out a last batch that is not full: batch-norm's statistics over a few samples are poor, and
    /// every step has the same cost. A set smaller than a batch has only that one.
    pub fn loader(&self, seed: u64, train: bool, samples: usize) -> LoaderConfig {
        let (batch, workers, prefetch) = (self.batch, self.workers, self.prefetch);
        LoaderConfig { batch, seed, workers, prefetch, train, drop_last: train && samples >= batch }
    }

    /// What decides the result: these settings without those that only decide how it is reached.
    pub(crate) fn deciding(&self) -> Self {
        let Self { checkpoint_seconds, checkpoint_every, workers, prefetch, .. } = Self::default();
        Self { checkpoint_seconds, checkpoint_every, workers, prefetch, ..self.clone() }
    }
}

fn refuse(key: &str, reason: &str) -> TrainError {
    TrainError::Config { key: key.to_owned(), reason: reason.to_owned() }
}

/// A rejected setting of the optimiser or the schedule is one of training.
fn setting(error: NnError) -> TrainError {
    match error {
        NnError::Setting { key, reason } => TrainError::Config { key, reason },
        other => TrainError::Nn(other),
    }
}
