//! One head for all modalities (Zhang et al., "Multimodal Representation Learning by Alternating Unimodal Adaptation",
//! CVPR 2024).

use crate::{Encoded, Fusion, Shapes, Weights, attention::softmax, fusion::no_modality};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `sum_m w_m head(x_m)`, the same linear head for each modality; features of all modalities have the same length.
///
/// By entropy, `w_m` is the softmax over modalities of `-H(softmax(head(x_m)))`, sample by sample: who is sure counts
/// more. It works on any subset of the modalities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SharedHead {
    /// How the modalities' logits become one.
    pub weighting: Weighting,
}

/// How the logits of several modalities become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// The less uncertain a modality, the more it counts.
    #[default]
    Entropy,
    /// All count the same.
    Mean,
}

impl Fusion for SharedHead {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        let widths = shapes.widths();
        let (first, &width) = widths.first_key_value().ok_or_else(no_modality)?;
        if let Some((other, length)) = widths.iter().find(|(_, length)| **length != width) {
            let reason = format!("features of {first} have {width} values and of {other} {length}");
            return Err(NnError::Unsupported(format!(
                "one head for all modalities needs features of one length: {reason}"
            )));
        }
        init::linear(params, "head", width, shapes.classes, rng);
        Ok(())
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let each: Vec<Tensor> =
            encoded.features.values().map(|x| weights.linear("head", x)).collect::<Result<_, NnError>>()?;
        if each.is_empty() {
            return Err(no_modality());
        }
        // [modalities, n, classes]
        let all = Tensor::stack(&each, 0)?;
        match self.weighting {
            Weighting::Mean => Ok(all.mean(0)?),
            Weighting::Entropy => {
                let p = softmax(&all)?;
                // p ln p is 0 where p is: the floor only keeps its logarithm finite.
                let certainty = (&p * p.maximum(f32::MIN_POSITIVE)?.log()?)?.sum(D::Minus1)?;
                // [n, modalities], and back.
                let shares = softmax(&certainty.t()?)?.t()?.unsqueeze(2)?;
                Ok(all.broadcast_mul(&shares)?.sum(0)?)
            }
        }
    }

    /// The head on the modality's own features.
    fn alone(&self, weights: &Weights, encoded: &Encoded, modality: Modality) -> Result<Tensor, NnError> {
        self.forward(weights, &encoded.only(modality))
    }
}
