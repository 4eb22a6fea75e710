//! The list of encoders.

use crate::{Block, Encoder, R2Plus1d, R2Plus1dConfig, ResNet, ResNetConfig, Stem};
use serde::{Deserialize, Serialize};
use umt_nn::{NnError, layers::ParamBuilder};

/// An encoder by name, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EncoderConfig {
    /// ResNet-20: basic blocks 3, 3, 3 in three stages, for small images (He et al. 2015, section 4.2; with a
    /// projection where the shape changes).
    Resnet20(ResNetConfig),
    /// ResNet-18: basic blocks 2, 2, 2, 2.
    Resnet18(ResNetConfig),
    /// ResNet-34: basic blocks 3, 4, 6, 3.
    Resnet34(ResNetConfig),
    /// ResNet-50: bottleneck blocks 3, 4, 6, 3.
    Resnet50(ResNetConfig),
    /// R(2+1)D-18: space and time convolved in turn.
    R2plus1d18(R2Plus1dConfig),
}

impl EncoderConfig {
    /// One of each, small enough for a test.
    pub fn examples() -> Vec<(&'static str, Self)> {
        let small = ResNetConfig { channels: 2, width: 4, ..ResNetConfig::default() };
        vec![
            ("resnet20", Self::Resnet20(ResNetConfig { stem: Stem::Same, ..small })),
            ("resnet18", Self::Resnet18(small)),
            ("resnet34", Self::Resnet34(small)),
            ("resnet18-1d", Self::Resnet18(ResNetConfig { block: Block::NonBottleneck1d, ..small })),
            ("resnet50", Self::Resnet50(small)),
            ("r2plus1d18", Self::R2plus1d18(R2Plus1dConfig { channels: 2, width: 4 })),
        ]
    }

    /// The encoder with fresh parameters, added by `pb`.
    ///
    /// # Errors
    /// Settings without a meaning.
    pub fn build(&self, pb: ParamBuilder<'_>) -> Result<Box<dyn Encoder>, NnError> {
        Ok(match *self {
            Self::R2plus1d18(config) => Box::new(R2Plus1d::new(config, pb)?),
            Self::Resnet20(config) | Self::Resnet18(config) | Self::Resnet34(config) | Self::Resnet50(config) => {
                Box::new(ResNet::new(self.residual(config)?, self.depths(), config, pb)?)
            }
        })
    }

    /// Channels of the map after each stage, the stem's first; see [`Encoder::stages`].
    ///
    /// # Errors
    /// Settings without a meaning.
    pub fn stages(&self) -> Result<Vec<usize>, NnError> {
        match *self {
            Self::R2plus1d18(config) => config.stages(),
            Self::Resnet20(config) | Self::Resnet18(config) | Self::Resnet34(config) | Self::Resnet50(config) => {
                config.stages(self.residual(config)?, self.depths())
            }
        }
    }

    /// Blocks of each stage.
    fn depths(&self) -> &'static [usize] {
        match self {
            Self::Resnet20(_) => &[3, 3, 3],
            Self::Resnet18(_) | Self::R2plus1d18(_) => &[2, 2, 2, 2],
            Self::Resnet34(_) | Self::Resnet50(_) => &[3, 4, 6, 3],
        }
    }

    /// The residual block that a ResNet is made of.
    fn residual(&self, config: ResNetConfig) -> Result<Block, NnError> {
        match (self, config.block) {
            (Self::Resnet50(_), Block::Basic) => Ok(Block::Bottleneck),
            (Self::Resnet50(_), _) => {
                Err(NnError::setting("block", "resnet50 is made of bottleneck blocks: leave `block` out"))
            }
            (_, Block::Bottleneck) => Err(NnError::setting("block", "bottleneck blocks make a resnet50")),
            (_, block) => Ok(block),
        }
    }

    /// Its name in a recipe.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Resnet18(_) => "resnet18",
            Self::Resnet20(_) => "resnet20",
            Self::Resnet34(_) => "resnet34",
            Self::Resnet50(_) => "resnet50",
            Self::R2plus1d18(_) => "r2plus1d18",
        }
    }

    /// The residual block, where there is a choice.
    pub fn block(&self) -> Option<Block> {
        match self {
            Self::Resnet20(c) | Self::Resnet18(c) | Self::Resnet34(c) => Some(c.block),
            Self::Resnet50(_) | Self::R2plus1d18(_) => None,
        }
    }

    /// Channels of the input.
    pub fn channels(&self) -> usize {
        match self {
            Self::Resnet20(c) | Self::Resnet18(c) | Self::Resnet34(c) | Self::Resnet50(c) => c.channels,
            Self::R2plus1d18(c) => c.channels,
        }
    }
}
