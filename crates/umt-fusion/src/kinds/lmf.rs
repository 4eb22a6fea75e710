//! Low-rank multi-modal fusion (Liu et al., "Efficient low-rank multimodal fusion with
//! modality-specific factors", ACL 2018).

use crate::{Encoded, Fusion, Shapes, Weights, attention::standardised, fusion::no_modality};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `h = 1 / sqrt(R) * sum_r prod_m W_m^r [n(x_m); 1]`, products element by element; `head(relu(h))`. `n` brings each feature to mean 0
/// and variance 1 over its values: products of features as they come grow with the square of their scale, too large for a rate that suits
/// concatenation. (The authors' code has batch-norm there, which would tie a sample to its batch, and a learned sum over ranks.)
///
/// What the tensor of all products of features (see [`crate::TensorFusion`]) times a weight tensor of
/// rank `rank` gives, without either: `rank * width * (d_m + 1)` values per modality in place of a
/// product over modalities. `W_m^r [x_m; 1]` are `rank` linear layers with bias, held as one,
/// `factor.<modality>`. With one modality `h` is a sum of linear layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lmf {
    /// Rank of the weight tensor.
    pub rank: usize,
    /// Length of `h`.
    pub width: usize,
}

impl Default for Lmf {
    fn default() -> Self {
        Self { rank: 4, width: 128 }
    }
}

impl Fusion for Lmf {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        if self.rank == 0 || self.width == 0 {
            return Err(NnError::Unsupported("lmf needs rank and width above 0".into()));
        }
        for (modality, width) in shapes.widths() {
            // Of variance 1 for features of variance 1, the constant's half like the feature's: so is the product, whatever
            // the number of modalities, and the sum over ranks.
            let (name, length) = (format!("factor.{modality}"), self.rank * self.width);
            let bound = (1.5 / width.max(1) as f32).sqrt();
            init::uniform(params, &format!("{name}.weight"), &[length, width], bound, rng);
            init::uniform(params, &format!("{name}.bias"), &[length], 1.5f32.sqrt(), rng);
        }
        init::linear(params, "head", self.width, shapes.classes, rng);
        Ok(())
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let mut product: Option<Tensor> = None;
        for (modality, x) in &encoded.features {
            let factor = weights.linear(&format!("factor.{modality}"), &standardised(x)?)?;
            product = Some(match product {
                Some(product) => (product * factor)?,
                None => factor,
            });
        }
        let product = product.ok_or_else(no_modality)?.reshape(((), self.rank, self.width))?;
        let sum = (product.sum(1)? / (self.rank as f64).sqrt())?;
        weights.linear("head", &sum.relu()?)
    }
}
