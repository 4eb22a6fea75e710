//! One pass of a network over a split: predictions of samples or of pixels and, where probes want them, features.

use crate::segmented::Segmented;
use std::collections::BTreeMap;
use umt_data::{Batch, DataError, LabelMaps, Loader};
use umt_distill::predicted_map;
use umt_eval::metrics::Measured;
use umt_eval::{Confusion, EvalError, Predictions, Scores};
use umt_fusion::{Network, Standing};
use umt_media::Modality;
use umt_nn::{Array, Device, NnError};
use umt_store::{StoreError, tensors};
use umt_train::{BatchSource, Batches, Feed, TrainError, each_batch};

/// What a network predicts of a split.
pub(crate) enum Predicted {
    /// Logits of each sample, in the order of the list.
    Samples(Predictions),
    /// Counts of pixels, each prediction at its label's own size.
    Pixels(Segmented),
}

/// A pass over a split, samples in the order of the list.
pub(crate) struct Pass {
    pub predicted: Predicted,
    /// Features of samples; of pixels there are too many to keep.
    pub features: Features,
    /// The mean over samples of each encoder's means after stages: imputed for a missing modality.
    pub means: Standing,
    /// The predictions from each asked subset of the modalities.
    pub given: Vec<(Vec<Modality>, Predicted)>,
}

/// What to ask besides: predictions from subsets of the modalities, with something standing for the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subsets {
    pub given: Vec<Vec<Modality>>,
    pub standing: Standing,
}

impl Predicted {
    /// The values of metrics, by name: those asked for or, without names, all that are reported.
    pub fn values(&self, names: Option<&[&'static str]>) -> Result<Vec<(&'static str, f64)>, EvalError> {
        let scores: Scores<'_>;
        let measured = match self {
            Self::Samples(predictions) => {
                scores = predictions.scores()?;
                Measured::Samples(&scores)
            }
            Self::Pixels(segmented) => Measured::Pixels(&segmented.confusion),
        };
        match names {
            Some(names) => measured.values(names),
            None => measured.reported(),
        }
    }
}

/// Every subset of the modalities but the empty and the whole one, small ones first.
pub(crate) fn proper_subsets(modalities: &[Modality]) -> Vec<Vec<Modality>> {
    let count = modalities.len();
    let of = |set: usize| (0..count).filter(move |i| set >> i & 1 == 1).map(|i| modalities[i]).collect();
    let mut subsets: Vec<Vec<Modality>> = (1..(1usize << count) - 1).map(of).collect();
    subsets.sort_by_key(|subset: &Vec<Modality>| (subset.len(), subset.clone()));
    subsets
}

/// Features of every encoder, with labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    /// Width and values `[samples, width]` by modality.
    pub values: BTreeMap<Modality, (usize, Vec<f32>)>,
    /// Classes `[samples]`.
    pub labels: Vec<u32>,
}

/// What may stop a pass.
pub(crate) enum PassError {
    Data(DataError),
    Nn(NnError),
    Eval(EvalError),
    /// Batches that do not fit, or a failure of the task's own.
    Train(TrainError),
    /// The stop flag was raised.
    Stopped,
}

impl From<TrainError> for PassError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Data(error) => Self::Data(error),
            TrainError::Nn(error) => error.into(),
            other => Self::Train(other),
        }
    }
}

impl From<NnError> for PassError {
    fn from(error: NnError) -> Self {
        match error {
            NnError::Stopped => Self::Stopped,
            error => Self::Nn(error),
        }
    }
}

/// A scale and an offset for the inputs of a modality; empty leaves them as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shift(pub BTreeMap<Modality, (f32, f32)>);

/// Evaluation mode throughout: nothing of the network changes. `known` gives for each class of the set its number in the
/// network.
pub(crate) fn run(
    network: &Network,
    loader: &Loader,
    shift: &Shift,
    subsets: &Subsets,
    known: &[u32],
    stopped: &dyn Fn() -> bool,
) -> Result<Pass, PassError> {
    match network.is_dense() {
        true => of_pixels(network, loader, subsets, known, stopped),
        false => of_samples(network, loader, shift, subsets, known, stopped),
    }
}

