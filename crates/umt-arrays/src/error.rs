//! Everything that can be wrong with given arrays.

use std::{io, path::PathBuf};
use thiserror::Error;

/// Why arrays were not read or do not fit together.
#[derive(Debug, Error)]
pub enum ArrayError {
    /// Bytes contradict their format, or end too early.
    #[error("{name} is malformed: {reason}")]
    Malformed {
        /// The array or file.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A valid file of a kind that is not read.
    #[error("{name} is not supported: {reason}")]
    Unsupported {
        /// The array or file.
        name: String,
        /// What it holds, and what to do instead.
        reason: String,
    },
    /// Arrays that are needed, or that do not belong together.
    #[error("{name}: {reason}")]
    Mismatch {
        /// The array.
        name: String,
        /// What does not fit, with the numbers.
        reason: String,
    },
    /// The operating system failed.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Metrics or probes could not be computed.
    #[error("{name}: {source}")]
    Eval {
        /// The array.
        name: String,
        /// The reason.
        source: umt_eval::EvalError,
    },
}

impl ArrayError {
    /// The exit code of the commands: 5 where the system failed, 6 for data that cannot be used.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { .. } => 5,
            _ => 6,
        }
    }
}
