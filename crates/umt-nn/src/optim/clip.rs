//! Gradient-norm clipping.

use crate::compute::{scale, sums_of_squares};
use crate::{Array, Grads, NnError};
use std::collections::BTreeMap;

/// Σx² of each gradient, by parameter name, in f64; a device is waited for once. No finite gradient is large enough for its sum to overflow: a sum
/// is finite exactly when its gradient is.
///
/// # Errors
/// When a device fails.
pub fn squares(grads: &Grads) -> Result<BTreeMap<String, f64>, NnError> {
    let arrays: Vec<&Array> = grads.values().collect();
    Ok(grads.keys().cloned().zip(sums_of_squares(&arrays)?).collect())
}

/// Euclidean norm over all gradients together: sums in f64, in an order fixed by names and lengths alone.
///
/// # Errors
/// When a device fails.
pub fn grad_norm(grads: &Grads) -> Result<f64, NnError> {
    Ok(squares(grads)?.values().sum::<f64>().sqrt())
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
        for grad in grads.values_mut() {
            scale(grad, factor)?;
        }
    }
    Ok(())
}
