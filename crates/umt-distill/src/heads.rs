//! A linear head on each encoder's features, for objectives that train modalities on their own as well.

use crate::scores::cross_entropy;
use crate::{PREFIX, Pass, Shape};
use candle_core::Tensor;
use std::collections::BTreeMap;
use umt_fusion::Weights;
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

fn name(modality: Modality) -> String {
    format!("{PREFIX}head.{modality}")
}

/// Adds one head per modality.
pub(crate) fn add(params: &mut Params, shape: &Shape, rng: &mut Rng) {
    for (&modality, &width) in &shape.widths {
        init::linear(params, &name(modality), width, shape.classes, rng);
    }
}

/// Logits of one modality's head on its features.
pub(crate) fn logits(weights: &Weights, modality: Modality, features: &Tensor) -> Result<Tensor, NnError> {
    weights.linear(&name(modality), features)
}

/// Cross-entropy of each modality's head.
pub(crate) fn losses(pass: &Pass<'_>) -> Result<BTreeMap<Modality, Tensor>, NnError> {
    let weights = pass.outputs.weights();
    let loss = |(m, x): (&Modality, &Tensor)| Ok((*m, cross_entropy(&logits(weights, *m, x)?, &pass.targets.labels)?));
    pass.outputs.features().iter().map(loss).collect()
}
