//! Concatenation: the late fusion of the paper.

use crate::{Encoded, Fusion, Shapes, Weights};
use candle_core::Tensor;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `head([x_1, ..., x_M])`. With one modality this is the uni-modal network.
pub struct Concat;

impl Fusion for Concat {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        init::linear(params, "head", shapes.widths().values().sum(), shapes.classes, rng);
        Ok(())
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        weights.linear("head", &encoded.concatenated()?)
    }
}
