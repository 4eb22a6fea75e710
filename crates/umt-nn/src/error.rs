//! What can go wrong between arrays, parameters and tensors.

use std::fmt::Display;
use thiserror::Error;

/// An error of this crate.
#[derive(Debug, Error)]
pub enum NnError {
    /// Two shapes that must fit do not.
    #[error("{what}: expected shape {expected}, got {got:?}")]
    Shape {
        /// The operator or parameter.
        what: String,
        /// What would fit.
        expected: String,
        /// What came.
        got: Vec<usize>,
    },
    /// A parameter the network asks for is not there.
    #[error("parameter `{0}` does not exist")]
    NoParameter(String),
    /// Tensors that do not match a network's parameters, each list sorted.
    #[error(
        "the tensors do not fit this network: missing [{}], unexpected [{}], ill-shaped [{}]",
        missing.join(", "), unexpected.join(", "), ill_shaped.join(", ")
    )]
    Mismatch {
        /// Names the network has and the file has not.
        missing: Vec<String>,
        /// Names the file has and the network has not.
        unexpected: Vec<String>,
        /// Names with the wrong shape, both shapes given.
        ill_shaped: Vec<String>,
    },
    /// A setting whose value is rejected.
    #[error("{key}: {reason}")]
    Setting {
        /// The setting, as its author names it: `optimizer.momentum`.
        key: String,
        /// Its value and what is allowed.
        reason: String,
    },
    /// A combination that has no meaning, or an input that is missing.
    #[error("{0}")]
    Unsupported(String),
    /// A convolution or pooling whose sizes cannot be.
    #[error(transparent)]
    Kernel(#[from] crate::kernels::ShapeError),
    /// A stop was asked for; the pass was given up and has changed nothing.
    #[error("stopped")]
    Stopped,
    /// A device that is not there, or that failed.
    #[error("{0}")]
    Device(String),
    /// candle refused.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

impl NnError {
    /// A [`NnError::Shape`] in one line.
    pub fn shape(what: impl Into<String>, expected: impl Into<String>, got: &[usize]) -> Self {
        Self::Shape { what: what.into(), expected: expected.into(), got: got.to_vec() }
    }

    /// A [`NnError::Setting`] in one line.
    pub fn setting(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Setting { key: key.into(), reason: reason.into() }
    }

    /// The same error with the name of the layer's parameter instead of the operator's.
    pub(crate) fn of(self, name: &str) -> Self {
        match self {
            Self::Shape { expected, got, .. } => Self::Shape { what: name.to_owned(), expected, got },
            other => other,
        }
    }
}

/// Rejects the setting `key` unless its value `holds`, that is, is what `allowed` says.
///
/// # Errors
/// [`NnError::Setting`] with the value and what is allowed.
pub fn within(key: &str, value: impl Display, holds: bool, allowed: &str) -> Result<(), NnError> {
    if holds { Ok(()) } else { Err(NnError::setting(key, format!("{value} is not {allowed}"))) }
}

/// For models that are written in candle: `?` on an operator of this crate.
impl From<NnError> for candle_core::Error {
    fn from(error: NnError) -> Self {
        match error {
            NnError::Candle(error) => error,
            other => Self::Msg(other.to_string()),
        }
    }
}
