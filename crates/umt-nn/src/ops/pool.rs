//! Pooling: maximum over windows, mean over whole axes.

use super::nhwc;
use crate::{
    Array, NnError, Tape, Var,
    kernels::{self, PoolShape},
};

/// Window of a pooling operator, square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Side of the window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Padding on each side; padded places never win.
    pub pad: usize,
}

impl Tape {
    /// Maximum over windows of `x` `[n, h, w, c]`.
    pub fn max_pool(&mut self, x: &Var, options: PoolOptions) -> Result<Var, NnError> {
        let [n, h, w, c] = nhwc("max-pool", x)?;
        let PoolOptions { kernel, stride, pad } = options;
        let shape = PoolShape { n, h, w, c, window: [kernel; 2], stride: [stride; 2], pad: [pad; 2] };
        shape.check()?;
        let mut y = Array::unspecified(&[n, shape.out_h(), shape.out_w(), c]);
        let mut argmax = self.is_training().then(|| vec![0u32; y.len()]);
        kernels::max_pool(&shape, x.value.as_slice(), y.make_mut(), argmax.as_deref_mut());
        let (node, input_shape) = (x.node, x.shape().to_vec());
        Ok(self.push(y, move |dy, sink| {
            let mut dx = Array::unspecified(&input_shape);
            let argmax = argmax.as_deref().unwrap_or_default();
            kernels::max_pool_backward(&shape, argmax, dy.as_slice(), dx.make_mut());
            sink.add_to(node, dx);
            Ok(())
        }))
    }

    /// Mean over all axes between the first and the last: `[n, ..., c]` to `[n, c]`.
    pub fn mean_inner(&mut self, x: &Var) -> Result<Var, NnError> {
        let (Some(&n), Some(&c)) = (x.shape().first(), x.shape().last()) else {
            return Err(NnError::shape("mean", "[n, ..., c]", x.shape()));
        };
        let rows: usize = x.shape()[1..x.shape().len() - 1].iter().product();
        let mut y = Array::unspecified(&[n, c]);
        kernels::mean_rows(n, rows, c, x.value.as_slice(), y.make_mut());
        let (node, input_shape) = (x.node, x.shape().to_vec());
        Ok(self.push(y, move |dy, sink| {
            sink.add_mean(node, &input_shape, &dy);
            Ok(())
        }))
    }

    /// The same values under another shape.
    pub fn reshape(&mut self, x: &Var, shape: &[usize]) -> Result<Var, NnError> {
        let y = x.value.reshape(shape)?;
        let (node, input_shape) = (x.node, x.shape().to_vec());
        if node.is_none() {
            return Ok(Var { value: y, node });
        }
        Ok(self.push(y, move |dy, sink| {
            sink.add_to(node, dy.reshape(&input_shape)?);
            Ok(())
        }))
    }

    /// Every `stride`-th slice along the second axis, from the first.
    pub fn stride_axis1(&mut self, x: &Var, stride: usize) -> Result<Var, NnError> {
        let &[n, t, ref rest @ ..] = x.shape() else {
            return Err(NnError::shape("stride", "[n, t, ...]", x.shape()));
        };
        let (slice, stride) = (rest.iter().product::<usize>().max(1), stride.max(1));
        let kept = t.div_ceil(stride);
        let shape: Vec<usize> = [n, kept].iter().chain(rest).copied().collect();
        // Slice `i` of the output is slice `source(i)` of the input.
        let source = move |i: usize| (i / kept.max(1)) * t + (i % kept.max(1)) * stride;
        let mut y = Array::unspecified(&shape);
        for (i, to) in y.make_mut().chunks_exact_mut(slice).enumerate() {
            to.copy_from_slice(&x.value.as_slice()[source(i) * slice..][..slice]);
        }
        let (node, input_shape) = (x.node, x.shape().to_vec());
        Ok(self.push(y, move |dy, sink| {
            let mut dx = Array::zeros(&input_shape);
            let values = dx.make_mut();
            for (i, from) in dy.as_slice().chunks_exact(slice).enumerate() {
                values[source(i) * slice..][..slice].copy_from_slice(from);
            }
            sink.add_to(node, dx);
            Ok(())
        }))
    }
}
