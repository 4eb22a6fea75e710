//! Alternating uni-modal adaptation (Zhang, Yoon, Bansal and Yao, "Multimodal Representation Learning by Alternating
//! Unimodal Adaptation", CVPR 2024).

use crate::{Objective, PREFIX, Pass, Shape};
use serde::{Deserialize, Serialize};
use umt_fusion::{FusionConfig, Loss, SharedHead, Weighting};
use umt_media::Modality;
use umt_nn::{Array, NnError, Param, Params, within};
use umt_random::Rng;
use umt_train::StepContext;

/// One modality per step, in turn, through one head for all of them ([`umt_fusion::SharedHead`]); the other encoders rest.
///
/// So that a step does not undo what the head learnt from the modality before, its weight's gradient `G` becomes `G P`.
/// P begins as the identity and takes in, before each step but the first, the mean feature `h` of the step before:
/// `P <- P - P h (P h)^T / (a + h^T P h)`, recursive least squares.
///
/// This is the paper's formula. The authors' code differs: it lets a fall from 0.1 to 0.01 over each epoch and divides P
/// by its Frobenius norm after each step; it takes in the features of the batch whose gradient it projects, where this takes in
/// those of the step before; both modalities see one and the same batch; the weights at test time are one scalar per batch. Its test for
/// the parameter to project, `module.weight`, does not hold for its head, so that nothing is projected there.
///
/// Only one encoder runs per step: a step costs as much less, and an epoch trains each encoder on one batch in M. For
/// as many updates of each as other methods make, give it M times the epochs. The features of all modalities must have
/// the same length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mla {
    /// a, how far the head may still turn along features it has seen.
    pub alpha: f64,
    /// How the modalities' logits become one at test time.
    pub weighting: Weighting,
}

impl Default for Mla {
    fn default() -> Self {
        Self { alpha: 0.1, weighting: Weighting::default() }
    }
}

impl Objective for Mla {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let features: Vec<_> = pass.outputs.features().values().collect();
        let [features] = features[..] else {
            return Err(NnError::Unsupported("`mla` trains one modality per step".into()));
        };
        let mut projection = pass.outputs.buffer(&buffer("projection"))?.clone();
        if pass.context.step > 0 {
            take_in(&mut projection, pass.outputs.buffer(&buffer("previous"))?, self.alpha);
        }
        loss.buffers.push((buffer("previous"), Array::from_tensor(&features.mean(0)?)?));
        loss.buffers.push((buffer("projection"), projection.clone()));
        loss.finish.push(Box::new(move |result, _| {
            if let Some(grad) = result.grads.get_mut("head.weight") {
                let grad_tensor = grad.to_tensor()?;
                let product = grad_tensor.matmul(&projection.to_tensor()?.to_device(grad_tensor.device())?)?;
                *grad = Array::from_tensor(&product)?;
            }
            Ok(())
        }));
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("alpha", self.alpha, self.alpha > 0.0 && self.alpha.is_finite(), "above 0")
    }

    fn init(&self, params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.samples("mla", "its one head classifies the features of one modality at a time")?;
        shape.several("mla")?;
        let width = shape.widths.values().next().copied().unwrap_or(0);
        if shape.widths.values().any(|other| *other != width) {
            let reason = "`mla` shares one head, so the features of all modalities must have the same length";
            return Err(NnError::Unsupported(reason.into()));
        }
        let mut identity = Array::zeros(&[width, width]);
        identity.make_mut().iter_mut().step_by(width + 1).for_each(|x| *x = 1.0);
        params.insert(buffer("projection"), Param::buffer(identity));
        params.insert(buffer("previous"), Param::buffer(Array::zeros(&[width])));
        Ok(())
    }

    fn fusion(&self, asked: &FusionConfig) -> Result<FusionConfig, NnError> {
        match asked {
            FusionConfig::Concat | FusionConfig::Sum | FusionConfig::SharedHead(_) => {
                Ok(FusionConfig::SharedHead(SharedHead { weighting: self.weighting }))
            }
            _ => {
                Err(NnError::Unsupported("`mla` has a head of its own: it takes the place of `concat` or `sum`".into()))
            }
        }
    }

    fn encoders(&self, all: &[Modality], context: &StepContext) -> Vec<Modality> {
        all.get((context.step % all.len().max(1) as u64) as usize).copied().into_iter().collect()
    }
}

fn buffer(name: &str) -> String {
    format!("{PREFIX}mla.{name}")
}

/// `P - P h (P h)^T / (alpha + h^T P h)`, in f64. P is symmetric.
fn take_in(projection: &mut Array, feature: &Array, alpha: f64) {
    let width = feature.len();
    let h: Vec<f64> = feature.as_slice().iter().map(|x| f64::from(*x)).collect();
    let rows = projection.as_slice().chunks_exact(width);
    let moved: Vec<f64> = rows.map(|row| row.iter().zip(&h).map(|(p, h)| f64::from(*p) * h).sum()).collect();
    let scale = 1.0 / (alpha + moved.iter().zip(&h).map(|(p, h)| p * h).sum::<f64>().max(0.0));
    for (row, a) in projection.make_mut().chunks_exact_mut(width).zip(&moved) {
        row.iter_mut().zip(&moved).for_each(|(p, b)| *p = (f64::from(*p) - a * b * scale) as f32);
    }
}
