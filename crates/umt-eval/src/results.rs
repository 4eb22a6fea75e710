//! The `results.json` of a recipe.
//!
//! Fractions are 0..1. The form is fixed: other tools read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use umt_media::Modality;

use crate::EvalError;
use crate::difference::{Level, Verdict};

/// All figures of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Name of the recipe.
    pub recipe: String,
    /// Device, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Instruction set that the kernels used, such as `avx512`.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// Digest of the run: of its data, and of every stage's metrics and files but its times. Equal runs have equal ones.
    pub digest: String,
    /// Digest of the data.
    pub data_digest: String,
    /// Every figure of every stage and seed.
    pub rows: Vec<Row>,
    /// Means and spreads over seeds.
    pub summary: Vec<SummaryRow>,
    /// Paired differences.
    pub paired: Vec<PairedRow>,
    /// Expectations of the recipe.
    pub expect: Vec<Expectation>,
    /// Stages that could not be done, and those that needed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedRow>,
    /// Sum of the stages' own times, recorded when each ran.
    pub wall_seconds: f64,
    /// Training speed of each stage.
    pub samples_per_second: BTreeMap<String, f64>,
    /// Seconds of training that an epoch of each stage takes.
    #[serde(default)]
    pub seconds_per_epoch: BTreeMap<String, f64>,
    /// The most memory the process held while each stage ran.
    #[serde(default)]
    pub peak_bytes: BTreeMap<String, f64>,
}

/// A stage that could not be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedRow {
    /// Stage, such as `g-blend`.
    pub stage: String,
    /// Seed.
    pub seed: u64,
    /// Why.
    pub reason: String,
}

/// One figure of one stage and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Stage, such as `joint` or `probe.umt.audio`.
    pub stage: String,
    /// Seed.
    pub seed: u64,
    /// `train`, `validation` or `test`.
    pub split: String,
    /// Metric, such as `top1`.
    pub metric: String,
    /// Value.
    pub value: f64,
    /// Modalities that were present; absent when all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Vec<Modality>>,
    /// Key of the finished stage that the figure comes from.
    pub key: String,
}

/// Mean and spread of a figure over seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummaryRow {
    /// Stage.
    pub stage: String,
    /// Split.
    pub split: String,
    /// Metric.
    pub metric: String,
    /// Modalities that were present; absent when all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Vec<Modality>>,
    /// Mean over seeds.
    pub mean: f64,
    /// Sample standard deviation over seeds; 0 where `n` is 1.
    pub std: f64,
    /// Number of seeds.
    pub n: usize,
}

/// A paired difference `a - b`; see [`crate::paired`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedRow {
    /// First stage.
    pub a: String,
    /// Stage subtracted from it.
    pub b: String,
    /// Split.
    pub split: String,
    /// Metric.
    pub metric: String,
    /// Mean difference.
    pub mean: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Number of samples.
    pub n: usize,
    /// What the interval is about.
    #[serde(default)]
    pub level: Level,
    /// Two-sided p-value of no difference.
    #[serde(default = "one")]
    pub p: f64,
    /// The same after Holm's correction over the rows of its table.
    #[serde(default = "one")]
    pub p_adjusted: f64,
    /// What it says.
    #[serde(default)]
    pub verdict: Verdict,
}

fn one() -> f64 {
    1.0
}

/// An expectation of the recipe and whether it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// What was expected, in words.
    pub text: String,
    /// Whether it held.
    pub held: bool,
}

impl Results {
    /// Indented JSON with a final newline; the same figures give the same bytes.
    ///
    /// # Errors
    /// [`EvalError::Malformed`] when a figure is NaN or infinite, which JSON cannot hold.
    pub fn to_json(&self) -> Result<String, EvalError> {
        let malformed = |reason| EvalError::Malformed { what: "results.json", reason };
        let rows = self.rows.iter().map(|r| (&r.stage, &r.metric, [r.value, 0.0, 0.0]));
        let summary = self.summary.iter().map(|r| (&r.stage, &r.metric, [r.mean, r.std, 0.0]));
        let paired = self.paired.iter().map(|r| (&r.a, &r.metric, [r.mean, r.low, r.high]));
        for (stage, metric, values) in rows.chain(summary).chain(paired) {
            if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
                return Err(malformed(format!("{metric} of {stage} is {bad}")));
            }
        }
        let speeds = self.samples_per_second.values().chain(self.seconds_per_epoch.values());
        if let Some(bad) = speeds.chain([&self.wall_seconds]).find(|v| !v.is_finite()) {
            return Err(malformed(format!("a time or speed is {bad}")));
        }
        let text = serde_json::to_string_pretty(self).map_err(|e| malformed(e.to_string()))?;
        Ok(text + "\n")
    }

    /// Reads what [`Results::to_json`] wrote.
    ///
    /// # Errors
    /// [`EvalError::Malformed`] with line and column.
    pub fn from_json(text: &str) -> Result<Self, EvalError> {
        serde_json::from_str(text).map_err(|e| EvalError::Malformed { what: "results.json", reason: e.to_string() })
    }

    /// The summary of a figure with all modalities present.
    pub fn summary_of(&self, stage: &str, split: &str, metric: &str) -> Option<&SummaryRow> {
        self.summary.iter().find(|s| s.stage == stage && s.split == split && s.metric == metric && s.given.is_none())
    }
}
