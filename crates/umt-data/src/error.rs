//! Everything that can be wrong with a data set.

use std::{io, path::PathBuf};
use thiserror::Error;
use umt_store::StoreError;

/// Why data could not be used. Each message names the thing and says what to do.
#[derive(Debug, Error)]
pub enum DataError {
    /// The data set's name is not in the list.
    #[error("unknown data set `{name}`; known: {known}. Your own data: a manifest, `--data list.csv`")]
    UnknownDataset {
        /// The name that was asked for.
        name: String,
        /// The known names.
        known: String,
    },
    /// The folder or file given as data is not there or not of the set's form.
    #[error("{}: {reason}; {hint}", path.display())]
    Root {
        /// What was given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A list (csv) is not of the form it should have.
    #[error("{}, line {line}: {reason}; expected {expected}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What was found.
        reason: String,
        /// The form, and what to do.
        expected: String,
    },
    /// Files that the list names are not there.
    #[error(
        "{missing} of {total} samples have no file ({first}, ...); put the files there, or leave such samples out with data.on-error = \"skip\" (they are counted)"
    )]
    Missing {
        /// How many samples lack a file.
        missing: usize,
        /// How many samples the list names.
        total: usize,
        /// The first few files that were looked for.
        first: String,
    },
    /// A sample that does not decode, and the policy is to stop.
    #[error(
        "sample `{id}`, {path}: {reason}; repair or remove the file, or leave such samples out with data.on-error = \"skip\" (they are counted)"
    )]
    Sample {
        /// The sample's id.
        id: String,
        /// Its file.
        path: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A setting that cannot be.
    #[error("data setting `{key}`: {reason}")]
    Config {
        /// The key within `[data]`.
        key: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// The cache of decoded samples is damaged.
    #[error("cache {}: {reason}; delete the file, it will be made again", path.display())]
    Cache {
        /// The shard file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading failed in the operating system.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Writing the cache failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A worker thread ended before its work was done.
    #[error("a loader thread ended early: {reason}")]
    Worker {
        /// What is known about it.
        reason: String,
    },
}

impl DataError {
    /// The process's exit code: 6 for data, the store's own for writing, 5 for IO.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Io { .. } => 5,
            Self::Cache { .. } => 4,
            _ => 6,
        }
    }

    pub(crate) fn config(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config { key: key.into(), reason: reason.into() }
    }

    pub(crate) fn root(path: impl Into<PathBuf>, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Root { path: path.into(), reason: reason.into(), hint: hint.into() }
    }
}
