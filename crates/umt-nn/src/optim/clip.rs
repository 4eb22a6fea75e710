//! Gradient-norm clipping.

use crate::kernels::sum_of_squares;
use crate::{Array, Grads};

/// Euclidean norm over all gradients together: sums in f64, in an order fixed by names and lengths alone.
pub fn grad_norm(grads: &Grads) -> f64 {
    grads.values().map(|g| sum_of_squares(g.as_slice())).sum::<f64>().sqrt()
}

/// Scales all gradients by one factor so that their common norm is at most `max` (Pascanu et al. 2013), and returns
/// the norm before. Gradients within the limit keep their bits. A norm that is not finite scales nothing: the caller
/// looks for such values first.
pub fn clip_grad_norm(grads: &mut Grads, max: f32) -> f32 {
    let norm = grad_norm(grads);
    let limit = f64::from(max);
    if norm.is_finite() && norm > limit {
        // PyTorch divides by norm + 1e-6, to be safe for a norm of 0; here the norm is above the limit.
        let factor = (limit / norm) as f32;
        grads.values_mut().flat_map(Array::make_mut).for_each(|g| *g *= factor);
    }
    norm as f32
}
