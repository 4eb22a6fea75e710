//! Everything that decides a network.

use crate::{DecoderConfig, FusionConfig, Shapes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_encoders::EncoderConfig;
use umt_media::Modality;
use umt_nn::{NnError, Params};

/// Everything that decides a network's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// One encoder per modality.
    pub encoders: BTreeMap<Modality, EncoderConfig>,
    /// How what they encode becomes logits.
    pub head: HeadConfig,
    /// Number of classes.
    pub classes: usize,
}

/// How what the encoders yield becomes logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadConfig {
    /// Features joined by a fusion: one class per sample.
    Fusion(FusionConfig),
    /// Feature maps joined by a decoder: one class per pixel.
    Decoder(DecoderConfig),
}

impl From<FusionConfig> for HeadConfig {
    fn from(config: FusionConfig) -> Self {
        Self::Fusion(config)
    }
}

impl From<DecoderConfig> for HeadConfig {
    fn from(config: DecoderConfig) -> Self {
        Self::Decoder(config)
    }
}

impl NetworkConfig {
    /// Refuses settings of encoders and head that have no meaning, or none together; makes no encoder's weights.
    ///
    /// # Errors
    /// What cannot be built, with the reason.
    pub fn check(&self) -> Result<(), NnError> {
        let fusion = match &self.head {
            HeadConfig::Decoder(decoder) => return decoder.stages(&self.encoders, self.classes).map(drop),
            HeadConfig::Fusion(fusion) => fusion.build(),
        };
        let mut shapes = Shapes { stages: BTreeMap::new(), classes: self.classes };
        for (&modality, encoder) in &self.encoders {
            shapes.stages.insert(modality, encoder.stages()?);
        }
        fusion.init(&shapes, &mut Params::default(), &mut umt_random::stream(0, "check", 0, 0))
    }

    /// What the names of an encoder's parameters begin with: those of a network with a decoder are the published ones.
    pub(crate) fn prefix(&self, modality: Modality) -> String {
        match &self.head {
            HeadConfig::Fusion(_) => format!("encoder.{modality}."),
            HeadConfig::Decoder(_) if self.encoders.len() == 1 => "encoder.".into(),
            HeadConfig::Decoder(_) => format!("encoder_{modality}."),
        }
    }
}
