//! Gradient blending (Wang, Tran and Feiszli, "What Makes Training Multi-modal Classification Networks Hard?",
//! CVPR 2020).

use crate::scores::{cross_entropy, number};
use crate::{Objective, PREFIX, Pass, Shape, heads};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_fusion::{Loss, Network};
use umt_nn::{Array, NnError, Param, Params, within};
use umt_random::Rng;
use umt_train::{BatchSource, EpochContext, TrainError, each_batch};

/// `w_joint L_task + sum_m w_m CE(h_m(phi_m), y)`, a linear head per modality, the weights from how much each of the
/// losses generalises and overfits: `w_k = G_k / O_k^2 / Z`, with `G` the fall of the validation loss over some epochs,
/// `O` the growth of the gap between validation and training loss over the same epochs, and `Z` such that the weights
/// add up to 1. `|O| / G` is the overfitting-to-generalisation ratio. A loss that does not fall has weight 0.
///
/// Three ways to the weights. *Given*: `weights`. *Measured*, the paper's offline form: from finished runs of each
/// modality alone and of all together ([`crate::ObjectiveConfig::measured`]; in a recipe `from` names them). *Online*,
/// with `every`: the weights begin equal and are taken anew each so many epochs. There the paper trains copies of the
/// model by each loss alone; here the losses of the one model are read, the training losses as they came by. The authors published the
/// weighted sum alone, no code that estimates. `O` may be near 0 by accident: below 0.01 it counts as 0.01, which is not in the paper.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GBlend {
    /// Weight of each modality's loss by its name, and of the multi-modal one as `joint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<BTreeMap<String, f64>>,
    /// Epochs between two estimates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
}

/// The name of the multi-modal loss.
pub const JOINT: &str = "joint";

/// Mean losses of the same weights on both splits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// On train.
    pub train: f64,
    /// On validation.
    pub validation: f64,
}

/// An overfitting below this counts as this: a loss that happens not to overfit at all would else take all the weight.
const LEAST_OVERFITTING: f64 = 1e-2;

/// The weights of losses that went from the first to the second of each pair, in order; none when no loss fell.
pub fn blend(courses: &[[Losses; 2]]) -> Option<Vec<f64>> {
    let raw: Vec<f64> = courses
        .iter()
        .map(|[before, after]| {
            let generalised = (before.validation - after.validation).max(0.0);
            let overfitted = (after.validation - after.train) - (before.validation - before.train);
            generalised / overfitted.abs().max(LEAST_OVERFITTING).powi(2)
        })
        .collect();
    let sum: f64 = raw.iter().sum();
    (sum > 0.0 && sum.is_finite()).then(|| raw.into_iter().map(|w| w / sum).collect())
}

