//! One pass of a network over a split: logits and, where probes want them, features.

use std::collections::BTreeMap;
use umt_data::{Batch, DataError, Loader};
use umt_eval::{EvalError, Predictions};
use umt_fusion::Network;
use umt_media::Modality;
use umt_nn::{Array, NnError};
use umt_store::{StoreError, tensors};

/// What a network says about every sample of a split, in the order of the list.
pub(crate) struct Pass {
    pub predictions: Predictions,
    pub features: Features,
}

/// Features of every encoder, with labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Features {
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
    /// The stop flag was raised.
    Stopped,
}

impl From<NnError> for PassError {
    fn from(error: NnError) -> Self {
        Self::Nn(error)
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
    stopped: &dyn Fn() -> bool,
) -> Result<Pass, PassError> {
    let (mut ids, mut logits, mut classes) = (Vec::new(), Vec::new(), 0);
    let mut all = Features::default();
    for batch in loader.epoch(0, 0) {
        if stopped() {
            return Err(PassError::Stopped);
        }
        let batch = batch.map_err(PassError::Data)?;
        let encoded = network.encode(&inputs(&batch, shift)?)?;
        let out = network.classify(&encoded)?;
        classes = out.shape().last().copied().unwrap_or(0);
        logits.extend_from_slice(out.as_slice());
        for (&modality, feature) in &encoded.features {
            let array = Array::from_tensor(feature)?;
            let width = array.shape().last().copied().unwrap_or(0);
            let (_, values) = all.values.entry(modality).or_insert((width, Vec::new()));
            values.extend_from_slice(array.as_slice());
        }
        all.labels.extend_from_slice(&batch.labels);
        ids.extend(batch.ids);
    }
    let predictions = Predictions::new(ids, all.labels.clone(), classes, logits).map_err(PassError::Eval)?;
    Ok(Pass { predictions, features: all })
}

pub(crate) fn inputs(batch: &Batch, shift: &Shift) -> Result<BTreeMap<Modality, Array>, NnError> {
    let mut inputs = BTreeMap::new();
    for (modality, x) in &batch.inputs {
        let mut array = Array::from_slice(&x.shape, &x.data)?;
        if let Some((scale, offset)) = shift.0.get(modality) {
            array.make_mut().iter_mut().for_each(|v| *v = *v * scale + offset);
        }
        inputs.insert(*modality, array);
    }
    Ok(inputs)
}

impl Features {
    /// A tensor file: one entry per modality, and `labels`.
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
