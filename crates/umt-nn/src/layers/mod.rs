//! Layers with parameters: structs that are built once and hold the names of their parameters.
//!
//! A layer is built by a free function from a [`ParamBuilder`], as in `candle-nn` from a `VarBuilder`: the builder adds fresh parameters to a
//! [`Params`] under its path. `forward` takes the tape, the parameters and the input.
//!
//! ```
//! use umt_nn::layers::{ParamBuilder, conv2d_no_bias};
//! use umt_nn::{Array, ConvOptions, Params, Tape};
//! let (mut params, mut rng) = (Params::default(), umt_random::stream(1, "init", 0, 0));
//! let mut pb = ParamBuilder::new(&mut params, &mut rng);
//! let conv = conv2d_no_bias(1, 8, [3, 3], ConvOptions::square(2, 1), pb.pp("stem").pp("conv1"));
//! assert_eq!(params.value("stem.conv1.weight")?.shape(), [3, 3, 1, 8]);
//! let mut tape = Tape::eval();
//! let x = tape.input(Array::zeros(&[2, 32, 32, 1]));
//! assert_eq!(conv.forward(&mut tape, &params, &x)?.shape(), [2, 16, 16, 8]);
//! # Ok::<(), umt_nn::NnError>(())
//! ```

mod builder;
mod conv;
mod conv_norm;
mod norm;
mod upsample;

pub use builder::ParamBuilder;
pub use conv::{Conv2d, conv2d, conv2d_no_bias};
pub use conv_norm::ConvNorm;
pub(crate) use conv_norm::Folds;
pub use norm::{BatchNorm2d, batch_norm};
pub use upsample::{Upsample, upsample};