impl Objective for GBlend {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let mut losses: Vec<(String, Tensor)> =
            heads::losses(pass)?.into_iter().map(|(m, own)| (m.to_string(), own)).collect();
        losses.push((JOINT.to_owned(), pass.task.clone()));
        let weights = pass.outputs.buffer(&buffer("weights"))?.as_slice().to_vec();
        let mut value: Option<Tensor> = None;
        let mut sums = pass.outputs.buffer(&buffer("sums"))?.clone();
        for (i, ((name, own), weight)) in losses.into_iter().zip(weights).enumerate() {
            let figure = number(&own)?;
            loss.log.insert(format!("head.{name}"), figure);
            loss.log.insert(format!("weight.{name}"), weight);
            sums.make_mut()[i] += figure;
            let term = (own * f64::from(weight))?;
            value = Some(match value {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
        if let Some(value) = value {
            loss.value = value;
        }
        let mut count = pass.outputs.buffer(&buffer("count"))?.clone();
        count.make_mut()[0] += 1.0;
        loss.buffers.extend([(buffer("sums"), sums), (buffer("count"), count)]);
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        if self.weights.is_some() && self.every.is_some() {
            return Err(NnError::setting("weights", "given, but with `every` they are estimated: keep one"));
        }
        within("every", self.every.unwrap_or(1) as f64, self.every != Some(0), "1 or more")?;
        for (name, &weight) in self.weights.iter().flatten() {
            within(&format!("weights.{name}"), weight, weight >= 0.0 && weight.is_finite(), "0 or more")?;
        }
        Ok(())
    }

    fn init(&self, params: &mut Params, shape: &Shape, rng: &mut Rng) -> Result<(), NnError> {
        shape.samples("g-blend", "its weights are estimated from the losses of samples")?;
        shape.several("g-blend")?;
        heads::add(params, shape, rng);
        let count = shape.widths.len() + 1;
        let names: Vec<&str> = shape.widths.keys().map(|m| m.name()).chain([JOINT]).collect();
        let weights = match (&self.weights, self.every) {
            (Some(given), _) => {
                let known = given.keys().all(|name| names.contains(&name.as_str()));
                let all: Option<Vec<f32>> = names.iter().map(|n| given.get(*n).map(|w| *w as f32)).collect();
                let wrong = || NnError::setting("weights", format!("give exactly {}", names.join(", ")));
                all.filter(|_| known).ok_or_else(wrong)?
            }
            (None, Some(_)) => vec![1.0 / count as f32; count],
            (None, None) => {
                let ways = "`weights`, or `every`, or finished runs to measure them by (`from` in a recipe)";
                return Err(NnError::Unsupported(format!("`g-blend` needs {ways}")));
            }
        };
        params.insert(buffer("weights"), Param::buffer(Array::from_slice(&[count], &weights)?));
        for (name, length) in [("sums", count), ("count", 1), ("before", 2 * count), ("measured", 1)] {
            params.insert(buffer(name), Param::buffer(Array::zeros(&[length])));
        }
        Ok(())
    }

    fn end_of_epoch(
        &self,
        network: &Network,
        context: &EpochContext<'_>,
    ) -> Result<Option<Vec<(String, Array)>>, TrainError> {
        let read = |name: &str| network.params().value(&buffer(name)).cloned();
        let (mut sums, mut count) = (read("sums")?, read("count")?);
        let steps = f64::from(count.as_slice()[0]).max(1.0);
        let train: Vec<f64> = sums.as_slice().iter().map(|sum| f64::from(*sum) / steps).collect();
        sums.make_mut().fill(0.0);
        count.make_mut().fill(0.0);
        let mut buffers = vec![(buffer("sums"), sums), (buffer("count"), count)];
        let Some(every) = self.every.filter(|every| context.epoch == 0 || (context.epoch + 1).is_multiple_of(*every))
        else {
            return Ok(Some(buffers));
        };
        let Some(source) = context.validation else {
            let reason = format!("`g-blend` with every = {every} measures losses on validation, and there is none");
            return Err(TrainError::Config { key: "refit".into(), reason });
        };
        let Some(validation) = validation_losses(network, source, context.stopped)? else { return Ok(None) };
        let now: Vec<Losses> =
            train.into_iter().zip(validation).map(|(train, validation)| Losses { train, validation }).collect();
        let before = read("before")?;
        let before = before.as_slice().chunks_exact(2).map(|l| Losses { train: l[0].into(), validation: l[1].into() });
        let courses: Vec<[Losses; 2]> = before.zip(&now).map(|(before, now)| [before, *now]).collect();
        if read("measured")?.as_slice()[0] == 1.0
            && let Some(weights) = blend(&courses)
        {
            let weights: Vec<f32> = weights.into_iter().map(|w| w as f32).collect();
            buffers.push((buffer("weights"), Array::from_slice(&[weights.len()], &weights)?));
        }
        let kept: Vec<f32> = now.iter().flat_map(|l| [l.train as f32, l.validation as f32]).collect();
        buffers.push((buffer("before"), Array::from_slice(&[kept.len()], &kept)?));
        buffers.push((buffer("measured"), Array::full(&[1], 1.0)));
        Ok(Some(buffers))
    }
}

fn buffer(name: &str) -> String {
    format!("{PREFIX}g-blend.{name}")
}

/// Mean loss of each head and of the whole network, in evaluation mode.
fn validation_losses(
    network: &Network,
    source: &dyn BatchSource,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<Vec<f64>>, TrainError> {
    let (weights, device) = (network.weights()?, network.params().device());
    let (mut sums, mut samples) = (vec![0.0; network.shapes().stages.len() + 1], 0.0);
    let complete = each_batch(source, &device, stopped, |batch| {
        let count = batch.labels.len() as f64;
        let labels = Tensor::from_slice(&batch.labels, batch.labels.len(), &device.candle()).map_err(NnError::from)?;
        let encoded = network.encode(batch.inputs())?;
        let mut logits = Vec::new();
        for (&modality, x) in &encoded.features {
            logits.push(heads::logits(&weights, modality, x)?);
        }
        logits.push(network.classify(&encoded)?.to_tensor()?);
        for (sum, logits) in sums.iter_mut().zip(&logits) {
            *sum += count * f64::from(number(&cross_entropy(logits, &labels)?)?);
        }
        samples += count;
        Ok(())
    })?;
    if !complete {
        return Ok(None);
    }
    Ok(Some(sums.into_iter().map(|sum| sum / f64::max(samples, 1.0)).collect()))
}
