//! Adaptive gradient modulation (Li, Li, Hu, Xu, Wang and Zhuang, "Boosting Multi-modal Model Performance with
//! Adaptive Gradient Modulation", ICCV 2023).

use crate::ogm::within_window;
use crate::scores::Figures;
use crate::{Objective, PREFIX, Pass, Shape};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_fusion::{Loss, Outputs};
use umt_media::Modality;
use umt_nn::{Array, NnError, Param, Params, within};
use umt_random::Rng;

/// Scales the gradient that reaches the encoders through each modality's share of the logits.
///
/// The share of modality m is its Shapley value over the subsets of modalities, the others' features being zero:
/// `phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (f(S + m) - f(S))`, where `f` of no modality counts as 0 as
/// in the authors' code, so that the shares add up to the logits. With `s_m` the mean over the batch of
/// `-ln softmax(phi_m)[y]` (probabilities below 1e-8 count as 1e-8) and `s'_m` its mean over all steps before,
/// `r_m = exp(mean of the others' s - s_m)` and `tau_m = exp(mean of the others' s' - s'_m)`, the gradient through `phi_m`
/// is multiplied by `exp(alpha * min(tau_m - r_m, 10))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Agm {
    /// Strength.
    pub alpha: f64,
    /// First epoch with modulation, from 0; the means are kept from the first step on.
    pub start: u64,
    /// Last epoch with modulation; none: the first half of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

impl Default for Agm {
    fn default() -> Self {
        Self { alpha: 1.0, start: 0, end: None }
    }
}

impl Objective for Agm {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let shares = shares(&pass.outputs)?;
        let mut scores = Figures::new();
        for (&modality, share) in &shares {
            let own = pass.targets.labels.own_probability(share)?;
            let sum: f64 = own.iter().map(|p| -p.max(1e-8).ln()).sum();
            scores.insert(modality, sum / own.len().max(1) as f64);
        }
        let kept = pass.outputs.buffer(&memory())?.as_slice().to_vec();
        let means: Figures = scores.keys().copied().zip(kept.iter().map(|x| f64::from(*x))).collect();
        let (now, usual) = (advantages(&scores), advantages(&means));

        let active = self.start <= pass.context.epoch && within_window(self.end, &pass.context);
        let mut logits: Option<Tensor> = None;
        for (modality, share) in &shares {
            let factor = (self.alpha * (usual[modality] - now[modality]).min(10.0)).exp();
            loss.log.insert(format!("coefficient.{modality}"), factor as f32);
            loss.log.insert(format!("score.{modality}"), scores[modality] as f32);
            let part = scale_gradient(share, factor)?;
            logits = Some(match logits {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        if let Some(logits) = logits.filter(|_| active) {
            loss.value = pass.task_of(&logits)?;
        }
        // The mean over all steps, this one included.
        let count = pass.context.step as f64 + 1.0;
        let next: Vec<f32> = scores.iter().map(|(m, score)| (means[m] + (score - means[m]) / count) as f32).collect();
        loss.buffers.push((memory(), Array::from_slice(&[next.len()], &next)?));
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("alpha", self.alpha, self.alpha > 0.0 && self.alpha <= 8.0, "above 0 and at most 8")?;
        let end = self.end.unwrap_or(u64::MAX);
        within("end", end as f64, self.start <= end, "at or after `start`")
    }

    fn init(&self, params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        params.insert(memory(), Param::buffer(Array::zeros(&[shape.widths.len()])));
        shape.several("agm")
    }
}

/// Mean score of each modality so far, in their order.
fn memory() -> String {
    format!("{PREFIX}agm.scores")
}

/// The value of `x`, and its gradient times `factor`.
fn scale_gradient(x: &Tensor, factor: f64) -> Result<Tensor, NnError> {
    Ok(((x * factor)? + (x.detach() * (1.0 - factor))?)?)
}

/// `exp(mean of the others' - own)`: above 1 where the loss is lower than the others'.
fn advantages(scores: &Figures) -> Figures {
    let sum: f64 = scores.values().sum();
    let others = (scores.len().max(2) - 1) as f64;
    scores.iter().map(|(m, own)| (*m, ((sum - own) / others - own).exp())).collect()
}

/// Shapley values of the modalities for the logits.
fn shares(outputs: &Outputs<'_>) -> Result<BTreeMap<Modality, Tensor>, NnError> {
    let all: Vec<Modality> = outputs.features().keys().copied().collect();
    let count = all.len();
    let holds = |set: usize, i: usize| set >> i & 1 == 1;
    let (whole, samples) = (outputs.tensor(&outputs.logits)?, outputs.samples()?);
    // Logits of each subset, numbered by its bits; those of none are zero.
    let mut of = vec![whole.zeros_like()?];
    for set in 1..1 << count {
        let kept = |(i, m): (usize, &Modality)| (*m, vec![f32::from(u8::from(holds(set, i))); samples]);
        of.push(match set + 1 == 1 << count {
            true => whole.clone(),
            false => outputs.tensor(&outputs.given(&all.iter().enumerate().map(kept).collect())?)?,
        });
    }
    let factorial = |n: usize| (1..=n).product::<usize>() as f64;
    let mut shares = BTreeMap::new();
    for (i, &modality) in all.iter().enumerate() {
        let mut share = whole.zeros_like()?;
        for set in (0..1 << count).filter(|set| !holds(*set, i)) {
            let size = set.count_ones() as usize;
            let weight = factorial(size) * factorial(count - size - 1) / factorial(count);
            share = (share + ((&of[set | 1 << i] - &of[set])? * weight)?)?;
        }
        shares.insert(modality, share);
    }
    Ok(shares)
}
