//! Gradient-norm clipping.

use crate::compute::{Sums, scale_all};
use crate::{Array, Grads, NnError};
use std::collections::BTreeMap;

/// Σx² of each gradient, in f64, on its way, and a look at the inputs of the step: a device is not waited for until they are read.
#[derive(Debug)]
pub struct Squares {
    names: Vec<String>,
    sums: Sums,
}

/// What [`Squares`] tells.
#[derive(Debug)]
pub struct FoundSquares {
    /// Σx² of each gradient by parameter name. No finite gradient is large enough for its sum to overflow: a sum is finite exactly when its gradient
    /// is.
    pub grads: BTreeMap<String, f64>,
    /// Whether all values of the inputs that are on a device are finite.
    pub finite_inputs: bool,
}

impl Squares {
    /// Asks for the sums of all gradients, and of the inputs that are on a device; the host looks at its own before the step.
    ///
    /// # Errors
    /// When a device fails.
    pub fn of<'a>(grads: &'a Grads, inputs: impl IntoIterator<Item = &'a Array>) -> Result<Self, NnError> {
        let inputs = inputs.into_iter().filter(|input| !input.device().is_cpu());
        let arrays: Vec<&Array> = grads.values().chain(inputs).collect();
        Ok(Self { names: grads.keys().cloned().collect(), sums: Sums::of_squares(&arrays)? })
    }

    /// The sums.
    ///
    /// # Errors
    /// When a device fails.
    pub fn read(self) -> Result<FoundSquares, NnError> {
        let mut sums = self.sums.read()?;
        let finite_inputs = sums.split_off(self.names.len()).into_iter().all(f64::is_finite);
        Ok(FoundSquares { grads: self.names.into_iter().zip(sums).collect(), finite_inputs })
    }
}

/// Euclidean norm over all gradients together: sums in f64, in an order fixed by names and lengths alone.
///
/// # Errors
/// When a device fails.
pub fn grad_norm(grads: &Grads) -> Result<f64, NnError> {
    Ok(Squares::of(grads, [])?.read()?.grads.values().sum::<f64>().sqrt())
}

/// Scales all gradients by one factor so that their common norm is at most `max` (Pascanu et al. 2013), and returns
/// the norm before. Gradients within the limit keep their bits. A norm that is not finite scales nothing: the caller
/// looks for such values first.
///
/// # Errors
/// When a device fails.
pub fn clip_grad_norm(grads: &mut Grads, max: f32) -> Result<f32, NnError> {
    let norm = grad_norm(grads)?;
    scale_to_norm(grads, norm, max)?;
    Ok(norm as f32)
}

/// As [`clip_grad_norm`] where the norm is known.
///
/// # Errors
/// When a device fails.
pub fn scale_to_norm(grads: &mut Grads, norm: f64, max: f32) -> Result<(), NnError> {
    let limit = f64::from(max);
    if norm.is_finite() && norm > limit {
        // PyTorch divides by norm + 1e-6, to be safe for a norm of 0; here the norm is above the limit.
        let factor = (limit / norm) as f32;
        scale_all(&mut grads.values_mut().collect::<Vec<_>>(), factor)?;
    }
    Ok(())
}
