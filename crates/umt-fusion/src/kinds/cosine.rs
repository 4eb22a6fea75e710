//! Cosine classifier (Xu et al., "MMCosine", ICASSP 2023).

use crate::{Encoded, Fusion, Shapes, Weights, fusion::no_modality};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `s * sum_m cos(W_m, x_m)`: a classifier per modality without a bias, in which neither the length of the features
/// nor that of the weights counts. A modality whose features are all zero adds nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cosine {
    /// s.
    pub scale: f64,
}

impl Default for Cosine {
    fn default() -> Self {
        Self { scale: 10.0 }
    }
}

impl Fusion for Cosine {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        for (modality, width) in shapes.widths() {
            init::linear(params, &format!("head.{modality}"), width, shapes.classes, rng);
        }
        params.retain(|name| !(name.starts_with("head.") && name.ends_with(".bias")));
        Ok(())
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let mut sum: Option<Tensor> = None;
        for (modality, x) in &encoded.features {
            let weight = weights.get(&format!("head.{modality}.weight"))?;
            let cosine = unit(x)?.matmul(&unit(weight)?.t()?)?;
            sum = Some(match sum {
                Some(sum) => (sum + cosine)?,
                None => cosine,
            });
        }
        Ok((sum.ok_or_else(no_modality)? * self.scale)?)
    }

    fn alone(&self, weights: &Weights, encoded: &Encoded, modality: Modality) -> Result<Tensor, NnError> {
        self.forward(weights, &encoded.only(modality))
    }
}

/// Rows of length 1. The small number keeps the derivative of the root finite in a row of zeros.
fn unit(x: &Tensor) -> Result<Tensor, NnError> {
    let length = (x.sqr()?.sum_keepdim(D::Minus1)? + 1e-12)?.sqrt()?;
    Ok(x.broadcast_div(&length)?)
}
