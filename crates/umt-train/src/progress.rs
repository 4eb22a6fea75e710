//! All that a run knows besides its weights and its optimiser's state.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::pace::Pace;
use crate::{StepOutput, TrainConfig, Validation};

/// Where a run is. Everything here is a function of settings, seed and step: two runs that meet at a step hold the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// What the run was started with.
    pub(crate) settings: Settings,
    /// Updates done.
    pub(crate) step: u64,
    /// Epochs done, their validation included.
    pub(crate) epoch: u64,
    /// Batches done of the epoch under way. The last one done but this not 0: its validation is still to come.
    pub(crate) batch: u64,
    /// Sums over those batches.
    pub(crate) sums: Sums,
    /// Latest validation.
    pub(crate) validation: Option<Validation>,
    /// Where the best weights by validation come from.
    pub(crate) best: Option<Best>,
}

/// What decides a run's result. A checkpoint made with others is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) config: TrainConfig,
    pub(crate) seed: u64,
    pub(crate) batches_per_epoch: u64,
}

/// Sums over the batches of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    loss: f64,
    log: BTreeMap<String, f64>,
}

/// Where the best weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) epoch: u64,
    pub(crate) step: u64,
    pub(crate) scores: Validation,
}

/// What a run took: added up over all processes that worked on it, and no part of its result.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Timing {
    /// Seconds of everything: steps, validation, checkpoints.
    pub(crate) seconds: f64,
    /// Of the steps alone.
    pub(crate) pace: Pace,
}

impl Progress {
    pub(crate) fn new(settings: Settings) -> Self {
        let (sums, validation, best) = Default::default();
        Self { settings, step: 0, epoch: 0, batch: 0, sums, validation, best }
    }

    pub(crate) fn advance(&mut self, output: &StepOutput) {
        self.step += 1;
        self.batch += 1;
        self.sums.loss += f64::from(output.loss);
        for (name, &value) in &output.log {
            *self.sums.log.entry(name.clone()).or_default() += f64::from(value);
        }
    }

    /// Closes the epoch under way.
    pub(crate) fn next_epoch(&mut self, validation: Option<Validation>) {
        self.epoch += 1;
        self.batch = 0;
        self.sums = Sums::default();
        self.validation = validation.or(self.validation);
    }

    /// Whether these scores are better than all before.
    pub(crate) fn is_best(&self, scores: &Validation) -> bool {
        self.best.is_none_or(|best| scores.better_than(&best.scores))
    }

    /// Mean loss and mean figures of the epoch under way.
    pub(crate) fn means(&self) -> (f64, BTreeMap<String, f64>) {
        let count = self.batch.max(1) as f64;
        let log = self.sums.log.iter().map(|(name, sum)| (name.clone(), sum / count)).collect();
        (self.sums.loss / count, log)
    }
}

impl Settings {
    /// Name and both values, `self`'s first, of the first setting in which they differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<[String; 3]> {
        let value = |settings| serde_json::to_value(settings).unwrap_or_default();
        first_difference("", &value(self), &value(other))
    }
}

fn first_difference(path: &str, a: &Value, b: &Value) -> Option<[String; 3]> {
    if a == b {
        return None;
    }
    let (Some(left), Some(right)) = (a.as_object(), b.as_object()) else {
        return Some([path.to_owned(), shown(a), shown(b)]);
    };
    let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    keys.into_iter().find_map(|key| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
        first_difference(&path, &of(left), &of(right))
    })
}

/// A setting as its author wrote it: 0.3 and not the f64 nearest to the f32 nearest to it.
fn shown(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => (number as f32).to_string(),
        _ => value.to_string(),
    }
}
