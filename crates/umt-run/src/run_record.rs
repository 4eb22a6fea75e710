//! `run.json` of a finished run: vouches for the recipe and the results that others believe.

use crate::error::RunError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind::NotFound;
use std::path::Path;
use umt_recipe::plan::{FORMAT, canonical};
use umt_store::{Digest, Store, StoreError, read_json, read_verified, sha256_hex};

/// The record's file.
pub const RUN: &str = "run.json";
/// The recipe as run.
pub const RECIPE: &str = "recipe.toml";
/// The metrics of all stages.
pub const RESULTS: &str = "results.json";

/// Which files belong to a finished run. Its stages have records of their own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    format: u32,
    files: BTreeMap<String, Digest>,
    /// SHA-256 of this record without this field.
    digest: String,
}

impl RunRecord {
    /// Writes recipe and results, and last the record that vouches for both.
    ///
    /// # Errors
    /// What the store rejects.
    pub fn commit(store: &Store, recipe: &str, results: &str) -> Result<(), RunError> {
        let mut files = BTreeMap::new();
        for (name, text) in [(RECIPE, recipe), (RESULTS, results)] {
            files.insert(name.to_owned(), store.commit(&store.path(name), text.as_bytes())?);
        }
        let mut record = RunRecord { format: FORMAT, files, digest: String::new() };
        record.digest = record.own_digest();
        Ok(store.commit_json(&store.path(RUN), &record).map(drop)?)
    }

    /// The record of the run in `folder`.
    ///
    /// # Errors
    /// A folder that is no finished run, a record that is damaged or cannot be read.
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(RUN);
        let record: RunRecord = match read_json(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == NotFound => {
                return Err(RunError::Usage(format!(
                    "{} is not there: give the folder of a finished run, such as runs/synthetic-av",
                    path.display()
                )));
            }
            read => read?,
        };
        match record.digest == record.own_digest() {
            true => Ok(record),
            false => Err(damaged(&path, "it does not match its own digest".into())),
        }
    }

    /// A file of the run, compared with the record as it is read.
    ///
    /// # Errors
    /// A file that the record does not vouch for or that cannot be read.
    pub fn read(&self, folder: &Path, name: &str) -> Result<String, RunError> {
        let path = folder.join(name);
        let Some(expected) = self.files.get(name) else {
            return Err(damaged(&path, format!("{RUN} does not name it")));
        };
        let bytes = read_verified(&path, expected).map_err(|error| match error {
            StoreError::Corrupt { path, reason } => damaged(&path, format!("{reason} in {RUN}")),
            other => other.into(),
        })?;
        String::from_utf8(bytes).map_err(|error| damaged(&path, error.to_string()))
    }

    fn own_digest(&self) -> String {
        let value = serde_json::json!({ "format": self.format, "files": self.files });
        sha256_hex(canonical(&value).as_bytes())
    }
}

fn damaged(path: &Path, reason: String) -> RunError {
    let reason = format!("{reason}; `reproduce` with the same recipe writes it again");
    StoreError::Corrupt { path: path.to_path_buf(), reason }.into()
}