fn of_pixels(
    network: &Network,
    loader: &Loader,
    subsets: &Subsets,
    known: &[u32],
    stopped: &dyn Fn() -> bool,
) -> Result<Pass, PassError> {
    let classes = network.shapes().classes;
    let mut number = [LabelMaps::VOID; 256];
    number.iter_mut().zip(known).for_each(|(number, class)| *number = *class as u8);
    // All modalities, then each subset: the images by their position in the list.
    let mut images = vec![BTreeMap::new(); 1 + subsets.given.len()];
    let mut wrong = None;
    over(loader, &Shift::default(), &network.params().device(), stopped, |batch| {
        let Some(maps) = &batch.maps else { return Ok(()) };
        let size = [maps.shape[1], maps.shape[2]];
        for (set, images) in images.iter_mut().enumerate() {
            let logits = match set.checked_sub(1) {
                None => network.logits(batch.inputs())?,
                Some(set) => network.logits_given(&some(batch.inputs(), &subsets.given[set]), &subsets.standing)?,
            };
            for (i, &index) in batch.indices.iter().enumerate() {
                let predicted = predicted_map(&logits, i, size)?;
                let truth: Vec<u8> = maps.map(i).iter().map(|&class| number[usize::from(class)]).collect();
                let mut own = Confusion::new(classes);
                if let Err(error) = own.add_maps(&truth, &predicted, LabelMaps::VOID) {
                    wrong.get_or_insert(error);
                }
                images.insert(index, own);
            }
        }
        Ok(())
    })?;
    if let Some(error) = wrong {
        return Err(PassError::Eval(error));
    }
    let mut counted = images.iter().map(|images| Segmented::of(classes, images).map(Predicted::Pixels));
    let predicted = counted.next().unwrap_or(Err(EvalError::Empty { what: "images" })).map_err(PassError::Eval)?;
    let given = subsets.given.iter().cloned().zip(counted).map(|(set, counted)| Ok((set, counted?)));
    let given = given.collect::<Result<_, _>>().map_err(PassError::Eval)?;
    Ok(Pass { predicted, given, features: Features::default(), means: Standing::new() })
}

fn some(inputs: &BTreeMap<Modality, Array>, subset: &[Modality]) -> BTreeMap<Modality, Array> {
    inputs.iter().filter(|(m, _)| subset.contains(m)).map(|(m, x)| (*m, x.clone())).collect()
}

