//! A task over a whole split in evaluation mode.

use umt_data::Batch;
use umt_eval::metrics::{Measured, Metric, nll::NegativeLogLikelihood, pixel_accuracy::PixelAccuracy, top_k::Top1};
use umt_eval::{Confusion, EvalError, Predictions};
use umt_nn::Array;

use crate::guard::first_bad;
use crate::{BatchSource, Evaluation, Feed, Task, TrainError, each_batch};

/// What validation compares weights by, over samples or, where each pixel has a class, over pixels.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Validation {
    /// Share of samples (pixels) whose largest logit is that of the true class, 0 to 1.
    pub top1: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Mean over classes of intersection over union, 0 to 1, where each pixel has a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miou: Option<f64>,
}

impl Validation {
    /// Of logits and labels.
    ///
    /// # Errors
    /// Those of [`Predictions::scores`].
    pub fn of_samples(predictions: &Predictions) -> Result<Self, EvalError> {
        let scores = predictions.scores()?;
        let (top1, loss) = (Top1.of_samples(&scores)?, NegativeLogLikelihood.of_samples(&scores)?);
        Ok(Self { top1, loss, miou: None })
    }

    /// Of counts of pixels and their summed cross-entropy; zeros where nothing was counted.
    pub fn of_pixels(confusion: &Confusion, loss: f64) -> Self {
        let counted: u64 = confusion.counts().iter().sum();
        let top1 = PixelAccuracy.of_pixels(confusion).unwrap_or(0.0);
        let miou = Measured::Pixels(confusion).main().map_or(0.0, |(_, value)| value);
        Self { top1, loss: loss / counted.max(1) as f64, miou: Some(miou) }
    }

    /// The main metric: mean IoU where each pixel has a class, else top-1.
    pub fn main(&self) -> f64 {
        self.miou.unwrap_or(self.top1)
    }

    /// Higher mean IoU, or top-1 where there is none, or the same at a lower loss.
    pub fn better_than(&self, other: &Self) -> bool {
        self.main() > other.main() || (self.main() == other.main() && self.loss < other.loss)
    }
}

/// Logits of a split as batches bring them.
#[derive(Default)]
struct Collected {
    ids: Vec<String>,
    /// The samples' positions in the data set.
    indices: Vec<usize>,
    labels: Vec<u32>,
    logits: Vec<f32>,
    classes: usize,
}

impl Collected {
    fn push(&mut self, batch: Batch, logits: &Array) -> Result<(), TrainError> {
        let &[rows, classes] = logits.shape() else {
            return Err(mismatch(format!("logits of shape {:?}, not [samples, classes]", logits.shape())));
        };
        if [rows, rows, rows] != [batch.ids.len(), batch.indices.len(), batch.labels.len()]
            || (self.classes != 0 && self.classes != classes)
        {
            return Err(mismatch(format!("logits {rows}x{classes} for a batch of {}", batch.ids.len())));
        }
        if let Some(label) = batch.labels.iter().find(|&&l| l as usize >= classes) {
            return Err(mismatch(format!("label {label}, but the logits have {classes} classes")));
        }
        if let Some((at, value)) = first_bad(logits.as_slice()) {
            let ids = vec![batch.ids[at / classes].clone()];
            return Err(TrainError::NonFinite {
                stage: "evaluation".into(),
                step: 0,
                what: "a logit".into(),
                value,
                ids,
            });
        }
        self.classes = classes;
        self.ids.extend(batch.ids);
        self.indices.extend(batch.indices);
        self.labels.extend(batch.labels);
        self.logits.extend_from_slice(logits.as_slice());
        Ok(())
    }

    /// In the data set's order, whatever the order of the batches.
    fn predictions(self) -> Result<Predictions, TrainError> {
        let mut order: Vec<usize> = (0..self.indices.len()).collect();
        order.sort_by_key(|&i| self.indices[i]);
        let row = |i: usize| &self.logits[i * self.classes..(i + 1) * self.classes];
        let ids = order.iter().map(|&i| self.ids[i].clone()).collect();
        let labels = order.iter().map(|&i| self.labels[i]).collect();
        let logits = order.iter().flat_map(|&i| row(i)).copied().collect();
        Predictions::new(ids, labels, self.classes, logits).map_err(|error| mismatch(error.to_string()))
    }
}

