//! The host array that decoders produce and batches are made of.

use crate::error::MediaError;

/// A row-major array of `f32` on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Length of each axis, outermost first.
    pub shape: Vec<usize>,
    /// The values, `shape.iter().product()` of them.
    pub data: Vec<f32>,
}

impl Array {
    /// Wraps `data`.
    ///
    /// # Errors
    /// A length that does not fit `shape`.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, MediaError> {
        let expected: usize = shape.iter().product();
        if expected != data.len() {
            return Err(MediaError::Malformed {
                what: format!("array of shape {shape:?}"),
                reason: format!("needs {expected} values, got {}", data.len()),
            });
        }
        Ok(Self { shape, data })
    }

    /// An array of zeros.
    pub fn zeros(shape: Vec<usize>) -> Self {
        let data = vec![0.0; shape.iter().product()];
        Self { shape, data }
    }
}
