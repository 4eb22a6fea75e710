//! A segmentation network with its loss and frozen teachers, as the training loop wants them.

use super::{MapDistance, distance::Maps, multi_scale, scales::check_labels};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use umt_data::LabelMaps;
use umt_eval::Confusion;
use umt_fusion::{DenseLoss, DenseOutputs, Segmenter};
use umt_media::Modality;
use umt_nn::{
    Array, NnError, Params,
    kernels::{Resize, all_finite, cross_entropy, resize},
};
use umt_train::{Evaluation, Feed, StepContext, StepOutput, Task, TrainError};

/// How pixels count in the loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct DenseLossConfig {
    /// A weight per class; all 1 where there are none.
    pub class_weights: Option<Vec<f32>>,
    /// Share of each label that is spread over all classes.
    pub label_smoothing: f32,
}

/// Trains a [`Segmenter`], with one frozen teacher per distilled modality.
///
/// Teachers are borrowed immutably and run in evaluation mode: nothing of them can change. They see the very tensor the student sees,
/// augmentation included.
pub struct DenseTask<'a> {
    network: Segmenter,
    loss: DenseLossConfig,
    distill: Option<MapDistance>,
    teachers: BTreeMap<Modality, &'a Segmenter>,
}

impl<'a> DenseTask<'a> {
    /// `distill` and `teachers` come together or not at all.
    pub fn new(
        network: Segmenter,
        loss: DenseLossConfig,
        distill: Option<MapDistance>,
        teachers: BTreeMap<Modality, &'a Segmenter>,
    ) -> Result<Self, NnError> {
        if distill.is_some() == teachers.is_empty() {
            let reason = if teachers.is_empty() { "needs teachers" } else { "takes no teachers" };
            return Err(NnError::Unsupported(format!("this objective {reason}")));
        }
        for (modality, teacher) in &teachers {
            if !teacher.modalities().any(|own| own == *modality) {
                return Err(NnError::Unsupported(format!("the teacher for {modality} has no encoder for it")));
            }
        }
        let classes = network.config().classes;
        if let Some(weights) = &loss.class_weights
            && (weights.len() != classes || weights.iter().any(|w| !(w.is_finite() && *w >= 0.0)))
        {
            let reason = format!("{classes} class weights of at least 0 are needed, not {weights:?}");
            return Err(NnError::Unsupported(reason));
        }
        if !(0.0..1.0).contains(&loss.label_smoothing) {
            return Err(NnError::setting("label-smoothing", format!("{} is not in [0, 1)", loss.label_smoothing)));
        }
        Ok(Self { network, loss, distill, teachers })
    }

    /// The trained network.
    pub fn into_network(self) -> Segmenter {
        self.network
    }

    /// Maps of each teacher for its own modality.
    fn targets(&self, inputs: &BTreeMap<Modality, Array>) -> Result<Maps, NnError> {
        let mut targets = Maps::new();
        for (&modality, teacher) in &self.teachers {
            targets.extend(teacher.maps(inputs)?.into_iter().filter(|(own, _)| *own == modality));
        }
        Ok(targets)
    }
}

/// The label maps of a batch.
fn maps(batch: &Feed) -> Result<&LabelMaps, NnError> {
    let missing = || NnError::Unsupported("the batch has no label maps, which segmentation needs".into());
    let maps = batch.maps.as_ref().ok_or_else(missing)?;
    if maps.shape[0] != batch.ids.len() || maps.data.len() != maps.shape.iter().product::<usize>() {
        return Err(NnError::shape("label maps", format!("{} maps", batch.ids.len()), &maps.shape));
    }
    Ok(maps)
}

fn loss(
    config: &DenseLossConfig,
    distill: Option<&MapDistance>,
    outputs: &DenseOutputs,
    labels: &LabelMaps,
    targets: &Maps,
) -> Result<DenseLoss, NnError> {
    let scales = multi_scale(&outputs.logits, labels, config.class_weights.as_deref(), config.label_smoothing)?;
    let task: f64 = scales.values.iter().sum();
    let mut log = BTreeMap::new();
    for (scale, value) in ["1", "1/8", "1/16", "1/32"].iter().zip(&scales.values) {
        log.insert(format!("task.{scale}"), *value as f32);
    }
    let (mut value, mut maps) = (task, Vec::new());
    if let Some(distill) = distill {
        let distance = distill.measure(&outputs.maps, targets)?;
        log.extend(distance.log);
        log.insert("task".into(), task as f32);
        log.insert("distill-share".into(), (distance.value / task.max(f64::MIN_POSITIVE)) as f32);
        value += distance.value;
        maps = distance.grads;
    }
    Ok(DenseLoss { value: value as f32, log, logits: scales.grads, maps })
}

