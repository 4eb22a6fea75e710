//! Prototypical modal rebalance (Fan, Xu, Wang, Wang and Guo, "PMR: Prototypical Modal Rebalance for Multimodal
//! Learning", CVPR 2023).

use crate::scores::{Figures, entropy, ratios};
use crate::{Objective, PREFIX, Pass, Shape};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};
use umt_fusion::{Loss, Network};
use umt_nn::{Array, NnError, Param, Params, within};
use umt_random::Rng;
use umt_train::{EpochContext, TrainError};

/// Pulls the slow modality towards its class prototypes, and for some epochs keeps the fast one from settling early.
///
/// A prototype `c_{m,k}` is the mean feature of class k in encoder m. With
/// `p_m(k) = softmax_k(-|phi_m - c_{m,k}|)`, `s_m` the sum over the batch of `p_m(y)` and `rho_m = s_m / s_other`, the loss
/// is `L_task + alpha * sum_m clip(1 / rho_m - 1, 0, 1) CE(p_m, y)`, less, in the first epochs,
/// `mu * sum_m clip(rho_m - 1, 0, 1) H(p_m)`. With more than two modalities `rho_m` is taken over the mean of the others.
///
/// The authors compute prototypes between epochs from a tenth of the training set; here they are the means over the
/// epoch's own batches, which costs no pass, and the first epoch trains the task alone. Their released code gives the slower modality
/// the whole of alpha, where this is the paper's clipped ratio, which pulls less near balance. A class without a prototype takes no part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pmr {
    /// Weight of the prototypical cross-entropy.
    pub alpha: f64,
    /// Share of the old prototype in the new one.
    pub momentum: f64,
    /// mu, weight of the entropy term.
    pub entropy_weight: f64,
    /// Number of epochs with the entropy term.
    pub entropy_epochs: u64,
}

impl Default for Pmr {
    fn default() -> Self {
        Self { alpha: 1.0, momentum: 0.2, entropy_weight: 0.01, entropy_epochs: 5 }
    }
}

/// What a column without a prototype has in place of a similarity: no probability, and still finite.
const NEVER: f64 = -1e9;

impl Objective for Pmr {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let labels = pass.targets.labels.samples()?.to_vec1::<u32>()?;
        self.remember(pass, &labels, loss)?;
        let known = pass.outputs.buffer(&buffer("known"))?;
        let of_label: Vec<f32> = labels.iter().map(|&y| known.as_slice()[y as usize]).collect();
        let counted = of_label.iter().sum::<f32>();
        if counted == 0.0 {
            return Ok(());
        }
        let row = |x: &[f32]| Tensor::from_slice(x, x.len(), pass.task.device());
        let mask = row(&known.as_slice().iter().map(|k| (1.0 - k) * NEVER as f32).collect::<Vec<_>>())?;
        let weights = (row(&of_label)? / f64::from(counted))?;

