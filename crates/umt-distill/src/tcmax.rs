//! Total correlation maximisation ("Multimodal Classification via Total Correlation Maximization", ICLR 2026, arXiv 2602.13015).

use crate::{Objective, Pass, Shape};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};
use umt_fusion::{FusionConfig, Loss};
use umt_nn::{NnError, Params};
use umt_random::Rng;

/// The right features of all modalities with their class, against every combination of features of the batch with every class:
///
/// `L = -mean_i log( exp f(a_i, v_i)_{y_i} / sum_{j, k, y'} exp f(a_j, v_k)_{y'} ) - log(B^2 |Y|)`,
///
/// and likewise for more modalities. Logits of concatenation and sum are a sum of one part per modality, so that the sum over combinations is
/// a product of sums, exact in a batch's own time; other fusions are refused. There is nothing to set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcMax {}

impl Objective for TcMax {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let (outputs, labels) = (&pass.outputs, pass.targets.labels.samples()?);
        let whole = outputs.tensor(&outputs.logits)?;
        let (samples, classes) = whole.dims2()?;
        // log of the sum over the batch of each part, added up: the log of the sum over combinations, by class.
        let mut combined: Option<Tensor> = None;
        for &modality in outputs.features().keys() {
            let part = log_sum_exp(&outputs.tensor(&outputs.alone(modality)?)?, 0)?;
            combined = Some(match combined {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let all = combined.ok_or_else(|| NnError::Unsupported("`tcmax` needs a modality".into()))?;
        let right = whole.gather(&labels.unsqueeze(1)?, 1)?.mean_all()?;
        let modalities = outputs.features().len() as f64;
        let constant = modalities * (samples as f64).ln() + (classes as f64).ln();
        loss.record("task", &pass.task);
        loss.value = ((log_sum_exp(&all, 0)? - right)? - constant)?;
        loss.record("total-correlation", &loss.value.neg()?);
        Ok(())
    }

    fn init(&self, _params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.samples("tcmax", "it combines the features of different samples")?;
        shape.several("tcmax")
    }

    fn fusion(&self, asked: &FusionConfig) -> Result<FusionConfig, NnError> {
        match asked {
            FusionConfig::Concat | FusionConfig::Sum => Ok(asked.clone()),
            _ => Err(NnError::Unsupported(
                "`tcmax` needs logits that are a sum of one part per modality: `concat` or `sum`".into(),
            )),
        }
    }
}

/// `log sum exp` along an axis, which cannot overflow.
fn log_sum_exp(x: &Tensor, axis: usize) -> Result<Tensor, NnError> {
    let most = x.max_keepdim(axis)?.detach();
    let sum = x.broadcast_sub(&most)?.exp()?.sum_keepdim(axis)?.log()?;
    let out = (sum + most)?;
    Ok(match out.dims().len() {
        1 => out.sum(D::Minus1)?,
        _ => out.squeeze(axis)?,
    })
}
