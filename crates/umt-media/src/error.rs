//! Everything that can be wrong with a media file.

use std::{io, path::PathBuf};
use thiserror::Error;

/// Why a file could not be decoded. A caller that knows the path adds it; decoders see only bytes.
#[derive(Debug, Error)]
pub enum MediaError {
    /// The bytes contradict their own format, or end too early.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// The file, box, packet or field.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A valid file of a kind that is not read.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// The codec, profile or container.
        what: String,
        /// What to do instead.
        reason: String,
    },
    /// A declared size is over what may be read.
    #[error("{what} is {value}, over the limit of {limit}; raise the limit if the file is right")]
    Limit {
        /// The size that was declared.
        what: String,
        /// Its value.
        value: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The file is there, but what was asked for is not in it (a clip without an audio track).
    #[error("there is no {what}")]
    Missing {
        /// What was looked for.
        what: String,
    },
    /// The operating system reports an error.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl MediaError {
    /// A [`MediaError::Malformed`] in one line.
    pub fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), reason: reason.into() }
    }

    /// A [`MediaError::Unsupported`] in one line.
    pub fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), reason: reason.into() }
    }
}
