//! A finished stage on disk: `result.json` comes last and vouches for every other file of the folder.

use crate::error::RunError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::ErrorKind::NotFound;
use std::path::Path;
use umt_media::Modality;
use umt_recipe::plan::{FORMAT, canonical};
use umt_store::{Digest, Store, StoreError, digest_file, sha256_hex};

/// The file without which a stage does not count as finished.
pub const RESULT: &str = "result.json";

/// What a finished stage says of itself. Nothing in a table comes from anywhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this form and of the meaning of keys.
    pub format: u32,
    /// The stage's key.
    pub key: String,
    /// Its row.
    pub stage: String,
    /// Its seed.
    pub seed: u64,
    /// Everything the key is the hash of.
    pub settings: Value,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// The samples there were, for stages that read data.
    pub samples: Option<Samples>,
    /// Class names in the order of the logits, for stages with a network.
    pub classes: Vec<String>,
    /// Mean and standard deviation that spectrograms were normalised by, for stages with a network.
    pub audio_stats: Option<[f32; 2]>,
    /// Mean and standard deviation that depth was normalised by, in millimetres, for stages with a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth_stats: Option<[f32; 2]>,
    /// Optimiser updates; 0 where nothing is trained by steps.
    pub steps: u64,
    /// Which weights were kept, or how the probe was regularised.
    pub note: String,
    /// For a stage made of others' probabilities: how much each counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mix: BTreeMap<String, f64>,
    /// Seconds the stage took, over all processes that worked on it.
    pub wall_seconds: f64,
    /// Training samples per second, where there were steps.
    pub samples_per_second: Option<f64>,
    /// The most memory the process held while it ran, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Where it ran.
    pub device: String,
    /// Instruction set of the kernels.
    pub isa: String,
    /// Threads of the kernels.
    pub threads: usize,
    /// SHA-256 of what was read of each parent, by the parent's key and the file's name.
    pub parents: BTreeMap<String, BTreeMap<String, String>>,
    /// SHA-256 of what other stages read: the model or the predictions.
    pub output: String,
    /// Length and SHA-256 of every file of the folder.
    pub files: BTreeMap<String, Digest>,
    /// SHA-256 of this record without this field.
    pub digest: String,
}

/// One number of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// train, validation or test.
    pub split: String,
    /// The metric.
    pub metric: String,
    /// Its value; fractions are 0..1.
    pub value: f64,
    /// The modalities that were present; left out when all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Vec<Modality>>,
}

impl Figure {
    /// A figure with all modalities present.
    pub fn whole(split: &str, metric: &str, value: f64) -> Figure {
        Figure { split: split.to_owned(), metric: metric.to_owned(), value, given: None }
    }
}

/// How many samples a stage could use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// Trained on.
    pub train: usize,
    /// Held out; part of `train` under `refit`.
    pub validation: usize,
    /// In the test split.
    pub test: usize,
    /// In no split, because they share a group or their content with a held-out sample.
    pub left_out: usize,
    /// Left out because they could not be used, by the kind of problem.
    pub skipped: BTreeMap<String, usize>,
}

/// What is known of a stage's folder.
#[derive(Debug)]
pub enum Found {
    /// Complete, and every byte is as it was written.
    Finished(Box<Record>),
    /// No record: never begun, or interrupted.
    Unfinished,
    /// A record that something in the folder contradicts.
    Damaged(String),
}

impl Record {
    /// Writes the record as the last file of the folder.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn commit(mut self, store: &Store, dir: &Path) -> Result<Record, RunError> {
        self.digest = self.own_digest();
        store.commit_json(&dir.join(RESULT), &self)?;
        Ok(self)
    }

    /// A figure, if the stage has it.
    pub fn figure(&self, split: &str, metric: &str) -> Option<f64> {
        self.figures.iter().find(|f| f.split == split && f.metric == metric && f.given.is_none()).map(|f| f.value)
    }

    fn own_digest(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.remove("digest");
        }
        sha256_hex(canonical(&value).as_bytes())
    }
}

/// Looks at a stage's folder and verifies every file that the record names.
///
/// # Errors
/// A file system that does not answer; damage is no error but [`Found::Damaged`].
pub fn look(dir: &Path, key: &str) -> Result<Found, RunError> {
    let absent = |error: &StoreError| matches!(error, StoreError::Io { source, .. } if source.kind() == NotFound);
    let record: Record = match umt_store::read_json(&dir.join(RESULT)) {
        Ok(record) => record,
        Err(error) if absent(&error) => return Ok(Found::Unfinished),
        Err(StoreError::Corrupt { reason, .. }) => return Ok(Found::Damaged(format!("{RESULT}: {reason}"))),
        Err(error) => return Err(error.into()),
    };
    if record.digest != record.own_digest() {
        return Ok(Found::Damaged(format!("{RESULT} does not match its own digest")));
    }
    if record.format != FORMAT || record.key != key {
        return Ok(Found::Damaged(format!("{RESULT} belongs to another stage or version")));
    }
    for (name, expected) in &record.files {
        match digest_file(&dir.join(name)) {
            Ok(found) if found == *expected => {}
            Ok(_) => return Ok(Found::Damaged(format!("{name} does not match its digest"))),
            Err(error) if absent(&error) => return Ok(Found::Damaged(format!("{name} is missing"))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Found::Finished(Box::new(record)))
}
