//! On-the-fly prediction modulation (Wei, Hu, Du and Wen, "On-the-fly Modulation for Balanced Multimodal Learning", TPAMI 2024).

use crate::ogm;
use crate::scores::{Figures, ratios};
use crate::{Objective, Pass, Shape};
use serde::{Deserialize, Serialize};
use umt_fusion::{Kept, Loss};
use umt_nn::{NnError, Params, within};
use umt_random::Rng;

/// Leaves out the features of the modality that is ahead, the more often the further it is ahead.
///
/// With `rho_m` as in [`crate::Ogm`], a modality with `rho_m > 1` is left out of a sample with probability
/// `q_m = min(1, q (1 + lambda tanh(rho_m - 1)))`, others never; what stays of the batch is multiplied by `1 / (1 - theta)`, where `theta` is the mean of
/// `q_m` weighted by the features' lengths. A step does this with probability `p`, after the first `warmup` of the run (the authors'
/// code: six epochs of 100). With more than two modalities, where chance would leave out all of them, the last stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Opm {
    /// q, the probability where a modality is just ahead.
    pub q: f64,
    /// lambda, how much it grows with the distance.
    pub lambda: f64,
    /// p, the probability of a step to leave anything out.
    pub p: f64,
    /// Share of all steps before the first modulation.
    pub warmup: f64,
}

impl Default for Opm {
    fn default() -> Self {
        Self { q: 0.5, lambda: 0.5, p: 0.7, warmup: 0.06 }
    }
}

impl Opm {
    /// The probability of each modality to be left out.
    fn probabilities(&self, scores: &Figures) -> Figures {
        let probability = |ratio: f64| match ratio > 1.0 {
            true => (self.q * (1.0 + self.lambda * (ratio - 1.0).tanh())).clamp(0.0, 1.0),
            false => 0.0,
        };
        ratios(scores).into_iter().map(|(m, ratio)| (m, probability(ratio))).collect()
    }
}

impl Objective for Opm {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let scores = ogm::scores(pass)?;
        let left_out = self.probabilities(&scores);
        for (modality, q) in &left_out {
            loss.log.insert(format!("left-out.{modality}"), *q as f32);
        }
        let mut rng = umt_random::stream(pass.context.seed, "objective.opm", pass.context.step, 0);
        let warm = (pass.context.step as f64) < self.warmup * pass.context.total as f64;
        if !rng.bernoulli(self.p) || warm || left_out.values().all(|q| *q == 0.0) {
            return Ok(());
        }
        let width = |m| pass.outputs.features().get(m).and_then(|x| x.dim(1).ok()).unwrap_or(0) as f64;
        let all: f64 = left_out.keys().map(width).sum();
        let theta = left_out.iter().map(|(m, q)| width(m) * q).sum::<f64>() / all.max(1.0);
        let scale = (1.0 / (1.0 - theta).max(1e-3)) as f32;
        let samples = pass.outputs.samples()?;
        let mut kept = Kept::new();
        let mut any = vec![false; samples];
        for (place, (&modality, &q)) in left_out.iter().enumerate() {
            let last = place + 1 == left_out.len();
            let keep = |any: &mut bool| {
                let stays = !rng.bernoulli(q) || (last && !*any);
                *any |= stays;
                if stays { scale } else { 0.0 }
            };
            kept.insert(modality, any.iter_mut().map(keep).collect());
        }
        let logits = pass.outputs.given(&kept)?;
        pass.replace(logits)?;
        loss.value = pass.task.clone();
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("q", self.q, self.q > 0.0 && self.q <= 1.0, "above 0 and at most 1")?;
        within("lambda", self.lambda, self.lambda >= 0.0 && self.lambda.is_finite(), "0 or more")?;
        within("p", self.p, (0.0..=1.0).contains(&self.p), "between 0 and 1")?;
        within("warmup", self.warmup, (0.0..1.0).contains(&self.warmup), "at least 0 and below 1")
    }

    fn init(&self, _params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.several("opm")
    }
}
