//! Everything that decides a decoder's shape, and which encoders it takes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_media::Modality;
use umt_nn::NnError;

/// Where the sum of both modalities goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fused {
    /// On through the RGB encoder, and to the decoder, as published: from the first fusion on the RGB encoder's maps hold depth.
    #[default]
    Rgb,
    /// To the decoder alone: both encoders stay uni-modal.
    Decoder,
}

/// Fusion between the stages, context and decoder. The defaults are ESANet's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct DecoderConfig {
    /// Where the fused maps go.
    pub fused: Fused,
    /// Channels of the three decoder modules, the coarsest first.
    pub widths: [usize; 3],
    /// Non-bottleneck-1D blocks in each module.
    pub blocks: usize,
    /// Sides of the maps that the context module pools to; none leaves the pooling out.
    pub bins: Vec<usize>,
    /// Squeeze-and-excitation at the five fusion points of a network with one modality; with two it is always there.
    pub squeeze_excite: bool,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { fused: Fused::Rgb, widths: [512, 256, 128], blocks: 3, bins: vec![1, 5], squeeze_excite: false }
    }
}

impl DecoderConfig {
    /// ESANet's sizes for encoders of another width: the decoder shrinks with them.
    pub fn scaled(encoders: &BTreeMap<Modality, EncoderConfig>) -> Self {
        let width = encoders.values().filter_map(resnet).map(|config| config.width).max().unwrap_or(64);
        Self { widths: [8 * width, 4 * width, 2 * width], ..Self::default() }
    }

    /// Whether there are gates at fusion point `index` of a network of so many encoders: with uni-modal encoders nothing
    /// reads the stem's sum.
    pub(crate) fn fuses(&self, index: usize, encoders: usize) -> bool {
        match encoders {
            1 => self.squeeze_excite,
            _ => index > 0 || self.fused == Fused::Rgb,
        }
    }

    /// The channels of the encoders' maps at each fusion point.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] for what cannot be built, with what would do.
    pub(crate) fn stages(
        &self,
        encoders: &BTreeMap<Modality, EncoderConfig>,
        classes: usize,
    ) -> Result<Vec<usize>, NnError> {
        let refuse = |reason: String| Err(NnError::Unsupported(format!("segmentation network: {reason}")));
        if classes == 0 || classes > 255 {
            return refuse(format!("{classes} classes; 1 to 255 are possible"));
        }
        if self.widths.contains(&0) || self.bins.contains(&0) {
            return refuse("`widths` and `bins` must be above 0".into());
        }
        let mut stages: Option<Vec<usize>> = None;
        for (&modality, config) in encoders {
            if !matches!(modality, Modality::Rgb | Modality::Depth) {
                return refuse(format!("no encoder for {modality}; rgb and depth are possible"));
            }
            if resnet(config).is_none_or(|config| config.stem != Stem::Large) {
                return refuse(format!(
                    "the encoder for {modality} must be a resnet18, resnet34 or resnet50 with stem \"7x7\""
                ));
            }
            let own = config.stages()?;
            match &stages {
                Some(first) if *first != own => {
                    return refuse(format!("maps of both encoders must be as wide, not {first:?} and {own:?}"));
                }
                _ => stages = Some(own),
            }
        }
        stages.ok_or_else(|| {
            NnError::Unsupported("segmentation network: it needs an encoder for rgb, depth or both".into())
        })
    }
}

/// The settings of an encoder with a stem and four stages.
fn resnet(config: &EncoderConfig) -> Option<&ResNetConfig> {
    match config {
        EncoderConfig::Resnet18(config) | EncoderConfig::Resnet34(config) | EncoderConfig::Resnet50(config) => {
            Some(config)
        }
        EncoderConfig::Resnet20(_) | EncoderConfig::R2plus1d18(_) => None,
    }
}