impl Task for DenseTask<'_> {
    fn params(&self) -> &Params {
        self.network.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.network.params_mut()
    }

    fn step(&mut self, batch: &Feed, _context: &StepContext) -> Result<StepOutput, TrainError> {
        let labels = maps(batch)?;
        let targets = self.targets(batch.inputs())?;
        let (config, distill) = (&self.loss, self.distill.as_ref());
        let result =
            self.network.train_step(batch.inputs(), &mut |outputs| loss(config, distill, outputs, labels, &targets))?;
        Ok(StepOutput { loss: result.loss, log: result.log, grads: result.grads })
    }

    /// Each prediction is resized bilinearly to its label's own size.
    fn evaluate(&self, batch: &Feed) -> Result<Evaluation, TrainError> {
        let labels = maps(batch)?;
        let logits = self.network.predict(batch.inputs())?;
        let (counts, loss) = confusion(&logits, labels, &batch.ids)?;
        Ok(Evaluation::Pixels { counts, loss })
    }
}

/// Counts of a batch's pixels, and their summed cross-entropy.
fn confusion(logits: &Array, labels: &LabelMaps, ids: &[String]) -> Result<(Confusion, f64), TrainError> {
    let &[n, h, w, classes] = logits.shape() else {
        return Err(NnError::shape("logits", "[n, h, w, classes]", logits.shape()).into());
    };
    check_labels(&labels.data, classes)?;
    let [_, height, width] = labels.shape;
    let (mut counts, mut total) = (Confusion::new(classes), 0.0);
    for i in 0..n {
        let own = &logits.as_slice()[i * h * w * classes..][..h * w * classes];
        if !all_finite(own) {
            let value = own.iter().copied().find(|x| !x.is_finite()).unwrap_or(f32::NAN);
            let (stage, what, ids) = ("evaluation".into(), "a logit".into(), ids[i..=i].to_vec());
            return Err(TrainError::NonFinite { stage, step: 0, what, value, ids });
        }
        let own = resized(logits, i, [height, width])?;
        let predicted: Vec<u8> = own.chunks_exact(classes).map(largest).collect();
        let loss = cross_entropy(classes, &own, labels.map(i), None, 0.0, None).loss;
        let added = counts.add_maps(labels.map(i), &predicted, LabelMaps::VOID);
        added.map_err(|error| TrainError::Batches { reason: error.to_string() })?;
        total += loss;
    }
    Ok((counts, total))
}

/// Logits of picture `i` at another size, bilinearly.
fn resized(logits: &Array, i: usize, [height, width]: [usize; 2]) -> Result<Cow<'_, [f32]>, NnError> {
    let &[_, h, w, classes] = logits.shape() else {
        return Err(NnError::shape("logits", "[n, h, w, classes]", logits.shape()));
    };
    let own = &logits.as_slice()[i * h * w * classes..][..h * w * classes];
    if [h, w] == [height, width] {
        return Ok(Cow::Borrowed(own));
    }
    let mut out = vec![0.0; height * width * classes];
    resize(Resize::Bilinear, 1, [h, w], [height, width], classes, own, &mut out);
    Ok(Cow::Owned(out))
}

/// The predicted class of each pixel of picture `i` of `logits` `[n, h, w, classes]` at the size of its label, `[height, width]`.
pub fn predicted_map(logits: &Array, i: usize, size: [usize; 2]) -> Result<Vec<u8>, NnError> {
    let classes = logits.shape().last().copied().unwrap_or(1);
    Ok(resized(logits, i, size)?.chunks_exact(classes).map(largest).collect())
}

/// The class of the largest logit; of equal ones the first.
fn largest(row: &[f32]) -> u8 {
    let best = (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
    best as u8
}
