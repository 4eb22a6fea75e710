//! What candle lacks for training convolutional networks: kernels with a backward pass, a short
//! tape over them, parameters with a fixed order, optimisers whose state can be saved, schedules.
//!
//! The one decision: encoders run on a tape of their own over coarse operators (convolution,
//! batch-norm + ReLU + add, pooling), in channels-last layout and pooled, aligned buffers. candle's
//! own backward zero-fills and adds a fresh tensor for each operand, and its custom operators take
//! three tensors at most; on activations that costs more passes over memory than the arithmetic.
//! Heads, fusions and objectives work on small feature matrices and stay plain candle.
//!
//! Models that are written in candle use the same kernels through [`candle`]: operators of candle's autograd, and layers with candle-nn's names.
//!
//! ```
//! use umt_nn::{Array, ConvOptions, Param, Params, Tape, layers::Conv2d};
//! let mut params = Params::default();
//! params.insert("conv.weight", Param::conv(Array::from_slice(&[1, 1, 1, 1], &[2.0])?));
//! let conv = Conv2d::new("conv.weight".into(), None, ConvOptions::default());
//! let mut tape = Tape::train();
//! let x = tape.leaf(Array::from_slice(&[1, 1, 2, 1], &[3.0, 4.0])?);
//! let y = conv.forward(&mut tape, &params, &x)?;
//! assert_eq!(y.array().as_slice(), [6.0, 8.0]);
//! let back = tape.backward(vec![(y, Array::from_slice(&[1, 1, 2, 1], &[1.0, 1.0])?)])?;
//! assert_eq!(back.params["conv.weight"].as_slice(), [7.0]);
//! assert_eq!(back.leaf(&x).map(Array::as_slice), Some(&[2.0, 2.0][..]));
//! # Ok::<(), umt_nn::NnError>(())
//! ```

mod array;
mod buffer;
pub mod candle;
pub mod compute;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
pub mod init;
#[cfg(any(test, feature = "cuda"))]
mod kept;
pub mod kernels;
pub mod layers;
mod ops;
pub mod optim;
mod params;
mod device;
pub mod schedule;
mod stop;
mod tape;
pub mod timing;

pub use array::Array;
pub use device::{Device, DeviceCounts, Precision, Span};
pub use error::{NnError, within};
pub use ops::{BatchNormOptions, ConvOptions, PoolOptions};
pub use params::{Grads, Key, Layout, Param, Params, Role, Tensors, batch_counters};
pub use stop::Stop;
pub use tape::{Backward, Tape, Value};