/// What a split's evaluation adds up to.
#[derive(Default)]
struct Gathered {
    samples: Collected,
    /// Counts and summed cross-entropy.
    pixels: Option<(Confusion, f64)>,
}

impl Gathered {
    /// Evaluates one batch into what its kind goes to.
    fn take(&mut self, task: &dyn Task, batch: Feed) -> Result<(), TrainError> {
        match task.evaluate(&batch)? {
            Evaluation::Logits(logits) => self.samples.push(batch.into_batch(), &logits),
            Evaluation::Pixels { counts, loss } => {
                let (sum, total) = self.pixels.get_or_insert_with(|| (Confusion::new(counts.classes()), 0.0));
                *total += loss;
                sum.merge(&counts).map_err(|error| mismatch(error.to_string()))
            }
        }
    }
}

/// Runs the task in evaluation mode over all batches of `source`; neither changes. For tasks with one class per sample.
///
/// # Errors
/// Those of the source and the task; logits that do not fit the batch or are not finite, with the sample's id.
pub fn evaluate(task: &dyn Task, source: &dyn BatchSource) -> Result<Predictions, TrainError> {
    let mut all = Gathered::default();
    each_batch(source, &task.params().device(), &|| false, |batch| all.take(task, batch))?;
    if all.pixels.is_some() {
        return Err(mismatch("a task with a class for every pixel has no row of logits per sample".into()));
    }
    all.samples.predictions()
}

/// What validation compares by over all batches of `source`; `None` when `stopped` says so between two batches.
pub(crate) fn validate(
    task: &dyn Task,
    source: &dyn BatchSource,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<Validation>, TrainError> {
    let mut all = Gathered::default();
    if !each_batch(source, &task.params().device(), stopped, |batch| all.take(task, batch))? {
        return Ok(None);
    }
    if let Some((counts, loss)) = all.pixels {
        return Ok(Some(Validation::of_pixels(&counts, loss)));
    }
    let found = Validation::of_samples(&all.samples.predictions()?);
    found.map(Some).map_err(|error| mismatch(error.to_string()))
}

fn mismatch(reason: String) -> TrainError {
    TrainError::Batches { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked by hand: 2 of 3 pixels of class 0 right, 1 of 2 of class 1, class 2 nowhere, one void pixel.
    #[test]
    fn one_matrix_over_all_images() {
        let mut all = Confusion::new(3);
        all.add_maps(&[0, 0, 255], &[0, 1, 2], 255).unwrap();
        all.add_maps(&[0, 1, 1], &[0, 1, 0], 255).unwrap();
        // Unions: class 0 has 3 true and 3 predicted, 2 of them the same; class 1 2 and 2, 1 the same.
        let expected = Validation { top1: 3.0 / 5.0, loss: 3.0 / 5.0, miou: Some((2.0 / 4.0 + 1.0 / 3.0) / 2.0) };
        assert_eq!(Validation::of_pixels(&all, 3.0), expected);
        let better = |miou, top1| Validation { top1, loss: 0.0, miou: Some(miou) };
        assert!(better(0.5, 0.1).better_than(&better(0.4, 0.9)), "mIoU decides, not pixel accuracy");
    }

    /// By hand: two of three right, and the cross-entropy of ln 2 and two of ln(1 + e).
    #[test]
    fn samples_by_hand_and_huge_logits() {
        let of = |labels: Vec<u32>, logits| {
            let ids = (0..labels.len()).map(|i| i.to_string()).collect();
            Validation::of_samples(&Predictions::new(ids, labels, 2, logits).unwrap()).unwrap()
        };
        let found = of(vec![0, 1, 0], vec![0.0, 0.0, 0.0, -1.0, 0.0, -1.0]);
        let expected = (2f64.ln() + (1.0 + 1f64.exp()).ln() + (1.0 + (-1f64).exp()).ln()) / 3.0;
        assert!((found.top1 - 2.0 / 3.0).abs() < 1e-12 && (found.loss - expected).abs() < 1e-7, "{found:?}");
        assert_eq!(of(vec![1], vec![1e4, -1e4]), Validation { top1: 0.0, loss: 2e4, miou: None });
    }
}
