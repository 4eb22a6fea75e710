//! Ways in which training can stop before its end.

use std::error::Error;

use umt_data::DataError;
use umt_nn::NnError;
use umt_store::StoreError;

/// Ways in which training can stop before its end; each has an exit code, see [`TrainError::exit_code`].
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting that cannot be followed.
    #[error("train.{key}: {reason}")]
    Config {
        /// The setting's name.
        key: String,
        /// Its value and what is allowed.
        reason: String,
    },
    /// A stored run that was started with other settings.
    #[error("{dir} holds a run with another `{key}`: {stored} there, {given} now; give another folder or remove it")]
    OtherRun {
        /// The run's folder.
        dir: String,
        /// What differs.
        key: String,
        /// Its value in the folder.
        stored: String,
        /// Its value now.
        given: String,
    },
    /// A NaN or an infinity. The update did not happen, and the last checkpoint is still the one before.
    #[error("stage {stage}, step {step}: {what} is not finite ({value}){}", listed(ids))]
    NonFinite {
        /// The stage being trained.
        stage: String,
        /// Updates done before.
        step: u64,
        /// What holds the value: `loss`, `input audio`, `gradient of conv1.weight`, `weight conv1.weight`.
        what: String,
        /// The first such value.
        value: f32,
        /// Samples of the batch, or the one sample whose input it is; empty for weights looked at between epochs.
        ids: Vec<String>,
    },
    /// A stop was asked for. A checkpoint of all work done lies in the run's folder.
    #[error("stopped by signal {signal} after step {step}; the same command resumes there")]
    Interrupted {
        /// Number of the signal, 2 for SIGINT and 15 for SIGTERM.
        signal: i32,
        /// Updates done.
        step: u64,
    },
    /// Batches that do not fit what the loop was promised.
    #[error("batches: {reason}")]
    Batches {
        /// What was expected and what came.
        reason: String,
    },
    /// A checkpoint whose parts do not fit together although their digests hold.
    #[error("checkpoint in {dir}: {reason}")]
    Checkpoint {
        /// The run's folder.
        dir: String,
        /// What does not fit.
        reason: String,
    },
    /// Reading samples failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Writing or reading the run's folder failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A kernel, layer, optimiser or schedule refused its input.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The task failed in a way of its own.
    #[error(transparent)]
    Task(Box<dyn Error + Send + Sync>),
}

impl TrainError {
    /// The process's exit code: 2 settings, 3 non-finite, 4 corrupt store, 5 IO, 6 data, 130 or 143 for a signal, 1 else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. }
            | Self::OtherRun { .. }
            | Self::Nn(NnError::Setting { .. } | NnError::Unsupported(_)) => 2,
            Self::NonFinite { .. } => 3,
            Self::Checkpoint { .. } => 4,
            Self::Store(error) => error.exit_code(),
            Self::Data(error) => error.exit_code(),
            Self::Batches { .. } => 6,
            Self::Interrupted { signal, .. } => u8::try_from(128 + signal).unwrap_or(1),
            Self::Nn(_) | Self::Task(_) => 1,
        }
    }
}

/// The samples, if any are known: at most eight names, then how many more.
fn listed(ids: &[String]) -> String {
    const SHOWN: usize = 8;
    if ids.is_empty() {
        return String::new();
    }
    let mut text = ids.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN {
        text.push_str(&format!(" and {} more", ids.len() - SHOWN));
    }
    format!("; samples {text}")
}
