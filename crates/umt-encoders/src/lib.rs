//! One modality in, one feature vector per sample out: the ResNet family.
//!
//! The one decision: an encoder is a small table of integers over shared blocks, and its parameter
//! names are torchvision's (`conv1`, `layer1.0.downsample.0`), so that published weights load
//! without a translation table. Encoders hold no weights: they read them from [`umt_nn::Params`]
//! under a prefix, so a network of several encoders has one sorted set of parameters.
//!
//! ```
//! use umt_encoders::{EncoderConfig, ResNetConfig};
//! use umt_nn::{Array, Params, Tape};
//! let config = EncoderConfig::Resnet18(ResNetConfig { channels: 1, width: 8, ..Default::default() });
//! let encoder = config.build()?;
//! let mut params = Params::default();
//! encoder.init(&mut params, "encoder.audio.", &mut umt_random::stream(1, "init", 0, 0));
//! let mut tape = Tape::eval();
//! let spectrogram = tape.input(Array::zeros(&[2, 64, 48, 1]));
//! let features = encoder.forward(&mut tape, &params, "encoder.audio.", &spectrogram)?;
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

use umt_nn::{NnError, Params, Tape, Var};
use umt_random::Rng;

/// Maps a batch of one modality to features, in stages.
///
/// Input is `[n, h, w, c]`, or `[n, t, h, w, c]` for pictures in a row. Each stage gives a map with
/// as many axes as the input; the feature `[n, width]` is the global mean of the last map. Stage 0
/// is the stem up to its ReLU, stage `k` ends with torchvision's `layer<k>`. `prefix` ends with a dot
/// or is empty.
pub trait Encoder: Send + Sync {
    /// Adds freshly drawn parameters under `prefix`.
    fn init(&self, params: &mut Params, prefix: &str, rng: &mut Rng);

    /// Channels of the map behind each stage, the stem's first.
    fn stages(&self) -> Vec<usize>;

    /// Stage `index`: the first takes the input, each other one the map of the stage before, which
    /// the caller may have changed in between.
    fn stage(&self, index: usize, tape: &mut Tape, params: &Params, prefix: &str, x: Var) -> Result<Var, NnError>;

    /// The feature from the last map.
    fn pool(&self, tape: &mut Tape, map: &Var) -> Result<Var, NnError> {
        tape.mean_inner(map)
    }

    /// Features of a batch: all stages, then the mean.
    fn forward(&self, tape: &mut Tape, params: &Params, prefix: &str, input: &Var) -> Result<Var, NnError> {
        let mut x = input.clone();
        for index in 0..self.stages().len() {
            x = self.stage(index, tape, params, prefix, x)?;
        }
        self.pool(tape, &x)
    }

    /// Length of a feature vector.
    fn width(&self) -> usize {
        self.stages().last().copied().unwrap_or(0)
    }
}