fn of_samples(
    network: &Network,
    loader: &Loader,
    shift: &Shift,
    subsets: &Subsets,
    known: &[u32],
    stopped: &dyn Fn() -> bool,
) -> Result<Pass, PassError> {
    let (mut ids, mut logits, mut classes) = (Vec::new(), Vec::new(), 0);
    let mut given = vec![Vec::new(); subsets.given.len()];
    let mut sums: BTreeMap<Modality, BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
    let mut all = Features::default();
    over(loader, shift, &network.params().device(), stopped, |batch| {
        let inputs = batch.inputs();
        let encoded = network.encode(inputs)?;
        let out = network.classify(&encoded)?;
        classes = out.shape().last().copied().unwrap_or(0);
        logits.extend_from_slice(out.as_slice());
        for (&modality, feature) in &encoded.features {
            let array = Array::from_tensor(feature)?;
            let width = array.shape().last().copied().unwrap_or(0);
            let (_, values) = all.values.entry(modality).or_insert((width, Vec::new()));
            values.extend_from_slice(array.as_slice());
        }
        for (&stage, means) in &encoded.means {
            for (&modality, rows) in means {
                let sum = Array::from_tensor(&rows.sum(0).map_err(NnError::from)?)?;
                let total = sums.entry(modality).or_default().entry(stage).or_insert_with(|| vec![0.0; sum.len()]);
                total.iter_mut().zip(sum.as_slice()).for_each(|(t, s)| *t += f64::from(*s));
            }
        }
        for (subset, logits) in subsets.given.iter().zip(&mut given) {
            logits.extend_from_slice(network.logits_given(&some(inputs, subset), &subsets.standing)?.as_slice());
        }
        all.labels.extend(batch.labels.iter().filter_map(|&label| known.get(label as usize)));
        ids.extend_from_slice(&batch.ids);
        Ok(())
    })?;
    let count = ids.len().max(1) as f64;
    let mut means = Standing::new();
    for (modality, stages) in sums {
        for (stage, sum) in stages {
            let mean: Vec<f32> = sum.iter().map(|s| (s / count) as f32).collect();
            means.entry(modality).or_default().insert(stage, Array::from_slice(&[mean.len()], &mean)?);
        }
    }
    let predicted = |logits| {
        let predictions = Predictions::new(ids.clone(), all.labels.clone(), classes, logits);
        predictions.map(Predicted::Samples).map_err(PassError::Eval)
    };
    let whole = predicted(logits)?;
    let given = subsets.given.iter().cloned().zip(given).map(|(set, logits)| Ok((set, predicted(logits)?)));
    Ok(Pass { predicted: whole, given: given.collect::<Result<_, PassError>>()?, means, features: all })
}

/// Calls `take` with every batch of a split at the network's device, its inputs shifted.
pub(crate) fn over(
    loader: &Loader,
    shift: &Shift,
    device: &Device,
    stopped: &dyn Fn() -> bool,
    take: impl FnMut(Feed) -> Result<(), TrainError>,
) -> Result<(), PassError> {
    match each_batch(&Shifted { loader, shift }, device, stopped, take)? {
        true => Ok(()),
        false => Err(PassError::Stopped),
    }
}

/// A split whose inputs are scaled and shifted as they are loaded.
struct Shifted<'a> {
    loader: &'a Loader,
    shift: &'a Shift,
}

impl BatchSource for Shifted<'_> {
    fn batches_per_epoch(&self) -> u64 {
        BatchSource::batches_per_epoch(self.loader)
    }

    fn epoch(&self, epoch: u64, start: u64) -> Batches<'_> {
        let shifted = |batch: Result<Batch, DataError>| {
            let mut batch = batch?;
            for (modality, (scale, offset)) in &self.shift.0 {
                if let Some(x) = batch.inputs.get_mut(modality) {
                    x.data.iter_mut().for_each(|v| *v = *v * scale + offset);
                }
            }
            Ok(batch)
        };
        Box::new(BatchSource::epoch(self.loader, epoch, start).map(shifted))
    }
}

impl Features {
    /// A tensor file: one entry per modality, and `labels`.
    ///
    /// # Errors
    /// [`StoreError::Tensors`] if a width does not fit its values.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let samples = self.labels.len();
        let mut out: tensors::Tensors = self
            .values
            .iter()
            .map(|(m, (width, values))| (m.name().to_owned(), (vec![samples, *width], values.clone())))
            .collect();
        // Class numbers are far below 2^24, up to which f32 is exact.
        out.insert("labels".into(), (vec![samples], self.labels.iter().map(|&l| l as f32).collect()));
        tensors::write(&out)
    }

    /// Reads what [`Features::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`StoreError::Tensors`] for bytes that are no tensor file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Features, StoreError> {
        let mut features = Features::default();
        for (name, (shape, values)) in tensors::read(bytes)? {
            match name.parse::<Modality>() {
                Ok(modality) => {
                    let width = shape.get(1).copied().unwrap_or(0);
                    features.values.insert(modality, (width, values));
                }
                Err(_) => features.labels = values.into_iter().map(|v| v as u32).collect(),
            }
        }
        Ok(features)
    }
}
