//! Operators for candle models: candle's tensors in and out, candle's autograd, this crate's kernels.
//!
//! The one decision: tensors have candle's shape `[n, c, h, w]`, their values lie channels last. Such a tensor is a view (`permute`) of storage
//! `[n, h, w, c]`; operators borrow it as it is and return the same form, so a chain of them never transposes. A tensor in candle's own order is
//! copied once, by the first operator. [`ops::channels_last`] applies candle's element-wise operators without leaving the form.
//!
//! Each operator of [`ops`] is a `CustomOp` of candle: gradients flow through it, several losses may run back over one forward pass, and it takes no
//! part in training by itself: what training and evaluation do differently, batch-norm's statistics, is an argument. [`Conv2d`],
//! [`BatchNorm`] and their builders have candle-nn's names and arguments and load its checkpoints.
//!
//! On the host tensors must be `f32`. On CUDA the operators run where the build has the feature `cuda`; other builds return an error.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use umt_nn::{ConvOptions, candle};
//! let x = Var::from_tensor(&Tensor::from_slice(&[3f32, 4.0], (1, 1, 1, 2), &Device::Cpu)?)?;
//! let w = Var::from_tensor(&Tensor::from_slice(&[2f32], (1, 1, 1, 1), &Device::Cpu)?)?;
//! let y = candle::ops::conv2d(x.as_tensor(), w.as_tensor(), None, ConvOptions::default())?;
//! assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [6.0, 8.0]);
//! let loss = y.sum_all()?;
//! for _ in 0..2 {
//!     let grads = loss.backward()?;
//!     assert_eq!(grads.get(&w).ok_or("no gradient")?.flatten_all()?.to_vec1::<f32>()?, [7.0]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod layers;
pub mod ops;

pub use layers::{BatchNorm, Conv2d, batch_norm, conv2d, conv2d_no_bias};
