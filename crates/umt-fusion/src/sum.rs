//! Sum: a classifier per modality.

use crate::{Fusion, Weights};
use candle_core::Tensor;
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `sum_m head_m(x_m)`. The same functions as concatenation can express, but with a bias and an
/// initial scale of its own for each modality (Peng et al., OGM-GE, 2022).
pub struct Sum;

impl Fusion for Sum {
    fn init(&self, params: &mut Params, widths: &BTreeMap<Modality, usize>, classes: usize, rng: &mut Rng) {
        for (modality, &width) in widths {
            init::linear(params, &format!("head.{modality}"), width, classes, rng);
        }
    }

    fn forward(&self, weights: &Weights, features: &BTreeMap<Modality, Tensor>) -> Result<Tensor, NnError> {
        let mut logits: Option<Tensor> = None;
        for (modality, x) in features {
            let own = weights.linear(&format!("head.{modality}"), x)?;
            logits = Some(match logits {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        logits.ok_or_else(|| NnError::Setting("a fusion needs at least one modality".into()))
    }
}
