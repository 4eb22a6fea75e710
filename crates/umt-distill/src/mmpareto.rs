//! MMPareto (Wei and Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024).

use crate::scores::modality_of;
use crate::{Objective, Pass, Shape, heads};
use serde::{Deserialize, Serialize};
use umt_fusion::{Loss, StepResult};
use umt_media::Modality;
use umt_nn::{Array, Grads, NnError, Params, within};
use umt_random::Rng;

/// Trains each encoder by the multi-modal loss and by its own head's loss, and combines the two gradients so that
/// neither works against the other.
///
/// With `g` the multi-modal and `u` the uni-modal gradient of all of an encoder's parameters, both weights are 1/2 where
/// `g . u > 0`; else they are those of the shortest vector `a g + (1 - a) u` (the min-norm point, a Pareto direction):
/// `a = (|u|^2 - g . u) / |g - u|^2`. The new gradient `h = 2 a g + 2 (1 - a) u` is then, tensor by tensor as in the authors'
/// code, stretched to the length of `g + u` where it is shorter, and multiplied by `gamma`. Heads take the sum of their
/// gradients as it is. The figure `loss` is the sum of all losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MmPareto {
    /// gamma, the factor of the combined gradient.
    pub gamma: f64,
}

impl Default for MmPareto {
    fn default() -> Self {
        Self { gamma: 1.5 }
    }
}

impl Objective for MmPareto {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        loss.record("task", &pass.task);
        for (modality, own) in heads::losses(pass)? {
            loss.record(format!("head.{modality}"), &own);
            loss.apart.insert(modality.name().to_owned(), own);
        }
        let gamma = self.gamma;
        loss.finish.push(Box::new(move |result, apart| {
            for (name, grads) in apart {
                result.loss += result.log.get(&format!("head.{name}")).copied().unwrap_or_default();
                let modality: Option<Modality> = name.parse().ok();
                if let Some(modality) = modality {
                    combine(result, grads, modality, gamma);
                }
            }
            Ok(())
        }));
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("gamma", self.gamma, self.gamma > 0.0 && self.gamma.is_finite(), "above 0")
    }

    fn init(&self, params: &mut Params, shape: &Shape, rng: &mut Rng) -> Result<(), NnError> {
        heads::add(params, shape, rng);
        shape.several("mmpareto")
    }
}

/// Lets one modality's own gradients into those of the multi-modal loss.
fn combine(result: &mut StepResult, own: &Grads, modality: Modality, gamma: f64) {
    let of_encoder = |name: &str| modality_of(name) == Some(modality);
    let pairs = result.grads.iter().filter(|(name, _)| of_encoder(name));
    let [mut gg, mut gu, mut uu] = [0.0; 3];
    for (g, u) in pairs.filter_map(|(name, g)| Some((g, own.get(name)?))) {
        gg += dot(g, g);
        gu += dot(g, u);
        uu += dot(u, u);
    }
    let a = match gg + uu - 2.0 * gu {
        square if gu <= 0.0 && square > 0.0 => (uu - gu) / square,
        _ => 0.5,
    };
    result.log.insert(format!("weight.{modality}"), a as f32);
    for (name, grad) in &mut result.grads {
        let Some(u) = own.get(name) else { continue };
        let g = grad.clone();
        let values = grad.make_mut().iter_mut().zip(u.as_slice());
        if of_encoder(name) {
            let (a, b) = ((2.0 * a) as f32, (2.0 - 2.0 * a) as f32);
            values.for_each(|(g, u)| *g = a * *g + b * u);
            let (new, sum) = (dot(grad, grad).sqrt(), (dot(&g, &g) + 2.0 * dot(&g, u) + dot(u, u)).max(0.0).sqrt());
            let stretch = if new > 0.0 { (sum / new).max(1.0) } else { 1.0 };
            grad.make_mut().iter_mut().for_each(|g| *g *= (gamma * stretch) as f32);
        } else {
            values.for_each(|(g, u)| *g += u);
        }
    }
}

/// In f64, in the order of the values.
fn dot(a: &Array, b: &Array) -> f64 {
    a.as_slice().iter().zip(b.as_slice()).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}
