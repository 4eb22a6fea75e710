//! What can be wrong between finished stages and their report.

use umt_eval::EvalError;
use umt_run::RunError;

/// Every way in which a report can fail, each with its exit code.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A finished stage that cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The store.
    #[error(transparent)]
    Store(#[from] umt_store::StoreError),
    /// A plot could not be drawn.
    #[error("drawing {name}: {reason}")]
    Plot {
        /// The file.
        name: String,
        /// The reason.
        reason: String,
    },
}

impl ReportError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            Self::Plot { .. } => 1,
        }
    }
}

/// A measure of a stage that failed.
pub(crate) fn eval(stage: &str, source: EvalError) -> ReportError {
    RunError::Eval { stage: stage.to_owned(), source }.into()
}
