//! Frozen features with their labels, checked once.

use crate::EvalError;
use crate::scores::{check_labels, check_rows};

/// Features `[samples, width]` (row-major) of a frozen encoder and labels `[samples]`, validated.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    values: &'a [f32],
    width: usize,
    labels: &'a [u32],
    classes: usize,
}

impl<'a> Features<'a> {
    /// Borrows features and labels; `classes` may exceed the labels that occur.
    ///
    /// # Errors
    /// [`EvalError::Empty`], [`EvalError::Shape`], [`EvalError::Label`] and
    /// [`EvalError::NonFinite`] as for [`crate::Scores::new`].
    pub fn new(values: &'a [f32], width: usize, labels: &'a [u32], classes: usize) -> Result<Self, EvalError> {
        check_rows("features", values, width, labels.len())?;
        check_labels(labels, classes)?;
        Ok(Self { values, width, labels, classes })
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// Features per sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// All values, `[samples, width]`.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Labels, one per sample.
    pub fn labels(&self) -> &'a [u32] {
        self.labels
    }
}
