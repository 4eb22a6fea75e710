//! A linear head on each encoder's features, or on each place of its last map, for objectives that train modalities on their own as well.

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

/// Logits of one modality's head on its features `[n, width]` or its map `[n, h, w, width]`.
pub(crate) fn logits(weights: &Weights, modality: Modality, features: &Tensor) -> Result<Tensor, NnError> {
    weights.linear(&name(modality), features)
}

/// Cross-entropy of each modality's head.
pub(crate) fn losses(pass: &Pass<'_>) -> Result<BTreeMap<Modality, Tensor>, NnError> {
    let (outputs, labels) = (&pass.outputs, &pass.targets.labels);
    let loss = |&m: &Modality| {
        let logits = logits(outputs.weights(), m, &outputs.classified(m)?)?;
        Ok((m, labels.cross_entropy(&logits)?))
    };
    outputs.features().keys().map(loss).collect()
}
