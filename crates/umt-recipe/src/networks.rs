//! From the settings of a recipe to the network of a stage.

use crate::recipe::{Recipe, Stage, Task};
use std::collections::BTreeMap;
use umt_encoders::EncoderConfig;
use umt_fusion::{DecoderConfig, FusionConfig, HeadConfig, NetworkConfig};
use umt_media::Modality;

/// The network of a stage.
pub fn network_config(recipe: &Recipe, modalities: &[Modality], stage: &Stage, classes: usize) -> NetworkConfig {
    let head = match (asked(recipe, modalities, stage), &stage.distill) {
        // An objective may bring its own classifier; the check of the recipe has refused those it cannot replace.
        (HeadConfig::Fusion(asked), Some(objective)) => {
            HeadConfig::Fusion(objective.build().fusion(&asked).unwrap_or(asked))
        }
        (head, _) => head,
    };
    NetworkConfig { encoders: encoders(recipe, modalities), head, classes }
}

/// What a stage asks to follow its encoders.
pub(crate) fn asked(recipe: &Recipe, modalities: &[Modality], stage: &Stage) -> HeadConfig {
    if recipe.data.config.dense.is_some() {
        let scaled = || DecoderConfig::scaled(&encoders(recipe, modalities));
        return recipe.decoder.clone().unwrap_or_else(scaled).into();
    }
    match &stage.task {
        Task::Fusion { fusion: Some(fusion), .. } => fusion.clone().into(),
        // One modality: its features and a linear classifier.
        _ => FusionConfig::Concat.into(),
    }
}

fn encoders(recipe: &Recipe, modalities: &[Modality]) -> BTreeMap<Modality, EncoderConfig> {
    modalities.iter().filter_map(|m| recipe.encoder.get(m).map(|e| (*m, e.clone()))).collect()
}
