//! What a step is measured by: one class per sample, or one per pixel.

use crate::scales::{check_labels, labels_at, multi_scale};
use candle_core::{D, Tensor};
use candle_nn::ops::log_softmax;
use serde::{Deserialize, Serialize};
use umt_data::LabelMaps;
use umt_fusion::{Logits, Outputs};
use umt_nn::NnError;

/// How pixels count in the loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct PixelLoss {
    /// A weight per class; all 1 where there are none.
    pub class_weights: Option<Vec<f32>>,
    /// Share of each label that is spread over all classes.
    pub label_smoothing: f32,
}

impl PixelLoss {
    /// Refuses settings that do not fit a network of so many classes.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] and [`NnError::Setting`].
    pub fn check(&self, classes: usize) -> Result<(), NnError> {
        if let Some(weights) = &self.class_weights
            && (weights.len() != classes || weights.iter().any(|w| !(w.is_finite() && *w >= 0.0)))
        {
            let reason = format!("{classes} class weights of at least 0 are needed, not {weights:?}");
            return Err(NnError::Unsupported(reason));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(NnError::setting("label-smoothing", format!("{} is not in [0, 1)", self.label_smoothing)));
        }
        Ok(())
    }
}

/// The labels of a batch.
#[derive(Clone, Debug)]
pub enum Labels {
    /// The class of each sample, `[n]`, u32.
    Samples(Tensor),
    /// The class of each pixel, and how pixels count.
    Pixels {
        /// Class numbers, 255 for void.
        maps: LabelMaps,
        /// Weights and smoothing.
        loss: PixelLoss,
    },
}

impl Labels {
    /// The class of each sample, `[n]`.
    ///
    /// # Errors
    /// Labels of pixels: for an objective that has no meaning on them, which [`crate::Shape::samples`] refuses earlier.
    pub fn samples(&self) -> Result<&Tensor, NnError> {
        match self {
            Self::Samples(labels) => Ok(labels),
            Self::Pixels { .. } => {
                Err(NnError::Unsupported("one class per sample is needed, not one per pixel".into()))
            }
        }
    }

    /// The terms of the task's loss, named: softmax cross-entropy, mean over the samples; or one for each scale, over the
    /// pixels whose label is not void, see [`multi_scale`]. Their sum is the loss.
    ///
    /// # Errors
    /// Labels that do not fit the logits; when a device fails.
    pub fn losses(&self, outputs: &Outputs<'_>, logits: &Logits) -> Result<Vec<(&'static str, Tensor)>, NnError> {
        match (self, logits) {
            (Self::Samples(labels), Logits::Rows(rows)) => {
                Ok(vec![("task", candle_nn::loss::cross_entropy(rows, labels)?)])
            }
            (Self::Pixels { maps, loss }, Logits::Maps(values)) => {
                let arrays: Vec<_> = values.iter().map(|value| value.array().clone()).collect();
                let scales = multi_scale(&arrays, maps, loss.class_weights.as_deref(), loss.label_smoothing)?;
                let names = ["task.1", "task.1/8", "task.1/16", "task.1/32"];
                let all = names.into_iter().zip(scales.values).zip(values).zip(scales.grads);
                all.map(|(((name, value), map), grad)| Ok((name, outputs.term(value, vec![(map.clone(), grad)])?)))
                    .collect()
            }
            (Self::Samples(_), Logits::Maps(_)) => {
                Err(NnError::Unsupported("the batch has no label maps, which segmentation needs".into()))
            }
            (Self::Pixels { .. }, Logits::Rows(_)) => {
                Err(NnError::Unsupported("labels of pixels need a network with a decoder".into()))
            }
        }
    }

    /// Softmax cross-entropy of logits in candle's graph, `[n, classes]` or `[n, h, w, classes]` at any size: labels are shrunk
    /// to it by taking the nearest. Mean over what has a label, weighted by class as in [`Labels::losses`].
    ///
    /// # Errors
    /// Labels that do not fit the logits; when a device fails.
    pub fn cross_entropy(&self, logits: &Tensor) -> Result<Tensor, NnError> {
        let Self::Pixels { loss, .. } = self else {
            return Ok(candle_nn::loss::cross_entropy(logits, self.samples()?)?);
        };
        let (rows, classes) = self.rows(logits)?;
        let count = rows.dim(1)?;
        let logarithms = log_softmax(&rows, D::Minus1)?;
        let own = logarithms.gather(&classes.unsqueeze(1)?, 1)?.squeeze(1)?.neg()?;
        let weights = loss.class_weights.clone().unwrap_or_else(|| vec![1.0; count]);
        let weights = Tensor::from_slice(&weights, count, logits.device())?;
        let own_weights = weights.index_select(&classes, 0)?;
        // As PyTorch smooths: the share that is spread counts each class by that class's weight.
        let (smoothing, mut sum) = (f64::from(loss.label_smoothing), (own * &own_weights)?.sum_all()?);
        if smoothing > 0.0 {
            let spread = logarithms.broadcast_mul(&weights)?.sum_all()?;
            sum = ((sum * (1.0 - smoothing))? - (spread * (smoothing / count as f64))?)?;
        }
        Ok((sum / own_weights.sum_all()?.maximum(f32::MIN_POSITIVE)?)?)
    }

    /// Natural logarithm of the probability of the own class of each sample, or of each pixel with a label, `[m]`.
    ///
    /// # Errors
    /// Labels that do not fit the logits; when a device fails.
    pub fn own_log_probability(&self, logits: &Tensor) -> Result<Tensor, NnError> {
        let (rows, classes) = self.rows(logits)?;
        Ok(log_softmax(&rows, D::Minus1)?.gather(&classes.unsqueeze(1)?, 1)?.squeeze(1)?)
    }

    /// Probability of the own class of each sample, or of each pixel with a label, outside the graph.
    ///
    /// # Errors
    /// Labels that do not fit the logits; when a device fails.
    pub fn own_probability(&self, logits: &Tensor) -> Result<Vec<f64>, NnError> {
        let logarithms = self.own_log_probability(&logits.detach())?.to_vec1::<f32>()?;
        Ok(logarithms.into_iter().map(|x| f64::from(x).exp()).collect())
    }

    /// Logits `[m, classes]` and classes `[m]` of all that has a label.
    fn rows(&self, logits: &Tensor) -> Result<(Tensor, Tensor), NnError> {
        let Self::Pixels { maps, .. } = self else { return Ok((logits.clone(), self.samples()?.clone())) };
        let &[n, h, w, classes] = logits.dims() else {
            return Err(NnError::shape("logits", "[n, h, w, classes]", logits.dims()));
        };
        if n != maps.shape[0] {
            return Err(NnError::shape("label maps", format!("{n} maps"), &maps.shape));
        }
        let labels = labels_at(maps, [h, w]);
        check_labels(&labels, classes)?;
        let counted = |(at, label): (usize, &u8)| (*label != LabelMaps::VOID).then_some((at as u32, u32::from(*label)));
        let (places, own): (Vec<u32>, Vec<u32>) = labels.iter().enumerate().filter_map(counted).unzip();
        let column = |values: &[u32]| Tensor::from_slice(values, values.len(), logits.device());
        Ok((logits.reshape((n * h * w, classes))?.index_select(&column(&places)?, 0)?, column(&own)?))
    }
}
