//! Multi-modal transfer module (Vaezi Joze et al., "MMTM: multimodal transfer module for CNN
//! fusion", CVPR 2020).

use crate::fusion::concatenate;
use crate::{Encoded, Fusion, Shapes, Weights, weights::sigmoid};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// Behind each chosen stage, with `s_m` the global mean of modality m's map over time and space:
/// `z = relu(W [s_1, ..., s_M])`, `gate_m = 2 sigmoid(E_m z)`, and the map of m is multiplied by
/// `gate_m`, one factor per sample and channel. Then the head of concatenation over the gated means
/// of the last maps.
///
/// Maps of different sizes (a spectrogram's and a clip's) meet in their means, so they need not agree
/// in anything. `z` has a length of `sum of channels / ratio`, as in the paper (the authors' code has twice that); the ReLU is in the
/// authors' code, and the factor 2, which begins near the identity, is in the paper and not in that code. With gates from what the other modality shows, an encoder is no longer uni-modal
/// behind the first chosen stage: its feature, and a probe of it, know something of the others. With
/// one modality this is a squeeze-excite network and a linear head. Parameters:
/// `mmtm.<stage>.squeeze`, `mmtm.<stage>.excite.<modality>`, `head`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mmtm {
    /// Encoder stages: 0 the stem, 1 to 4 the stages of a ResNet. Middle and late ones, as published.
    pub stages: BTreeSet<usize>,
    /// How many times shorter `z` is than all means together.
    pub ratio: usize,
}

impl Default for Mmtm {
    fn default() -> Self {
        Self { stages: BTreeSet::from([2, 3, 4]), ratio: 4 }
    }
}

impl Fusion for Mmtm {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        if self.ratio == 0 {
            return Err(NnError::Unsupported("mmtm needs a ratio above 0".into()));
        }
        for &stage in &self.stages {
            let channels = shapes.at(stage)?;
            let all: usize = channels.values().sum();
            let squeezed = (all / self.ratio).max(1);
            init::linear(params, &format!("mmtm.{stage}.squeeze"), all, squeezed, rng);
            for (modality, channels) in channels {
                init::linear(params, &format!("mmtm.{stage}.excite.{modality}"), squeezed, channels, rng);
            }
        }
        init::linear(params, "head", shapes.widths().values().sum(), shapes.classes, rng);
        Ok(())
    }

    fn stages(&self) -> BTreeSet<usize> {
        self.stages.clone()
    }

    fn gates(
        &self,
        weights: &Weights,
        stage: usize,
        means: &BTreeMap<Modality, Tensor>,
    ) -> Result<BTreeMap<Modality, Tensor>, NnError> {
        let z = weights.linear(&format!("mmtm.{stage}.squeeze"), &concatenate(means)?)?.relu()?;
        let gate = |modality: &Modality| {
            let excitation = weights.linear(&format!("mmtm.{stage}.excite.{modality}"), &z)?;
            Ok((*modality, (sigmoid(&excitation)? * 2.0)?))
        };
        means.keys().map(gate).collect()
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        weights.linear("head", &concatenate(&encoded.outputs)?)
    }
}
