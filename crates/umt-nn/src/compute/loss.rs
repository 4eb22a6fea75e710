//! Numbers about whole arrays: losses with their gradients, norms, whether all is finite.

use super::Result;
use crate::Array;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::kernels::{self, CrossEntropy};

/// Softmax cross-entropy of `[..., classes]` logits against one label per row, see [`kernels::cross_entropy`]; and its gradient if wanted.
///
/// # Errors
/// When a device fails.
pub fn cross_entropy(
    logits: &Array,
    labels: &[u8],
    weights: Option<&[f32]>,
    smoothing: f32,
    wants_grad: bool,
) -> Result<(CrossEntropy, Option<Array>)> {
    let classes = logits.shape().last().copied().unwrap_or(0);
    #[cfg(feature = "cuda")]
    if let Some(gpu) = logits.gpu() {
        let weight = kernels::label_weight(classes, labels, weights);
        let scale = if weight > 0.0 { (1.0 / weight) as f32 } else { 0.0 };
        let (loss, grad) = cuda::cross_entropy(gpu, logits, labels, weights, smoothing, scale, wants_grad)?;
        return Ok((CrossEntropy { loss, weight }, grad));
    }
    let mut grad = wants_grad.then(|| Array::uninit(logits.shape()));
    let values = grad.as_mut().map(Array::make_mut);
    let result = kernels::cross_entropy(classes, logits.as_slice(), labels, weights, smoothing, values);
    Ok((result, grad))
}

/// Sum over all values of `(a - b)²`, and `scale (a - b)`.
///
/// # Errors
/// When a device fails.
pub fn squared_distance(a: &Array, b: &Array, scale: f32) -> Result<(f64, Array)> {
    on_device!(a, gpu => cuda::squared_distance(gpu, a, b, scale));
    let mut grad = Array::uninit(a.shape());
    let sum = kernels::squared_distance(a.as_slice(), b.as_slice(), scale, grad.make_mut());
    Ok((sum, grad))
}

/// Σx² of each array in f64, in a fixed order; a device is waited for once.
///
/// # Errors
/// When a device fails.
pub fn sums_of_squares(arrays: &[&Array]) -> Result<Vec<f64>> {
    if let Some(_first) = arrays.first() {
        on_device!(_first, gpu => cuda::sums_of_squares(gpu, arrays));
    }
    Ok(arrays.iter().map(|x| kernels::sum_of_squares(x.as_slice())).collect())
}

/// Whether each array has neither NaN nor infinity; a device is waited for once.
///
/// # Errors
/// When a device fails.
pub fn all_finite(arrays: &[&Array]) -> Result<Vec<bool>> {
    if let Some(_first) = arrays.first() {
        on_device!(_first, gpu => cuda::all_finite(gpu, arrays));
    }
    Ok(arrays.iter().map(|x| kernels::all_finite(x.as_slice())).collect())
}
