//! What can be wrong between a recipe and its table.

use std::path::PathBuf;

/// A place in a recipe: a file with line and column, or an argument of `--set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file; line and column count from 1.
    File {
        /// The file as it was named.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// In an argument of the command line.
    Argument(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::Argument(text) => write!(f, "--set {text}"),
        }
    }
}

/// Every way in which a recipe can fail, each with its exit code.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The text is not TOML, or a key or value is not one of the known ones.
    #[error("{place}: {message}")]
    Invalid {
        /// Where.
        place: Place,
        /// What is wrong there, with the valid names.
        message: String,
    },
    /// A recipe name that is neither embedded nor a file.
    #[error("no recipe `{name}`: give a path to a .toml file or one of {known}")]
    UnknownRecipe {
        /// The name asked for.
        name: String,
        /// The embedded ones.
        known: String,
    },
    /// A setting on the command line which does not fit the recipe.
    #[error("{0}")]
    Usage(String),
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A finished stage whose files are not what its record says.
    #[error("{0}")]
    Damaged(String),
    /// The data set.
    #[error(transparent)]
    Data(#[from] umt_data::DataError),
    /// The store.
    #[error(transparent)]
    Store(#[from] umt_store::StoreError),
    /// The training of a stage.
    #[error("stage {stage}, seed {seed}: {source}")]
    Train {
        /// The stage's id.
        stage: String,
        /// Its seed.
        seed: u64,
        /// What stopped it.
        source: umt_train::TrainError,
    },
    /// Building or running a network.
    #[error("stage {stage}, seed {seed}: {message}")]
    Network {
        /// The stage's id.
        stage: String,
        /// Its seed.
        seed: u64,
        /// The reason.
        message: String,
    },
    /// A measure or a probe.
    #[error("stage {stage}: {message}")]
    Eval {
        /// The stage's id.
        stage: String,
        /// The reason.
        message: String,
    },
    /// A picture could not be drawn.
    #[error("drawing {path}: {message}")]
    Picture {
        /// The file.
        path: PathBuf,
        /// The reason.
        message: String,
    },
}
