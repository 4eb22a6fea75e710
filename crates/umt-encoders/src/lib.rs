//! One modality in, one feature vector per sample out: the ResNet family.
//!
//! The one decision: an encoder is a small table of integers over shared blocks, and its parameter
//! names are torchvision's (`conv1`, `layer1.0.downsample.0`), so that published weights load
//! without a translation table. Encoders hold no weights: their layers read them from [`umt_nn::Params`],
//! so a network of several encoders has one sorted set of parameters.
//!
//! ```
//! use umt_encoders::{EncoderConfig, ResNetConfig};
//! use umt_nn::{Array, Params, Tape, layers::ParamBuilder};
//! let config = EncoderConfig::Resnet18(ResNetConfig { channels: 1, width: 8, ..Default::default() });
//! let (mut params, mut rng) = (Params::default(), umt_random::stream(1, "init", 0, 0));
//! let encoder = config.build(ParamBuilder::new(&mut params, &mut rng).pp("encoder").pp("audio"))?;
//! let mut tape = Tape::eval();
//! let spectrogram = tape.input(Array::zeros(&[2, 64, 48, 1]));
//! let features = encoder.forward(&mut tape, &params, &spectrogram)?;
//! assert_eq!(features.shape(), [2, 64]);
//! # Ok::<(), umt_nn::NnError>(())
//! ```

mod block;
mod config;
pub mod pretrained;
mod r2plus1d;
mod resnet;

pub use block::{Block, Residual};
pub use config::EncoderConfig;
pub use r2plus1d::{R2Plus1d, R2Plus1dConfig};
pub use resnet::{ResNet, ResNetConfig, Stem};

use umt_nn::{NnError, Params, Tape, Value};

/// Maps a batch of one modality to features, in stages.
///
/// Input is `[n, h, w, c]`, or `[n, t, h, w, c]` for a sequence of images. Each stage outputs a map with
/// as many axes as the input; the feature `[n, width]` is the global mean of the last map. Stage 0
/// is the stem up to its ReLU, stage `k` ends with torchvision's `layer<k>`.
pub trait Encoder: Send + Sync {
    /// Channels of the map after each stage, the stem's first.
    fn stages(&self) -> &[usize];

    /// Stage `index`: the first takes the input, each other one the map of the stage before, which
    /// the caller may have changed in between.
    ///
    /// # Errors
    /// An unknown stage; shapes that do not fit; when a device fails.
    fn stage(&self, index: usize, tape: &mut Tape, params: &Params, x: Value) -> Result<Value, NnError>;

    /// The feature from the last map.
    ///
    /// # Errors
    /// When a device fails.
    fn pool(&self, tape: &mut Tape, map: &Value) -> Result<Value, NnError> {
        tape.mean_inner(map)
    }

    /// Features of a batch: all stages, then the mean.
    ///
    /// # Errors
    /// Shapes that do not fit; when a device fails.
    fn forward(&self, tape: &mut Tape, params: &Params, input: &Value) -> Result<Value, NnError> {
        let mut x = input.clone();
        for index in 0..self.stages().len() {
            x = self.stage(index, tape, params, x)?;
        }
        self.pool(tape, &x)
    }

    /// Length of a feature vector.
    fn width(&self) -> usize {
        self.stages().last().copied().unwrap_or(0)
    }
}
