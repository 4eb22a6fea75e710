//! Sum: a classifier per modality.

use crate::{Encoded, Fusion, Shapes, Weights, fusion::no_modality};
use candle_core::Tensor;
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `sum_m head_m(x_m)`. The same functions as concatenation can express, but with a bias and an
/// initial scale of its own for each modality (Peng et al., OGM-GE, 2022).
pub struct Sum;

impl Fusion for Sum {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        for (modality, width) in shapes.widths() {
            init::linear(params, &format!("head.{modality}"), width, shapes.classes, rng);
        }
        Ok(())
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let mut logits: Option<Tensor> = None;
        for (modality, x) in &encoded.features {
            let own = weights.linear(&format!("head.{modality}"), x)?;
            logits = Some(match logits {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        logits.ok_or_else(no_modality)
    }

    fn alone(&self, weights: &Weights, encoded: &Encoded, modality: Modality) -> Result<Tensor, NnError> {
        self.forward(weights, &encoded.only(modality))
    }
}
