//! MMCosine (Xu, Feng, Zhang and Hu, "MMCosine: Multi-Modal Cosine Loss Towards Balanced Audio-Visual Fine-Grained
//! Learning", ICASSP 2023).

use crate::{Objective, Pass, Shape};
use serde::{Deserialize, Serialize};
use umt_fusion::{Cosine, FusionConfig, Loss};
use umt_nn::{NnError, Params, within};
use umt_random::Rng;

/// Cross-entropy of `s * sum_m cos(W_m, phi_m)`: neither a modality's features nor its weights can win by their length.
/// The method is its classifier ([`umt_fusion::Cosine`]), which takes the place of concatenation or sum in training
/// and afterwards; the loss is the task's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MmCosine {
    /// s.
    pub scale: f64,
}

impl Default for MmCosine {
    fn default() -> Self {
        Self { scale: 10.0 }
    }
}

impl Objective for MmCosine {
    fn apply(&self, _pass: &mut Pass<'_>, _loss: &mut Loss) -> Result<(), NnError> {
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("scale", self.scale, self.scale > 0.0 && self.scale.is_finite(), "above 0")
    }

    fn init(&self, _params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.samples("mmcosine", "it is a classifier of features, in the place of a decoder")
    }

    fn fusion(&self, asked: &FusionConfig) -> Result<FusionConfig, NnError> {
        match asked {
            FusionConfig::Concat | FusionConfig::Sum | FusionConfig::Cosine(_) => {
                Ok(FusionConfig::Cosine(Cosine { scale: self.scale }))
            }
            _ => Err(NnError::Unsupported(
                "`mmcosine` is a classifier of its own: it takes the place of `concat` or `sum`".into(),
            )),
        }
    }
}
