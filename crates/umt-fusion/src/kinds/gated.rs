//! Gated multi-modal unit (Arevalo et al., "Gated multimodal units for information fusion", 2017).

use crate::{Encoded, Fusion, Shapes, Weights, fusion::no_modality, weights::sigmoid};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `h = sum_m sigmoid(V_m [x_1, ..., x_M]) * tanh(W_m x_m); head(h)`, the form for any number of
/// modalities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gated {
    /// Length of the common space.
    pub width: usize,
}

impl Default for Gated {
    fn default() -> Self {
        Self { width: 512 }
    }
}

impl Fusion for Gated {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        let widths = shapes.widths();
        let all = widths.values().sum();
        for (modality, &width) in &widths {
            init::linear(params, &format!("project.{modality}"), width, self.width, rng);
            init::linear(params, &format!("gate.{modality}"), all, self.width, rng);
        }
        init::linear(params, "head", self.width, shapes.classes, rng);
        Ok(())
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let all = encoded.concatenated()?;
        let mut h: Option<Tensor> = None;
        for (modality, x) in &encoded.features {
            let gate = sigmoid(&weights.linear(&format!("gate.{modality}"), &all)?)?;
            let own = (gate * weights.linear(&format!("project.{modality}"), x)?.tanh()?)?;
            h = Some(match h {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        let h = h.ok_or_else(no_modality)?;
        weights.linear("head", &h)
    }
}
