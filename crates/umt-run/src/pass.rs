//! One pass of a network over a split: logits and, where probes want them, features.

use std::collections::BTreeMap;
use umt_data::{Batch, DataError, Loader};
use umt_eval::{EvalError, Predictions};
use umt_fusion::{Network, Standing};
use umt_media::Modality;
use umt_nn::{Array, Device, NnError};
use umt_store::{StoreError, tensors};
use umt_train::{BatchSource, Batches, Feed, TrainError, each_batch};

/// What a network says about every sample of a split, in the order of the list.
pub(crate) struct Pass {
    pub predictions: Predictions,
    pub features: Features,
    /// The mean over samples of each encoder's means behind stages: what may stand for a missing modality.
    pub means: Standing,
    /// What it says with each asked subset of the modalities.
    pub given: Vec<(Vec<Modality>, Predictions)>,
}

/// What to ask besides: logits of subsets of the modalities, with something standing for the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subsets {
    pub given: Vec<Vec<Modality>>,
    pub standing: Standing,
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

/// Evaluation mode throughout: nothing of the network changes.
pub(crate) fn run(
    network: &Network,
    loader: &Loader,
    shift: &Shift,
    subsets: &Subsets,
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
            let some = inputs.iter().filter(|(m, _)| subset.contains(m)).map(|(m, x)| (*m, x.clone())).collect();
            logits.extend_from_slice(network.logits_given(&some, &subsets.standing)?.as_slice());
        }
        all.labels.extend_from_slice(&batch.labels);
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
    let said = |logits| Predictions::new(ids.clone(), all.labels.clone(), classes, logits).map_err(PassError::Eval);
    let predictions = said(logits)?;
    let given = subsets.given.iter().cloned().zip(given).map(|(s, logits)| Ok((s, said(logits)?)));
    Ok(Pass { predictions, given: given.collect::<Result<_, PassError>>()?, means, features: all })
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
