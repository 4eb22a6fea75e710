//! Encoders, fusion and head: the network.
//!
//! The one decision: encoders run on `umt_nn`'s tape, everything behind or between them runs in
//! candle's autograd. A fusion is therefore a few lines of candle over small matrices, be it over
//! features, over tokens of the last map or over the means of the maps between two stages, and the
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
//!     head: FusionConfig::default().into(),
//!     classes: 10,
//! };
//! let network = Network::new(&config, 1)?;
//! let inputs = BTreeMap::from([(Modality::Audio, Array::zeros(&[2, 32, 32, 1]))]);
//! assert_eq!(network.logits(&inputs)?.shape(), [2, 10]);
//! # Ok::<(), umt_nn::NnError>(())
//! ```

mod attention;
mod config;
pub mod decoder;
mod encode;
mod fusion;
mod kinds;
mod missing;
mod load;
mod maps;
mod network;
mod step;
mod weights;

pub use config::{HeadConfig, NetworkConfig};
pub use decoder::{DecoderConfig, Fused};
pub use fusion::{Encoded, Fusion, Shapes};
pub use kinds::*;
pub use missing::{Standing, token};
pub use network::Network;
pub use step::{Finish, Kept, Logits, Loss, Outputs, StepResult, read_figures};
pub use weights::Weights;
