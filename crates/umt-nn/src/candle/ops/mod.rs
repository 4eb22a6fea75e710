//! The operators as functions of tensors.

mod conv;
mod host;
mod norm;
mod pool;
#[cfg(feature = "cuda")]
mod tape;

pub use conv::conv2d;
pub use norm::{Running, batch_norm};
pub use pool::{avg_pool2d, max_pool2d, resize2d};

use crate::NnError;
use candle_core::{DType, Device, Tensor};

/// Checks what is given, and returns the device's answer where it is not on the host.
macro_rules! elsewhere {
    ($tensors:expr, $call:expr) => {
        let _host = $crate::candle::ops::on_host($tensors)?;
        #[cfg(feature = "cuda")]
        if !_host {
            return $crate::candle::ops::shown(&$call?);
        }
    };
}
use elsewhere;

/// `f` on the channels-last view `[n, h, w, c]` of `x` `[n, c, h, w]`, its result seen as `[n, c, h, w]` again: candle's element-wise
/// operators read and write contiguous memory then.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[[[-1f32, 2.0]]]], &Device::Cpu)?;
/// let y = umt_nn::candle::ops::channels_last(&x, |x| x.relu())?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [0.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A tensor that has no four axes; what `f` returns.
pub fn channels_last(x: &Tensor, f: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>) -> Result<Tensor, NnError> {
    shown(&f(&nhwc(x)?)?)
}

/// `relu(x + y)` of two tensors `[n, c, h, w]`, channels last throughout: the end of a residual block.
///
/// # Errors
/// Shapes that differ.
pub fn add_relu(x: &Tensor, y: &Tensor) -> Result<Tensor, NnError> {
    let y = nhwc(y)?;
    channels_last(x, |x| (x + y)?.relu())
}

/// The contiguous `[n, h, w, c]` of a tensor `[n, c, h, w]`: a view where it lies channels last.
fn nhwc(x: &Tensor) -> Result<Tensor, NnError> {
    if x.rank() != 4 {
        return Err(NnError::shape("operator", "[n, c, h, w]", x.dims()));
    }
    Ok(x.permute((0, 2, 3, 1))?.contiguous()?)
}

/// `[n, h, w, c]` seen as `[n, c, h, w]`.
fn shown(x: &Tensor) -> Result<Tensor, NnError> {
    Ok(x.permute((0, 3, 1, 2))?)
}

/// Whether the operators run on the host for these tensors; an error where they cannot run at all.
fn on_host(tensors: &[&Tensor]) -> Result<bool, NnError> {
    if let Some(other) = tensors.iter().find(|tensor| tensor.dtype() != DType::F32) {
        let dtype = other.dtype().as_str();
        return Err(NnError::Unsupported(format!("a tensor of {dtype}: operators take f32, see Tensor::to_dtype")));
    }
    match tensors.first().map(|tensor| tensor.device()) {
        None | Some(Device::Cpu) => Ok(true),
        #[cfg(feature = "cuda")]
        Some(Device::Cuda(_)) => Ok(false),
        Some(other) => Err(NnError::Device(format!(
            "a tensor on {:?}: this build of umt-nn has no operators there; CUDA needs its feature `cuda`",
            other.location()
        ))),
    }
}
