//! Concatenation: the late fusion of the paper.

use crate::{Encoded, Fusion, Shapes, Weights, fusion::no_modality};
use candle_core::Tensor;
use umt_media::Modality;
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

    /// `W_m x_m + b / M`, as Peng et al. (OGM-GE, 2022) split it for two modalities.
    fn alone(&self, weights: &Weights, encoded: &Encoded, modality: Modality) -> Result<Tensor, NnError> {
        let features = &encoded.features;
        let x = features.get(&modality).ok_or_else(no_modality)?;
        let width = |(_, x): (&Modality, &Tensor)| x.dim(1);
        let start: usize = features.iter().take_while(|(m, _)| **m != modality).map(width).sum::<Result<_, _>>()?;
        let own = weights.get("head.weight")?.narrow(1, start, x.dim(1)?)?;
        let bias = (weights.get("head.bias")? / features.len() as f64)?;
        Ok(x.matmul(&own.t()?)?.broadcast_add(&bias)?)
    }
}
