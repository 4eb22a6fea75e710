//! Sequential modality prioritisation of G2D (Rakib and Bagavathi, "G2D: Boosting Multimodal Learning with Gradient-Guided
//! Distillation", ICCV 2025).

use crate::ogm::{convolutions, within_window};
use crate::scores::Figures;
use crate::{Needs, Objective, Pass, Shape};
use serde::{Deserialize, Serialize};
use umt_fusion::Loss;
use umt_nn::{NnError, Params, within};
use umt_random::Rng;

/// Trains the encoder whose teacher is the least sure, and stops the others.
///
/// With `s_m` the sum over the batch of the true class's probability under modality m's frozen teacher, the gradients of every convolution
/// of each encoder but that of the least `s_m` are multiplied by 0, step by step, in the first half of the run (the authors' code: epochs 0
/// to 150 of 300). Batch-norms go on, and momentum and weight decay still move a stopped encoder, as there. For more than two modalities
/// the code says nothing: here the one that is behind is trained.
///
/// By itself it is the task with a gate: for UMT, `combined` of `feature` and `smp`. With distillation of features and logits it is [`crate::G2d`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Smp {
    /// First epoch with the gate, from 0.
    pub start: u64,
    /// Last epoch with it; none: the first half of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

impl Objective for Smp {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let mut scores = Figures::new();
        for (&modality, logits) in &pass.targets.alone {
            scores.insert(modality, pass.targets.labels.own_probability(logits)?.into_iter().sum());
        }
        let total = scores.values().sum::<f64>().max(1e-30);
        let behind = scores.values().copied().fold(f64::INFINITY, f64::min);
        let mut factors = Figures::new();
        for (modality, score) in scores {
            let factor = if score > behind { 0.0 } else { 1.0 };
            loss.log.insert(format!("teacher.{modality}"), (score / total) as f32);
            loss.log.insert(format!("coefficient.{modality}"), factor as f32);
            factors.insert(modality, factor);
        }
        if self.start <= pass.context.epoch && within_window(self.end, &pass.context) {
            loss.finish.push(Box::new(move |result, _| {
                for (_, grad, _) in convolutions(result, &factors).filter(|(_, _, factor)| *factor == 0.0) {
                    grad.make_mut().fill(0.0);
                }
                Ok(())
            }));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        let end = self.end.unwrap_or(u64::MAX);
        within("end", end as f64, self.start <= end, "at or after `start`")
    }

    fn init(&self, _params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.several("smp")
    }

    fn needs(&self) -> Needs {
        Needs { alone: true, ..Needs::default() }
    }
}
