//! On-the-fly gradient modulation (Peng, Wei, Deng, Wang and Hu, "Balanced Multimodal Learning via On-the-fly
//! Gradient Modulation", CVPR 2022).

use crate::scores::{Figures, modality_of, ratios};
use crate::{Objective, Pass, Shape};
use serde::{Deserialize, Serialize};
use umt_fusion::{Loss, StepResult};
use umt_nn::{Array, NnError, Params, within};
use umt_random::Rng;
use umt_train::StepContext;

/// Slows down the encoder whose modality is ahead.
///
/// Where each pixel has a class, `s_m` is the sum over the pixels with a label, and the part of a modality is what the decoder makes of
/// its maps alone: a further pass per modality.
///
/// With `s_m` the sum over the batch of the true class's probability under modality m's own part of the logits
/// ([`umt_fusion::Fusion::alone`]) and `rho_m = s_m / s_other`, the gradient of every convolution of encoder m is
/// multiplied by `1 - tanh(alpha * rho_m)` where `rho_m > 1` (the paper's equation 10), and stays otherwise. With more
/// than two modalities `rho_m` is taken over the mean of the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ogm {
    /// Strength.
    pub alpha: f64,
    /// First epoch with modulation, from 0.
    pub start: u64,
    /// Last epoch with modulation; none: the first half of the run, as the authors modulate 50 of 100 epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

impl Default for Ogm {
    fn default() -> Self {
        Self { alpha: 0.1, start: 0, end: None }
    }
}

impl Ogm {
    /// Whether modulation is on in a step's epoch.
    pub(crate) fn active(&self, context: &StepContext) -> bool {
        self.start <= context.epoch && within_window(self.end, context)
    }

    /// The factor of each encoder's gradients, logged beside the ratio it comes from.
    pub(crate) fn coefficients(&self, pass: &Pass<'_>, loss: &mut Loss) -> Result<Figures, NnError> {
        let scores = scores(pass)?;
        let mut all = Figures::new();
        for (modality, ratio) in ratios(&scores) {
            let coefficient = if ratio > 1.0 { 1.0 - (self.alpha * ratio).tanh() } else { 1.0 };
            // The ratio itself can be of any size; the share of the scores says the same between 0 and 1.
            let share = scores[&modality] / scores.values().sum::<f64>().max(1e-30);
            loss.log.insert(format!("score.{modality}"), share as f32);
            loss.log.insert(format!("coefficient.{modality}"), coefficient as f32);
            all.insert(modality, coefficient);
        }
        Ok(all)
    }

    pub(crate) fn check_settings(&self) -> Result<(), NnError> {
        within("alpha", self.alpha, self.alpha > 0.0 && self.alpha.is_finite(), "above 0")?;
        let end = self.end.unwrap_or(u64::MAX);
        within("end", end as f64, self.start <= end, "at or after `start`")
    }
}

/// The sum over the batch of the true class's probability under each modality's own part of the logits.
pub(crate) fn scores(pass: &Pass<'_>) -> Result<Figures, NnError> {
    let mut scores = Figures::new();
    for &modality in pass.outputs.features().keys() {
        let alone = pass.outputs.tensor(&pass.outputs.alone(modality)?)?;
        scores.insert(modality, pass.targets.labels.own_probability(&alone)?.into_iter().sum());
    }
    Ok(scores)
}

/// Whether a step lies before the end of a modulation: an epoch that is given, or half of the run.
pub(crate) fn within_window(end: Option<u64>, context: &StepContext) -> bool {
    match end {
        Some(end) => context.epoch <= end,
        None => 2 * context.step < context.total,
    }
}

/// The gradients of convolutions, with the factor of their encoder.
pub(crate) fn convolutions<'r>(
    result: &'r mut StepResult,
    coefficients: &Figures,
) -> impl Iterator<Item = (&'r String, &'r mut Array, f64)> {
    let own = |name: &str| modality_of(name).and_then(|m| coefficients.get(&m).copied());
    let convolution = move |(name, grad): (&'r String, &'r mut Array)| {
        own(name).filter(|_| grad.shape().len() == 4).map(|factor| (name, grad, factor))
    };
    result.grads.iter_mut().filter_map(convolution)
}

impl Objective for Ogm {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let coefficients = self.coefficients(pass, loss)?;
        if self.active(&pass.context) {
            loss.finish.push(Box::new(move |result, _| {
                for (_, grad, factor) in convolutions(result, &coefficients).filter(|(_, _, factor)| *factor != 1.0) {
                    grad.make_mut().iter_mut().for_each(|g| *g *= factor as f32);
                }
                Ok(())
            }));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        self.check_settings()
    }

    fn init(&self, _params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.several("ogm")
    }
}
