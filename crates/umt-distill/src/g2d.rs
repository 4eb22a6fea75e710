//! G2D (Rakib and Bagavathi, "G2D: Boosting Multimodal Learning with Gradient-Guided Distillation", ICCV 2025): UMT, the teachers'
//! logits as well, and an order in which the modalities learn.

use crate::logit_kd::{divergence, soften};
use crate::{Feature, Needs, Objective, Pass, Shape, Smp};
use serde::{Deserialize, Serialize};
use umt_fusion::Loss;
use umt_nn::{NnError, Params, within};
use umt_random::Rng;

/// `L_task + sum_m (w_f MSE(phi_m, phi_m^T) + w_l T^2 KL(p_m^T || p))` over uni-modal teachers, `p` being the multi-modal student's
/// distribution softened by T, and [`Smp`] on the gradients. Weights and T are 1 in the authors' code, whose student averages the logits of
/// one linear classifier per modality; here it has any fusion. Where each pixel has a class, features are the maps' global means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct G2d {
    /// w_f.
    pub feature_weight: f64,
    /// w_l.
    pub logit_weight: f64,
    /// T.
    pub temperature: f64,
    /// First epoch in which encoders are stopped, see [`Smp::start`].
    pub start: u64,
    /// The last such epoch; none: the first half of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

impl Default for G2d {
    fn default() -> Self {
        Self { feature_weight: 1.0, logit_weight: 1.0, temperature: 1.0, start: 0, end: None }
    }
}

impl G2d {
    fn order(&self) -> Smp {
        Smp { start: self.start, end: self.end }
    }
}

impl Objective for G2d {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        Feature::new(self.feature_weight).apply(pass, loss)?;
        let own = pass.outputs.tensor(&pass.outputs.logits)?;
        for (index, logits) in pass.targets.logits.iter().enumerate() {
            let teacher = soften(logits, &own, self.temperature)?.detach();
            let term = divergence(&teacher, &own, self.temperature)?;
            loss.record(format!("divergence.{index}"), &term);
            loss.value = (&loss.value + (term * self.logit_weight)?)?;
        }
        self.order().apply(pass, loss)
    }

    fn check(&self) -> Result<(), NnError> {
        for (key, weight) in [("feature-weight", self.feature_weight), ("logit-weight", self.logit_weight)] {
            within(key, weight, weight >= 0.0 && weight.is_finite(), "0 or more")?;
        }
        let fits = self.temperature > 0.0 && self.temperature.is_finite();
        within("temperature", self.temperature, fits, "above 0")?;
        self.order().check()
    }

    fn init(&self, _params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.several("g2d")
    }

    fn needs(&self) -> Needs {
        Needs { features: true, logits: true, alone: true }
    }
}