        let (mut scores, mut similarities) = (Figures::new(), Vec::new());
        for (&modality, features) in pass.outputs.features() {
            let prototypes = pass.outputs.buffer(&buffer(&format!("prototypes.{modality}")))?.to_tensor()?;
            let prototypes = prototypes.to_device(pass.task.device())?;
            let similarity = distances(features, &prototypes)?.neg()?.broadcast_add(&mask)?;
            let own = pass.targets.labels.own_probability(&similarity)?;
            scores.insert(modality, own.iter().zip(&of_label).map(|(p, k)| p * f64::from(*k)).sum());
            similarities.push((modality, similarity));
        }
        let ratios = ratios(&scores);
        for (modality, similarity) in similarities {
            let pull = (1.0 / ratios[&modality] - 1.0).clamp(0.0, 1.0);
            let hold = (ratios[&modality] - 1.0).clamp(0.0, 1.0);
            loss.log.insert(format!("pull.{modality}"), pull as f32);
            if pull > 0.0 {
                let own = pass.targets.labels.own_log_probability(&similarity)?;
                let term = ((own * &weights)?.sum_all()?.neg()? * (self.alpha * pull))?;
                loss.value = (&loss.value + term)?;
            }
            if hold > 0.0 && pass.context.epoch < self.entropy_epochs {
                let term = (entropy(&similarity)?.mean_all()? * (self.entropy_weight * hold))?;
                loss.value = (&loss.value - term)?;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        let weight = |key: &str, value: f64| within(key, value, value >= 0.0 && value.is_finite(), "0 or more");
        weight("alpha", self.alpha)?;
        weight("entropy-weight", self.entropy_weight)?;
        within("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "at least 0 and below 1")
    }

    fn init(&self, params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.samples("pmr", "a prototype is the mean feature of the samples of a class")?;
        let mut add = |name: &str, shape: &[usize]| params.insert(buffer(name), Param::buffer(Array::zeros(shape)));
        for (modality, &width) in &shape.widths {
            add(&format!("prototypes.{modality}"), &[shape.classes, width]);
            add(&format!("sums.{modality}"), &[shape.classes, width]);
        }
        add("counts", &[shape.classes]);
        add("known", &[shape.classes]);
        shape.several("pmr")
    }

    fn end_of_epoch(
        &self,
        network: &Network,
        _context: &EpochContext<'_>,
    ) -> Result<Option<Vec<(String, Array)>>, TrainError> {
        let read = |name: &str| network.params().value(&buffer(name)).cloned();
        let (mut counts, mut known) = (read("counts")?, read("known")?);
        let mut buffers = Vec::new();
        for (modality, width) in network.shapes().widths() {
            let (place, sums) = (format!("prototypes.{modality}"), format!("sums.{modality}"));
            let (mut prototypes, mut total) = (read(&place)?, read(&sums)?);
            let rows = prototypes.make_mut().chunks_exact_mut(width).zip(total.as_slice().chunks_exact(width));
            for (class, (prototype, sum)) in rows.enumerate() {
                let count = counts.as_slice()[class];
                if count == 0.0 {
                    continue;
                }
                let old = if known.as_slice()[class] == 1.0 { self.momentum as f32 } else { 0.0 };
                for (value, sum) in prototype.iter_mut().zip(sum) {
                    *value = (1.0 - old) * (sum / count) + old * *value;
                }
            }
            total.make_mut().fill(0.0);
            buffers.extend([(buffer(&place), prototypes), (buffer(&sums), total)]);
        }
        for (known, count) in known.make_mut().iter_mut().zip(counts.as_slice()) {
            *known = if *count > 0.0 { 1.0 } else { *known };
        }
        counts.make_mut().fill(0.0);
        buffers.extend([(buffer("counts"), counts), (buffer("known"), known)]);
        Ok(Some(buffers))
    }
}

impl Pmr {
    /// Adds this batch's features to the sums that become the next prototypes.
    fn remember(&self, pass: &Pass<'_>, labels: &[u32], loss: &mut Loss) -> Result<(), NnError> {
        let mut counts = pass.outputs.buffer(&buffer("counts"))?.clone();
        labels.iter().for_each(|&y| counts.make_mut()[y as usize] += 1.0);
        loss.buffers.push((buffer("counts"), counts));
        for (modality, features) in pass.outputs.features() {
            let name = buffer(&format!("sums.{modality}"));
            let mut sums = pass.outputs.buffer(&name)?.clone();
            let width = features.dim(1)?;
            let values = features.flatten_all()?.to_vec1::<f32>()?;
            for (&label, row) in labels.iter().zip(values.chunks_exact(width)) {
                let sum = &mut sums.make_mut()[label as usize * width..][..width];
                sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
            }
            loss.buffers.push((name, sums));
        }
        Ok(())
    }
}

fn buffer(name: &str) -> String {
    format!("{PREFIX}pmr.{name}")
}

/// Euclidean distance of each feature `[n, d]` to each prototype `[k, d]`: `[n, k]`.
fn distances(features: &Tensor, prototypes: &Tensor) -> Result<Tensor, NnError> {
    let difference = features.unsqueeze(1)?.broadcast_sub(&prototypes.unsqueeze(0)?)?;
    // The small number keeps the derivative of the root finite where a feature is its prototype.
    Ok((difference.sqr()?.sum(D::Minus1)? + 1e-12)?.sqrt()?)
}
