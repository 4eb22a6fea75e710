//! Tensor fusion network (Zadeh et al., "Tensor fusion network for multimodal sentiment analysis",
//! EMNLP 2017).

use crate::{Encoded, Fusion, Shapes, Weights, attention::standardised, fusion::no_modality};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// Most values of the tensor of one sample.
const MOST: usize = 1 << 16;

/// `z = [1; e_1] x ... x [1; e_M]` (outer product), `e_m = relu(P_m n(x_m))`; `head(z)`. `n` brings
/// each feature to mean 0 and variance 1 over its values, as the batch-norm of the authors' sub-networks does over a batch.
///
/// The tensor holds each product of any of the modalities' values, single modalities and the constant
/// included: `(width + 1)^M` values. `P_m`, `project.<modality>`, brings each feature to `width`, so
/// that this stays small; more than 65,536 values are refused. With one modality the head sees
/// `[1; e_1]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TensorFusion {
    /// Length of each modality's vector in the product.
    pub width: usize,
}

impl Default for TensorFusion {
    fn default() -> Self {
        Self { width: 32 }
    }
}

impl Fusion for TensorFusion {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        let count = u32::try_from(shapes.stages.len()).unwrap_or(u32::MAX);
        let size = self.width.checked_add(1).and_then(|side| side.checked_pow(count));
        let Some(size) = size.filter(|&size| size <= MOST && self.width > 0) else {
            return Err(NnError::Unsupported(format!(
                "tensor fusion of {count} modalities at width {} makes ({} + 1)^{count} values: choose a width above 0 \
                 that makes at most {MOST}",
                self.width, self.width
            )));
        };
        for (modality, width) in shapes.widths() {
            // A linear layer's usual weights, as in the authors' code. The tensor's squared length begins near (1 + width / 6)^M, 40 for
            // two modalities of 32 values; weights that keep a ReLU's size (He et al. 2015) would make it 1,089, and the head's
            // stable learning rate as many times smaller.
            init::linear(params, &format!("project.{modality}"), width, self.width, rng);
        }
        init::linear(params, "head", size, shapes.classes, rng);
        Ok(())
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let mut z: Option<Tensor> = None;
        for (modality, x) in &encoded.features {
            let e = weights.linear(&format!("project.{modality}"), &standardised(x)?)?.relu()?;
            let n = e.dim(0)?;
            let one = Tensor::ones((n, 1), DType::F32, e.device())?;
            let e = Tensor::cat(&[&one, &e], 1)?;
            z = Some(match z {
                Some(z) => z.unsqueeze(2)?.broadcast_mul(&e.unsqueeze(1)?)?.reshape((n, ()))?,
                None => e,
            });
        }
        weights.linear("head", &z.ok_or_else(no_modality)?)
    }
}
