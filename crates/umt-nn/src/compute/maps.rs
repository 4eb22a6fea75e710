//! Feature maps: resizing, average pooling, learned upsampling, parts of arrays.

use super::Result;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::kernels::{self, PoolShape, Resize};
use crate::{Array, NnError};

/// A map `[n, h, w, c]` at another size `[h', w']`, see [`kernels::resize`]; no side is 0.
///
/// # Errors
/// What is no map; when a device fails.
pub fn resize(x: &Array, to: [usize; 2], how: Resize) -> Result<Array> {
    let &[n, h, w, c] = x.shape() else {
        return Err(NnError::shape("resize", "[n, h, w, c]", x.shape()));
    };
    on_device!(x, gpu => cuda::resize(gpu, how, n, [h, w], to, c, x));
    let mut y = Array::uninit(&[n, to[0], to[1], c]);
    kernels::resize(how, n, [h, w], to, c, x.as_slice(), y.make_mut());
    Ok(y)
}

/// The gradient of [`resize`] to an input of `from` `[h, w]`.
pub(crate) fn resize_backward(dy: &Array, from: [usize; 2], how: Resize) -> Result<Array> {
    let &[n, h, w, c] = dy.shape() else {
        return Err(NnError::shape("resize", "[n, h, w, c]", dy.shape()));
    };
    on_device!(dy, gpu => cuda::resize_backward(gpu, how, n, from, [h, w], c, dy));
    let mut dx = Array::uninit(&[n, from[0], from[1], c]);
    kernels::resize_backward(how, n, from, [h, w], c, dy.as_slice(), dx.make_mut());
    Ok(dx)
}

pub(crate) fn average_pool(s: &PoolShape, x: &Array) -> Result<Array> {
    on_device!(x, gpu => cuda::average_pool(gpu, s, x));
    let mut y = Array::uninit(&[s.n, s.out_h(), s.out_w(), s.c]);
    kernels::average_pool(s, x.as_slice(), y.make_mut());
    Ok(y)
}

pub(crate) fn average_pool_backward(s: &PoolShape, dy: &Array) -> Result<Array> {
    on_device!(dy, gpu => cuda::average_pool_backward(gpu, s, dy));
    let mut dx = Array::uninit(&[s.n, s.h, s.w, s.c]);
    kernels::average_pool_backward(s, dy.as_slice(), dx.make_mut());
    Ok(dx)
}

/// `from` is the size of `x`, `[n, h, w, c]`.
pub(crate) fn upsample(
    x: &Array,
    from: [usize; 4],
    to: [usize; 2],
    [w, bias]: [&Array; 2],
    skip: Option<&Array>,
) -> Result<Array> {
    on_device!(x, gpu => cuda::upsample(gpu, x, to, w, bias, skip));
    let [n, height, width, c] = from;
    let mut y = Array::uninit(&[n, to[0], to[1], c]);
    let skip = skip.map(Array::as_slice);
    let (x, w, bias) = (x.as_slice(), w.as_slice(), bias.as_slice());
    kernels::upsample(n, [height, width], to, c, x, w, bias, skip, y.make_mut());
    Ok(y)
}

/// Gradients to `x`, if wanted, and to the weights.
pub(crate) fn upsample_backward(
    x: &Array,
    from: [usize; 4],
    to: [usize; 2],
    w: &Array,
    dy: &Array,
    wants_x: bool,
) -> Result<(Option<Array>, Array)> {
    on_device!(x, gpu => cuda::upsample_backward(gpu, x, to, w, dy, wants_x));
    let [n, height, width, c] = from;
    let mut dw = Array::uninit(w.shape());
    let mut dx = wants_x.then(|| Array::uninit(x.shape()));
    let (xs, ws, dys, dx_values) = (x.as_slice(), w.as_slice(), dy.as_slice(), dx.as_mut().map(Array::make_mut));
    kernels::upsample_backward(n, [height, width], to, c, xs, ws, dys, dx_values, dw.make_mut());
    Ok((dx, dw))
}

/// Arrays `[..., c_i]` with their last axes side by side: `shape` is `[..., Σ c_i]`.
pub(crate) fn join_columns(parts: &[&Array], shape: &[usize]) -> Result<Array> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = parts.first().and_then(|part| part.gpu()) {
        return cuda::join_columns(gpu, parts, shape);
    }
    let (mut y, mut at, all) = (Array::uninit(shape), 0, shape.last().copied().unwrap_or(1));
    for part in parts {
        let c = part.shape().last().copied().unwrap_or(1);
        for (to, from) in y.make_mut().chunks_exact_mut(all).zip(part.as_slice().chunks_exact(c)) {
            to[at..at + c].copy_from_slice(from);
        }
        at += c;
    }
    Ok(y)
}

/// Columns from `at` of an array `[..., all]` as one of `shape` `[..., c]`.
pub(crate) fn split_columns(x: &Array, at: usize, shape: &[usize]) -> Result<Array> {
    on_device!(x, gpu => cuda::split_columns(gpu, x, at, shape));
    let (all, c) = (x.shape().last().copied().unwrap_or(1), shape.last().copied().unwrap_or(1));
    let mut y = Array::uninit(shape);
    for (to, from) in y.make_mut().chunks_exact_mut(c).zip(x.as_slice().chunks_exact(all)) {
        to.copy_from_slice(&from[at..at + c]);
    }
    Ok(y)
}

/// How slices are picked from the second axis: its length, how many are kept, each how many-th, values of a slice.
#[derive(Clone, Copy)]
pub(crate) struct Slices {
    pub all: usize,
    pub kept: usize,
    pub stride: usize,
    pub slice: usize,
}

impl Slices {
    /// The input's slice that is slice `i` of the output.
    fn source(&self, i: usize) -> usize {
        (i / self.kept.max(1)) * self.all + (i % self.kept.max(1)) * self.stride
    }

    #[cfg(feature = "cuda")]
    fn sizes(&self) -> [usize; 4] {
        [self.all, self.kept, self.stride, self.slice]
    }
}

pub(crate) fn take_slices(x: &Array, shape: &[usize], s: Slices) -> Result<Array> {
    on_device!(x, gpu => cuda::take_slices(gpu, x, shape, s.sizes()));
    let mut y = Array::uninit(shape);
    for (i, to) in y.make_mut().chunks_exact_mut(s.slice).enumerate() {
        to.copy_from_slice(&x.as_slice()[s.source(i) * s.slice..][..s.slice]);
    }
    Ok(y)
}

pub(crate) fn put_slices(dy: &Array, shape: &[usize], s: Slices) -> Result<Array> {
    on_device!(dy, gpu => cuda::put_slices(gpu, dy, shape, s.sizes()));
    let mut dx = Array::zeros(shape);
    let values = dx.make_mut();
    for (i, from) in dy.as_slice().chunks_exact(s.slice).enumerate() {
        values[s.source(i) * s.slice..][..s.slice].copy_from_slice(from);
    }
    Ok(dx)
}
