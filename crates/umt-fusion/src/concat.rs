//! Concatenation: the late fusion of the paper.

use crate::{Fusion, Weights};
use candle_core::Tensor;
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `head([x_1, ..., x_M])`. With one modality this is the uni-modal network.
pub struct Concat;

impl Fusion for Concat {
    fn init(&self, params: &mut Params, widths: &BTreeMap<Modality, usize>, classes: usize, rng: &mut Rng) {
        init::linear(params, "head", widths.values().sum(), classes, rng);
    }

    fn forward(&self, weights: &Weights, features: &BTreeMap<Modality, Tensor>) -> Result<Tensor, NnError> {
        let columns: Vec<&Tensor> = features.values().collect();
        weights.linear("head", &Tensor::cat(&columns, 1)?)
    }
}
