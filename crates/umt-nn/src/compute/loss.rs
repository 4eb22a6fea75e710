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

/// Σx² of some arrays in f64, in a fixed order, on their way from where the arrays are.
#[derive(Debug)]
pub struct Sums(Whence);

#[derive(Debug)]
enum Whence {
    Host(Vec<f64>),
    #[cfg(feature = "cuda")]
    Cuda(cuda::Fetched),
}

impl Sums {
    /// Asks for the sums. The host has them at once; a device makes them when it is that far.
    ///
    /// # Errors
    /// When a device fails.
    pub fn of_squares(arrays: &[&Array]) -> Result<Self> {
        if let Some(_first) = arrays.first() {
            on_device!(_first, gpu => Ok(Self(Whence::Cuda(cuda::sums_of_squares(gpu, arrays)?))));
        }
        Ok(Self(Whence::Host(arrays.iter().map(|x| kernels::sum_of_squares(x.as_slice())).collect())))
    }

    /// The sums, in the arrays' order; a device is waited for if it is not that far.
    ///
    /// # Errors
    /// When a device fails.
    pub fn read(self) -> Result<Vec<f64>> {
        match self.0 {
            Whence::Host(sums) => Ok(sums),
            #[cfg(feature = "cuda")]
            Whence::Cuda(fetched) => fetched.read(),
        }
    }
}

/// Whether each array has neither NaN nor infinity; a device is waited for once.
///
/// # Errors
/// When a device fails.
pub fn all_finite(arrays: &[&Array]) -> Result<Vec<bool>> {
    if let Some(_first) = arrays.first() {
        on_device!(_first, _gpu => Ok(Sums::of_squares(arrays)?.read()?.into_iter().map(f64::is_finite).collect()));
    }
    Ok(arrays.iter().map(|x| kernels::all_finite(x.as_slice())).collect())
}
