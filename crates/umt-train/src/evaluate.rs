//! Logits and scores of a task over a whole split.

use umt_data::Batch;
use umt_nn::Array;

use crate::guard::first_bad;
use crate::{BatchSource, Confusion, Evaluation, Feed, Task, TrainError, each_batch};

/// Logits of every sample of a split, in the order of the dataset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Sample ids.
    pub ids: Vec<String>,
    /// The samples' places in the dataset, ascending.
    pub indices: Vec<usize>,
    /// True classes.
    pub labels: Vec<u32>,
    /// `[samples, classes]`, row-major.
    pub logits: Vec<f32>,
    /// Length of a row of `logits`.
    pub classes: usize,
}

/// Scores of a split, over its samples or, where each pixel has a class, over its pixels.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scores {
    /// Share of samples (pixels) whose largest logit is that of the true class, 0 to 1.
    pub top1: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Mean over classes of intersection over union, 0 to 1, where each pixel has a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miou: Option<f64>,
}

impl Scores {
    /// Higher mean IoU, or top-1 where there is none, or the same at a lower loss.
    pub fn better_than(&self, other: &Self) -> bool {
        let of = |scores: &Self| scores.miou.unwrap_or(scores.top1);
        of(self) > of(other) || (of(self) == of(other) && self.loss < other.loss)
    }
}

impl Predictions {
    /// Logits of sample `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.logits[i * self.classes..(i + 1) * self.classes]
    }

    /// Top-1 accuracy and mean cross-entropy. Of equal largest logits the first class counts.
    pub fn scores(&self) -> Scores {
        let (mut hits, mut loss) = (0u64, 0f64);
        for (i, &label) in self.labels.iter().enumerate() {
            let row = self.row(i);
            let top = (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
            let peak = f64::from(row[top]);
            let sum: f64 = row.iter().map(|&z| (f64::from(z) - peak).exp()).sum();
            hits += u64::from(top == label as usize);
            loss += peak + sum.ln() - f64::from(row[label as usize]);
        }
        let count = self.labels.len().max(1) as f64;
        Scores { top1: hits as f64 / count, loss: loss / count, miou: None }
    }

    /// Puts the samples into the dataset's order, whatever the order of the batches.
    fn sort(&mut self) {
        if self.indices.is_sorted() {
            return;
        }
        let mut order: Vec<usize> = (0..self.indices.len()).collect();
        order.sort_by_key(|&i| self.indices[i]);
        *self = Self {
            ids: order.iter().map(|&i| self.ids[i].clone()).collect(),
            indices: order.iter().map(|&i| self.indices[i]).collect(),
            labels: order.iter().map(|&i| self.labels[i]).collect(),
            logits: order.iter().flat_map(|&i| self.row(i)).copied().collect(),
            classes: self.classes,
        };
    }

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
}

/// Runs the task in evaluation mode over all batches of `source`; neither changes. For tasks with one class per sample.
///
/// # Errors
/// What the source or the task refuse; logits that do not fit the batch or are not finite, with the sample's id.
pub fn evaluate(task: &dyn Task, source: &dyn BatchSource) -> Result<Predictions, TrainError> {
    let (mut all, mut pixels) = (Predictions::default(), None);
    let device = task.params().device();
    each_batch(source, &device, &|| false, |batch| take(&mut all, &mut pixels, task, batch))?;
    if pixels.is_some() {
        return Err(mismatch("a task with a class for every pixel has no row of logits per sample".into()));
    }
    all.sort();
    Ok(all)
}

/// Scores of the task over all batches of `source`; `None` when `stopped` says so between two batches.
pub(crate) fn score_until(
    task: &dyn Task,
    source: &dyn BatchSource,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<Scores>, TrainError> {
    let (mut all, mut pixels) = (Predictions::default(), None);
    let device = task.params().device();
    if !each_batch(source, &device, stopped, |batch| take(&mut all, &mut pixels, task, batch))? {
        return Ok(None);
    }
    if let Some(pixels) = pixels {
        return Ok(Some(pixels.scores()));
    }
    // Sums in the dataset's order, whatever the order of the batches.
    all.sort();
    Ok(Some(all.scores()))
}

/// Evaluates one batch into what its kind goes to.
fn take(all: &mut Predictions, pixels: &mut Option<Confusion>, task: &dyn Task, batch: Feed) -> Result<(), TrainError> {
    match task.evaluate(&batch)? {
        Evaluation::Logits(logits) => all.push(batch.into_batch(), &logits),
        Evaluation::Pixels(counts) => match pixels {
            Some(sum) => sum.merge(&counts),
            None => {
                *pixels = Some(counts);
                Ok(())
            }
        },
    }
}

fn mismatch(reason: String) -> TrainError {
    TrainError::Batches { reason }
}
