//! Losses over whole maps.

use super::launch::launch;
use super::reduce::{Sums, share};
use super::{Attempt, Gpu, Kind, Memory, Source};
use crate::{Array, NnError};

/// The weighted losses of `[rows, classes]` logits summed, and `scale` times their gradient, see [`crate::kernels::cross_entropy`].
pub(crate) fn cross_entropy(
    gpu: &Gpu,
    logits: &Array,
    labels: &[u8],
    weights: Option<&[f32]>,
    smoothing: f32,
    scale: f32,
    wants_grad: bool,
) -> Result<(f64, Option<Array>), NnError> {
    let shape = logits.shape();
    let classes = shape.last().copied().unwrap_or(0);
    let held = gpu.held(logits)?;
    if labels.is_empty() || held.len() != labels.len() * classes {
        let expected = format!("[{}, classes]", labels.len());
        return if labels.is_empty() { Ok((0.0, None)) } else { Err(NnError::shape("cross-entropy", expected, shape)) };
    }
    let marks = gpu.upload(labels)?;
    let by_class = Memory::upload(gpu, weights.unwrap_or(&[]))?;
    let mut grad = Memory::uninit(gpu, if wants_grad { held.len() } else { 0 }, held.kind())?;
    let mut losses = Sums::uninit(gpu, labels.len(), 1)?;
    let (with_weights, with_grad) = (i64::from(weights.is_some()), i64::from(wants_grad));
    let (c, rows) = (classes as i64, labels.len() as i64);
    launch!(gpu, Source::CrossEntropy, held.kind(), "cross_entropy", labels.len(), held.len();
        [&held.bytes, &marks, &by_class.bytes, &with_weights, &smoothing, &scale, &mut grad.bytes, &with_grad,
         &mut losses.values, &c, &rows]);
    let grad = wants_grad.then(|| Array::on_device(shape, grad));
    Ok((losses.total(gpu)?, grad))
}

/// Σ(a - b)², and `scale (a - b)`.
pub(crate) fn squared_distance(gpu: &Gpu, a: &Array, b: &Array, scale: f32) -> Result<(f64, Array), NnError> {
    let own = gpu.held(a)?;
    let other = gpu.take(b, own.kind())?;
    let mut grad = Memory::uninit(gpu, own.len(), own.kind())?;
    let mut sums = Sums::uninit(gpu, share(own.len()), 1)?;
    let (n, threads) = (own.len() as i64, sums.rows as i64);
    launch!(gpu, Source::Reduce, own.kind(), "squared_distance", sums.rows, own.len();
        [&own.bytes, &other.bytes, &scale, &mut grad.bytes, &mut sums.values, &n, &threads]);
    Ok((sums.total(gpu)?, Array::on_device(a.shape(), grad)))
}

impl Gpu {
    /// A parameter's memory: always `f32`.
    pub(super) fn parameter(&self, array: &Array) -> Result<std::sync::Arc<Memory>, NnError> {
        self.take(array, Kind::F32)
    }
}
