//! Gated multi-modal unit (Arevalo et al., "Gated multimodal units for information fusion", 2017).

use crate::{Fusion, Weights};
use candle_core::Tensor;
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `h = sum_m sigmoid(V_m [x_1, ..., x_M]) * tanh(W_m x_m); head(h)`, the form for any number of
/// modalities.
pub struct Gated {
    /// Length of the common space.
    pub width: usize,
}

impl Fusion for Gated {
    fn init(&self, params: &mut Params, widths: &BTreeMap<Modality, usize>, classes: usize, rng: &mut Rng) {
        let all = widths.values().sum();
        for (modality, &width) in widths {
            init::linear(params, &format!("project.{modality}"), width, self.width, rng);
            init::linear(params, &format!("gate.{modality}"), all, self.width, rng);
        }
        init::linear(params, "head", self.width, classes, rng);
    }

    fn forward(&self, weights: &Weights, features: &BTreeMap<Modality, Tensor>) -> Result<Tensor, NnError> {
        let columns: Vec<&Tensor> = features.values().collect();
        let all = Tensor::cat(&columns, 1)?;
        let mut h: Option<Tensor> = None;
        for (modality, x) in features {
            let gate = weights.linear(&format!("gate.{modality}"), &all)?;
            // sigmoid(v) = (1 + tanh(v / 2)) / 2, which cannot overflow.
            let gate = (((gate * 0.5)?.tanh()? + 1.0)? * 0.5)?;
            let own = (gate * weights.linear(&format!("project.{modality}"), x)?.tanh()?)?;
            h = Some(match h {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        let h = h.ok_or_else(|| NnError::Setting("a fusion needs at least one modality".into()))?;
        weights.linear("head", &h)
    }
}
