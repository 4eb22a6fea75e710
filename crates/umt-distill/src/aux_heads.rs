//! Auxiliary uni-modal heads: each encoder also has to classify alone.

use crate::{Objective, Pass, Shape, heads};
use serde::{Deserialize, Serialize};
use umt_fusion::Loss;
use umt_nn::{NnError, Params, within};
use umt_random::Rng;

/// `L_task + w * sum_m CE(h_m(phi_m), y)` with a linear head `h_m` per modality: the loss that gradient blending (Wang
/// et al., CVPR 2020) weighs and MMPareto (Wei and Hu, ICML 2024) calls the joint-loss baseline, there with `w = 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuxHeads {
    /// w.
    pub weight: f64,
}

impl Default for AuxHeads {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

impl Objective for AuxHeads {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        loss.record("task", &pass.task);
        for (modality, own) in heads::losses(pass)? {
            loss.record(format!("head.{modality}"), &own);
            loss.value = (&loss.value + (own * self.weight)?)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("weight", self.weight, self.weight >= 0.0 && self.weight.is_finite(), "0 or more")
    }

    fn init(&self, params: &mut Params, shape: &Shape, rng: &mut Rng) -> Result<(), NnError> {
        heads::add(params, shape, rng);
        Ok(())
    }
}
