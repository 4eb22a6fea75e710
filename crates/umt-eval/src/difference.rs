//! What a paired difference is: its value, what its interval is about, and what it says.

use serde::{Deserialize, Serialize};

/// A mean difference a - b with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Mean over samples and seeds.
    pub mean: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The largest absolute difference that the 90 % interval holds: two one-sided tests show the difference to be smaller than a margin
    /// above it.
    pub within: f64,
    /// Number of samples.
    pub n: usize,
    /// Two-sided p-value of no difference.
    pub p: f64,
    /// What the interval is about.
    pub level: Level,
}

/// What an interval is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Level {
    /// Other test samples; the seeds are taken as given, for there is one.
    #[default]
    #[serde(rename = "samples")]
    Samples,
    /// Other seeds and other test samples.
    #[serde(rename = "seeds+samples")]
    SeedsAndSamples,
}

/// What a difference says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Above 0 beyond chance, over seeds and samples, after correction for the number of comparisons.
    Better,
    /// Below 0 likewise.
    Worse,
    /// Shown to be smaller than the margin, either way.
    Equivalent,
    /// None of these is shown.
    #[default]
    Undecided,
}

impl Verdict {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Equivalent => "equivalent",
            Self::Undecided => "undecided",
        }
    }
}
