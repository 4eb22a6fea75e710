//! Pooling: maximum over windows, mean over whole axes.

use super::nhwc;
use crate::compute::{self, Slices};
use crate::{NnError, Tape, Value, kernels::PoolShape};

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
    pub fn max_pool(&mut self, x: &Value, options: PoolOptions) -> Result<Value, NnError> {
        let [n, h, w, c] = nhwc("max-pool", x)?;
        let PoolOptions { kernel, stride, pad } = options;
        let shape = PoolShape { n, h, w, c, window: [kernel; 2], stride: [stride; 2], pad: [pad; 2] };
        shape.check()?;
        let (y, places) = compute::max_pool(&shape, &x.value, self.is_training())?;
        let node = x.node.clone();
        Ok(self.push(y, move |dy, sink| sink.add(&node, compute::max_pool_backward(&shape, places.as_ref(), &dy)?)))
    }

    /// Mean over all axes between the first and the last: `[n, ..., c]` to `[n, c]`.
    pub fn mean_inner(&mut self, x: &Value) -> Result<Value, NnError> {
        let (Some(&n), Some(&c)) = (x.shape().first(), x.shape().last()) else {
            return Err(NnError::shape("mean", "[n, ..., c]", x.shape()));
        };
        let rows: usize = x.shape()[1..x.shape().len() - 1].iter().product();
        let y = compute::mean_rows(n, rows, c, &x.value)?;
        let (node, input_shape) = (x.node.clone(), x.shape().to_vec());
        Ok(self.push(y, move |dy, sink| sink.add_mean(&node, &input_shape, &dy)))
    }

    /// The same values under another shape.
    pub fn reshape(&mut self, x: &Value, shape: &[usize]) -> Result<Value, NnError> {
        let y = x.value.reshape(shape)?;
        let (node, input_shape) = (x.node.clone(), x.shape().to_vec());
        if !node.wants_grad() {
            return Ok(Value::constant(y));
        }
        Ok(self.push(y, move |dy, sink| sink.add(&node, dy.reshape(&input_shape)?)))
    }

    /// Every `stride`-th slice along the second axis, from the first.
    pub fn stride_axis1(&mut self, x: &Value, stride: usize) -> Result<Value, NnError> {
        let &[n, t, ref rest @ ..] = x.shape() else {
            return Err(NnError::shape("stride", "[n, t, ...]", x.shape()));
        };
        let (slice, stride) = (rest.iter().product::<usize>().max(1), stride.max(1));
        let kept = t.div_ceil(stride);
        let shape: Vec<usize> = [n, kept].iter().chain(rest).copied().collect();
        let slices = Slices { all: t, kept, stride, slice };
        let y = compute::take_slices(&x.value, &shape, slices)?;
        let (node, input_shape) = (x.node.clone(), x.shape().to_vec());
        Ok(self.push(y, move |dy, sink| sink.add(&node, compute::put_slices(&dy, &input_shape, slices)?)))
    }
}
