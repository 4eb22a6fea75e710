//! A finished stage, and how its files are read: compared with its record as they are read.

use crate::error::RunError;
use crate::folder::{METRICS, predictions_file};
use crate::record::Record;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use umt_data::Split;
use umt_eval::Predictions;
use umt_recipe::plan::Node;
use umt_store::{Digest, StoreError, read_verified};
use umt_train::EpochRow;

/// A stage that is done, with its folder.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its position in the plan.
    pub node: Node,
    /// Its folder.
    pub dir: PathBuf,
    /// Its record.
    pub record: Record,
}

impl Done {
    /// A file of the stage. What is returned is what was compared with the digest in the record: the file may have changed
    /// since the stage was found to be finished.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a file that is not what the stage wrote, [`StoreError::Io`] for one that cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, RunError> {
        let damaged = |path, reason| {
            let reason = format!("{reason}; `reproduce` repeats stage `{}`", self.record.stage);
            RunError::Store(StoreError::Corrupt { path, reason })
        };
        let path = self.dir.join(name);
        let Some(expected) = self.record.files.get(name) else {
            return Err(damaged(path, "the stage's record does not name it".into()));
        };
        read_verified(&path, expected).map_err(|error| match error {
            StoreError::Corrupt { path, reason } => damaged(path, reason),
            other => other.into(),
        })
    }

    /// The predictions of a split.
    ///
    /// # Errors
    /// As [`Done::read`].
    pub fn predictions(&self, split: Split) -> Result<Predictions, RunError> {
        self.parse_predictions(&self.read(&predictions_file(split))?)
    }

    /// A file of JSON.
    ///
    /// # Errors
    /// As [`Done::read`]; a file of another form.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, RunError> {
        let path = || self.dir.join(name);
        serde_json::from_slice(&self.read(name)?)
            .map_err(|error| StoreError::Corrupt { path: path(), reason: error.to_string() }.into())
    }

    /// The lines of its training's log; none for a stage that does not train.
    ///
    /// # Errors
    /// As [`Done::read`]; a line of another form.
    pub fn epochs(&self) -> Result<Vec<EpochRow>, RunError> {
        if !self.record.files.contains_key(METRICS) {
            return Ok(Vec::new());
        }
        self.parse_epochs(&self.read(METRICS)?)
    }

    pub(crate) fn parse_epochs(&self, log: &[u8]) -> Result<Vec<EpochRow>, RunError> {
        let damaged = |reason| StoreError::Corrupt { path: self.dir.join(METRICS), reason };
        Ok(EpochRow::read(log).map_err(damaged)?)
    }

    pub(crate) fn parse_predictions(&self, bytes: &[u8]) -> Result<Predictions, RunError> {
        Predictions::from_bytes(bytes).map_err(|source| RunError::Eval { stage: self.record.stage.clone(), source })
    }

    /// What the stage's record knows of something that another stage read: the SHA-256 of a file, or of its metrics.
    pub(crate) fn vouches(&self, name: &str) -> Option<String> {
        match name {
            SCORES => Some(Digest::of(&serde_json::to_vec(&self.record.figures).unwrap_or_default()).sha256),
            file => self.record.files.get(file).map(|digest| digest.sha256.clone()),
        }
    }
}

/// Stands for the metrics in a stage's record, which a stage that chooses among others reads of them.
pub(crate) const SCORES: &str = "result.json: metrics";
