//! What can be wrong between a recipe and its finished stages.

use std::path::PathBuf;
use umt_data::DataError;
use umt_eval::EvalError;
use umt_nn::NnError;
use umt_recipe::RecipeError;

/// Every way in which a run can fail, each with its exit code.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A setting on the command line, or a stage that the run does not have.
    #[error("{0}")]
    Usage(String),
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A stop was asked for between two steps of work that keeps no checkpoint.
    #[error("stopped by signal {signal} in stage {stage}; the same command goes on there")]
    Interrupted {
        /// Number of the signal, 2 for SIGINT and 15 for SIGTERM.
        signal: i32,
        /// The stage.
        stage: String,
    },
    /// The data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The store.
    #[error(transparent)]
    Store(#[from] umt_store::StoreError),
    /// A repository of the Hub.
    #[error(transparent)]
    Hub(#[from] umt_store::hub::HubError),
    /// A file with weights that cannot be used.
    #[error("weights of {from}: {reason}")]
    Weights {
        /// The file, or the repository.
        from: String,
        /// What does not fit.
        reason: String,
    },
    /// The training of a stage.
    #[error("stage {stage}, seed {seed}: {source}")]
    Train {
        /// The stage's id.
        stage: String,
        /// Its seed.
        seed: u64,
        /// What stopped it; boxed, so that every other result stays small.
        source: Box<umt_train::TrainError>,
    },
    /// Building or running a network.
    #[error("stage {stage}: {source}")]
    Network {
        /// The stage's id.
        stage: String,
        /// The reason.
        source: NnError,
    },
    /// A measure or a probe.
    #[error("stage {stage}: {source}")]
    Eval {
        /// The stage's id.
        stage: String,
        /// The reason.
        source: EvalError,
    },
}

impl RunError {
    /// Whether it is about one stage's method or values: other stages may be done all the same.
    pub fn is_of_stage(&self) -> bool {
        matches!(self, Self::Train { .. } | Self::Network { .. } | Self::Eval { .. }) && self.exit_code() <= 3
    }

    /// The process's exit code: 2 usage or recipe, 3 non-finite, 4 corrupt store, 5 IO, 6 data, 130 or 143 for a
    /// signal, 1 for anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Recipe(error) => error.exit_code(),
            Self::Usage(_) | Self::Data(DataError::UnknownDataset { .. }) => 2,
            Self::Io { .. } => 5,
            Self::Interrupted { signal, .. } => u8::try_from(128 + signal).unwrap_or(1),
            Self::Data(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            Self::Hub(error) => error.exit_code(),
            Self::Weights { .. } => 6,
            Self::Train { source, .. } => source.exit_code(),
            Self::Network { source: NnError::Setting { .. } | NnError::Unsupported(_), .. } => 2,
            Self::Eval { source: EvalError::NonFinite { .. }, .. } => 3,
            Self::Eval { source: EvalError::Malformed { .. }, .. } => 4,
            Self::Network { .. } | Self::Eval { .. } => 1,
        }
    }
}
