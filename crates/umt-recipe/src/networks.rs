//! From the settings of a recipe to the network of a stage.

use crate::recipe::{Recipe, Stage, Task};
use umt_fusion::segmenter::DecoderConfig;
use umt_fusion::{FusionConfig, NetworkConfig, SegmenterConfig};
use umt_media::Modality;

/// The network of a stage.
pub fn network_config(recipe: &Recipe, modalities: &[Modality], stage: &Stage, classes: usize) -> NetworkConfig {
    let asked = match &stage.task {
        Task::Fusion { fusion, .. } => fusion.clone(),
        // One modality: its features and a linear classifier.
        _ => FusionConfig::Concat,
    };
    // An objective may bring its own classifier; the check of the recipe has refused those it cannot replace.
    let own = stage.distill.as_ref().and_then(|objective| objective.build().fusion(&asked).ok());
    let fusion = own.unwrap_or(asked);
    let encoders = modalities.iter().filter_map(|m| recipe.encoder.get(m).map(|e| (*m, e.clone()))).collect();
    NetworkConfig { encoders, fusion, classes }
}

/// The decoder of a stage's network.
pub fn decoder(recipe: &Recipe, modalities: &[Modality]) -> DecoderConfig {
    let encoders = modalities.iter().filter_map(|m| recipe.encoder.get(m).map(|e| (*m, e.clone()))).collect();
    recipe.decoder.clone().unwrap_or_else(|| SegmenterConfig::scaled(encoders, 1).decoder)
}

/// The network of a stage.
pub fn segmenter_config(recipe: &Recipe, modalities: &[Modality], classes: usize) -> SegmenterConfig {
    let encoders = modalities.iter().filter_map(|m| recipe.encoder.get(m).map(|e| (*m, e.clone()))).collect();
    SegmenterConfig { encoders, decoder: decoder(recipe, modalities), classes }
}
