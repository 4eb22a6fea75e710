//! Calibrated confidence (Ma, Zhang, Zhang, Wu, Fu, Zhou and Hu, "Calibrating Multimodal Learning", ICML 2023).

use crate::{Objective, Pass, Shape};
use candle_core::{D, Tensor};
use candle_nn::ops::softmax;
use serde::{Deserialize, Serialize};
use umt_fusion::{Kept, Loss};
use umt_media::Modality;
use umt_nn::{NnError, Params, within};
use umt_random::Rng;

/// Confidence must not grow where a modality is left out.
///
/// `L_task + w * sum_m mean_i max(0, c_i(all but m) - c_i(all))`, where `c_i` is the highest probability of sample i (or of a pixel, with a label or
/// without) and the features of what is left out are zero. Each modality is left out once per step; BalanceBenchmark's form leaves out one after
/// another in an order that is drawn for each epoch, takes the maximum with 0 of the whole batch's sum, trains on the reduced inputs as well, and has a weight
/// of 0 in its configuration. The default of 1 is of this project: the authors' own weight for networks of this kind was not found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cml {
    /// w.
    pub weight: f64,
}

impl Default for Cml {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

impl Objective for Cml {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let (outputs, samples) = (&pass.outputs, pass.outputs.samples()?);
        let confidence = |logits: &Tensor| softmax(logits, D::Minus1)?.max(D::Minus1);
        let whole = confidence(&outputs.tensor(&outputs.logits)?)?;
        loss.record("task", &pass.task);
        let all: Vec<Modality> = outputs.features().keys().copied().collect();
        for &left_out in &all {
            let share = |m| vec![f32::from(u8::from(m != left_out)); samples];
            let kept: Kept = all.iter().map(|&m| (m, share(m))).collect();
            let less = confidence(&outputs.tensor(&outputs.given(&kept)?)?)?;
            let excess = (less - &whole)?.relu()?.mean_all()?;
            loss.record(format!("excess.{left_out}"), &excess);
            loss.value = (&loss.value + (excess * self.weight)?)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("weight", self.weight, self.weight >= 0.0 && self.weight.is_finite(), "0 or more")
    }

    fn init(&self, _params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.several("cml")
    }
}
