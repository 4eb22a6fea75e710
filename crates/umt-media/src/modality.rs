//! The kinds of signal a sample may hold.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One kind of signal. Sorted by name, so that maps keyed by it go over modalities in one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Audio, as a spectrogram or a waveform.
    Audio,
    /// Distance to the camera, per pixel.
    Depth,
    /// One colour image.
    Rgb,
    /// Frames of a clip.
    Video,
}

impl Modality {
    /// All of them, in order.
    pub const ALL: [Modality; 4] = [Self::Audio, Self::Depth, Self::Rgb, Self::Video];

    /// The name used in recipes, results and parameter names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Depth => "depth",
            Self::Rgb => "rgb",
            Self::Video => "video",
        }
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Modality {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|modality| modality.name() == name)
            .ok_or_else(|| format!("unknown modality `{name}`; known: {}", Self::ALL.map(Self::name).join(", ")))
    }
}
