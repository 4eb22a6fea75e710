//! Encoders, fusion and head: the network.
//!
//! The one decision: encoders run on `umt_nn`'s tape, everything behind their features runs in
//! candle's autograd. A fusion is therefore a few lines of candle over small matrices, and the
//! objective sees features and logits as candle tensors; [`Network::train_step`] carries the
//! gradient across.
//!
//! ```
//! use std::collections::BTreeMap;
//! use umt_encoders::{EncoderConfig, ResNetConfig};
//! use umt_fusion::{FusionConfig, Network, NetworkConfig};
//! use umt_media::Modality;
//! use umt_nn::Array;
//! let encoder = EncoderConfig::Resnet18(ResNetConfig { channels: 1, width: 4, ..Default::default() });
//! let config = NetworkConfig {
//!     encoders: BTreeMap::from([(Modality::Audio, encoder)]),
//!     fusion: FusionConfig::default(),
//!     classes: 10,
//! };
//! let network = Network::new(&config, 1)?;
//! let inputs = BTreeMap::from([(Modality::Audio, Array::zeros(&[2, 32, 32, 1]))]);
//! assert_eq!(network.logits(&inputs)?.shape(), [2, 10]);
//! # Ok::<(), umt_nn::NnError>(())
//! ```

mod concat;
mod film;
mod gated;
mod network;
mod sum;
mod weights;

pub use concat::Concat;
pub use film::Film;
pub use gated::Gated;
pub use network::{Loss, Network, NetworkConfig, Outputs, StepResult};
pub use sum::Sum;
pub use weights::Weights;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{NnError, Params};
use umt_random::Rng;

/// From the features of each modality to logits; the classifier is part of it.
///
/// Works for any number of modalities, one included, always in the order of [`Modality`].
pub trait Fusion: Send + Sync {
    /// Adds freshly drawn parameters; `widths` are the encoders' feature lengths.
    fn init(&self, params: &mut Params, widths: &BTreeMap<Modality, usize>, classes: usize, rng: &mut Rng);

    /// Logits `[n, classes]` from features `[n, width]` by modality.
    fn forward(&self, weights: &Weights, features: &BTreeMap<Modality, Tensor>) -> Result<Tensor, NnError>;
}

/// A fusion by name, with its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FusionConfig {
    /// Features side by side, one linear classifier.
    #[default]
    Concat,
    /// One linear classifier per modality, logits added.
    Sum,
    /// One modality's features scaled and shifted by the others.
    Film,
    /// A learnt gate per modality and feature.
    Gated {
        /// Length of the common space.
        #[serde(default = "default_gated_width")]
        width: usize,
    },
}

fn default_gated_width() -> usize {
    512
}

impl FusionConfig {
    /// One of each, for tests that go over all fusions.
    pub fn examples() -> Vec<(&'static str, Self)> {
        vec![("concat", Self::Concat), ("sum", Self::Sum), ("film", Self::Film), ("gated", Self::Gated { width: 8 })]
    }

    /// The fusion itself.
    pub fn build(&self) -> Box<dyn Fusion> {
        match *self {
            Self::Concat => Box::new(Concat),
            Self::Sum => Box::new(Sum),
            Self::Film => Box::new(Film),
            Self::Gated { width } => Box::new(Gated { width }),
        }
    }
}
