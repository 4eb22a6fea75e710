//! What can be wrong with a recipe.

/// A place in a recipe: a file with line and column, or an argument of `--set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
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

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Location::Argument(text) => write!(f, "--set {text}"),
        }
    }
}

/// Every way in which a recipe can be wrong.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The text is not TOML, or a key or value is not one of the known ones.
    #[error("{location}: {message}")]
    Invalid {
        /// Where.
        location: Location,
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
}

impl RecipeError {
    /// The process's exit code: 2, usage or recipe.
    pub fn exit_code(&self) -> u8 {
        2
    }
}
