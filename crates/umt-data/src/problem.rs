//! What can be wrong with one sample.

use serde::{Deserialize, Serialize};
use std::fmt;
use umt_media::{MediaError, Modality};

/// One way in which a sample cannot be used as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// The file is not there.
    Missing,
    /// The file does not decode.
    Corrupt,
    /// A codec or container that is not read.
    Unsupported,
    /// The clip has no audio track.
    NoAudio,
    /// The clip has no video track, the folder no frames.
    NoVideo,
    /// Every audio sample is zero.
    Silent,
    /// Less sound than `min_seconds`.
    Short,
    /// Picture, depth and label map differ in size.
    SizeMismatch,
    /// The label map holds an id that is no class of the set.
    LabelRange,
}

impl Problem {
    /// All of them, in order.
    pub const ALL: [Problem; 9] = [
        Self::Missing,
        Self::Corrupt,
        Self::Unsupported,
        Self::NoAudio,
        Self::NoVideo,
        Self::Silent,
        Self::Short,
        Self::SizeMismatch,
        Self::LabelRange,
    ];

    /// The name used in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::NoAudio => "no-audio",
            Self::NoVideo => "no-video",
            Self::Silent => "silent",
            Self::Short => "short",
            Self::SizeMismatch => "size-mismatch",
            Self::LabelRange => "label-range",
        }
    }

    /// Whether a sample with this problem can still be used (`data.tolerate`).
    pub fn tolerable(self) -> bool {
        matches!(self, Self::Silent | Self::Short)
    }

    pub(crate) fn of(error: &MediaError, modality: Modality) -> Self {
        match error {
            MediaError::Missing { .. } if modality == Modality::Audio => Self::NoAudio,
            MediaError::Missing { .. } => Self::NoVideo,
            MediaError::Unsupported { .. } => Self::Unsupported,
            MediaError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Corrupt,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A sample that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its place in [`crate::Dataset::samples`].
    pub index: usize,
    /// Its id.
    pub id: String,
    /// The kind of problem.
    pub problem: Problem,
    /// The file.
    pub path: String,
    /// The reason in words.
    pub reason: String,
}
