//! What passes between a network and an objective in one training step.

use crate::maps::MapStep;
use crate::{Encoded, Fusion, Weights};
use candle_core::{Tensor, backprop::GradStore};
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{Array, Device, Grads, NnError, Params, Value, compute::squared_distance, optim::Squares};

/// How much of each sample is kept, by modality: 1 for all, 0 for nothing; a modality that is not there is kept whole.
pub type Kept = BTreeMap<Modality, Vec<f32>>;

/// Logits of a training step.
#[derive(Clone, Debug)]
pub enum Logits {
    /// One row per sample in candle's graph, `[n, classes]`.
    Rows(Tensor),
    /// Of every pixel on the tape: `[n, h, w, classes]` at 1/1, 1/8, 1/16 and 1/32 of the size (rounded up).
    Maps(Vec<Value>),
}

/// What an objective sees of a forward pass.
pub struct Outputs<'a> {
    /// What the encoders yield: features, and maps where they were asked for.
    pub encoded: Encoded,
    /// The network's logits.
    pub logits: Logits,
    head: Head<'a>,
    weights: &'a Weights,
    params: &'a Params,
}

/// What makes logits again, of less or of other features.
enum Head<'a> {
    Fusion(&'a dyn Fusion),
    Decoder(&'a MapStep<'a>),
}

impl<'a> Outputs<'a> {
    /// The logits of `encoded`, and all that an objective may ask further.
    ///
    /// # Errors
    /// What the fusion refuses; when a device fails.
    pub fn new(
        fusion: &'a dyn Fusion,
        weights: &'a Weights,
        params: &'a Params,
        encoded: Encoded,
    ) -> Result<Self, NnError> {
        let logits = Logits::Rows(fusion.forward(weights, &encoded)?);
        Ok(Self { encoded, logits, head: Head::Fusion(fusion), weights, params })
    }

    /// The outputs of a network with a decoder.
    pub(crate) fn dense(step: &'a MapStep<'a>, weights: &'a Weights) -> Result<Self, NnError> {
        let features = step.last_maps().map(|(m, map)| Ok((m, step.mean(map)?))).collect::<Result<_, NnError>>()?;
        let (encoded, logits) = (Encoded::of(features), Logits::Maps(step.logits().to_vec()));
        Ok(Self { encoded, logits, head: Head::Decoder(step), weights, params: step.params() })
    }

    /// Each encoder's output before fusion, the global mean of its last map, `[n, width]`.
    pub fn features(&self) -> &BTreeMap<Modality, Tensor> {
        &self.encoded.features
    }

    /// Logits at full size in candle's graph, `[n, classes]` or `[n, h, w, classes]`; those of pixels are copied.
    ///
    /// # Errors
    /// When a device fails.
    pub fn tensor(&self, logits: &Logits) -> Result<Tensor, NnError> {
        match (logits, &self.head) {
            (Logits::Rows(rows), _) => Ok(rows.clone()),
            (Logits::Maps(maps), Head::Decoder(step)) => match maps.first() {
                Some(map) => step.show(map),
                None => Err(NnError::Unsupported("no logits".into())),
            },
            (Logits::Maps(_), Head::Fusion(_)) => Err(not_dense()),
        }
    }

    /// What a linear classifier of one encoder reads, with the channels last: its feature `[n, width]`, or its last map
    /// `[n, h, w, width]` where each pixel has a class.
    ///
    /// # Errors
    /// A modality that the network does not have; when a device fails.
    pub fn classified(&self, modality: Modality) -> Result<Tensor, NnError> {
        let missing = || NnError::Unsupported(format!("the network has no encoder of {modality}"));
        match &self.head {
            Head::Fusion(_) => self.features().get(&modality).cloned().ok_or_else(missing),
            Head::Decoder(step) => {
                let (_, map) = step.last_maps().find(|(m, _)| *m == modality).ok_or_else(missing)?;
                step.show(map)
            }
        }
    }

    /// An encoder's map after a stage in candle's graph, if it was asked for.
    ///
    /// # Errors
    /// A map that is not there; when a device fails.
    pub fn map(&self, modality: Modality, stage: usize) -> Result<Tensor, NnError> {
        let found = match &self.head {
            Head::Fusion(_) => self.encoded.maps.get(&modality).and_then(|maps| maps.get(&stage)).cloned(),
            Head::Decoder(step) => step.map(modality, stage).map(|map| step.show(map)).transpose()?,
        };
        found.ok_or_else(|| NnError::Unsupported(format!("the network has no map {modality}.{stage}")))
    }

    /// Mean over all values of the squared difference of an encoder's map to `target`, in candle's graph. `weight` is
    /// what it will be multiplied by: where maps stay on the tape its gradient is made for that in the same pass.
    ///
    /// # Errors
    /// A map that is not there, or of another shape; when a device fails.
    pub fn squared_distance(
        &self,
        modality: Modality,
        stage: usize,
        target: &Array,
        weight: f64,
    ) -> Result<Tensor, NnError> {
        let expect = |shape: &[usize]| match shape == target.shape() {
            true => Ok(()),
            false => {
                let expected = format!("{shape:?} as the student's {modality}.{stage}");
                Err(NnError::shape("teacher map", expected, target.shape()))
            }
        };
        if let Head::Decoder(step) = &self.head {
            let missing = || NnError::Unsupported(format!("the network has no map {modality}.{stage}"));
            let own = step.map(modality, stage).ok_or_else(missing)?;
            expect(own.shape())?;
            let factor = 1.0 / own.array().len().max(1) as f64;
            let at = if weight == 0.0 { 1.0 } else { weight };
            let (sum, grad) = squared_distance(own.array(), target, (2.0 * at * factor) as f32)?;
            return step.term(sum * factor, at as f32, vec![(own.clone(), grad)]);
        }
        let own = self.map(modality, stage)?;
        expect(own.dims())?;
        Ok((own - target.to_tensor()?)?.sqr()?.mean_all()?)
    }

    /// A scalar of candle's graph that was computed on maps, with its gradient for each.
    ///
    /// # Errors
    /// A network without a decoder; when a device fails.
    pub fn term(&self, value: f64, grads: Vec<(Value, Array)>) -> Result<Tensor, NnError> {
        match &self.head {
            Head::Decoder(step) => step.term(value, 1.0, grads),
            Head::Fusion(_) => Err(not_dense()),
        }
    }

    /// Logits of other features, in the same graph, `[n, classes]`; see [`Encoded::map`].
    ///
    /// # Errors
    /// A network with a decoder, whose logits are made of maps; when a device fails.
    pub fn classify(&self, encoded: &Encoded) -> Result<Tensor, NnError> {
        match &self.head {
            Head::Fusion(fusion) => fusion.forward(self.weights, encoded),
            Head::Decoder(_) => Err(NnError::Unsupported("a decoder makes logits of maps, not of features".into())),
        }
    }

    /// Logits where of each sample some modalities are kept and the features of the others are zero: in the same graph. A decoder
    /// adds up the maps of those that are kept.
    ///
    /// # Errors
    /// When a device fails.
    pub fn given(&self, kept: &Kept) -> Result<Logits, NnError> {
        match &self.head {
            Head::Decoder(step) => Ok(Logits::Maps(step.given(kept)?)),
            Head::Fusion(fusion) => {
                let some = self.encoded.map(|modality, x| match kept.get(&modality) {
                    None => Ok(x.clone()),
                    Some(rows) if rows.iter().all(|row| *row == 1.0) => Ok(x.clone()),
                    Some(rows) if rows.iter().all(|row| *row == 0.0) => Ok(x.zeros_like()?),
                    Some(rows) => {
                        let shape: Vec<usize> =
                            (0..x.rank()).map(|axis| if axis == 0 { rows.len() } else { 1 }).collect();
                        Ok(x.broadcast_mul(&Tensor::from_slice(rows, shape, x.device())?)?)
                    }
                })?;
                Ok(Logits::Rows(fusion.forward(self.weights, &some)?))
            }
        }
    }

    /// Logits of one modality alone, see [`Fusion::alone`]; with a decoder those of its maps alone.
    ///
    /// # Errors
    /// When a device fails.
    pub fn alone(&self, modality: Modality) -> Result<Logits, NnError> {
        match &self.head {
            Head::Fusion(fusion) => Ok(Logits::Rows(fusion.alone(self.weights, &self.encoded, modality)?)),
            Head::Decoder(_) => {
                let samples = self.samples()?;
                let rows = |m: &Modality| vec![f32::from(u8::from(*m == modality)); samples];
                self.given(&self.features().keys().map(|m| (*m, rows(m))).collect())
            }
        }
    }

    /// The number of samples.
    ///
    /// # Errors
    /// A network without an encoder.
    pub fn samples(&self) -> Result<usize, NnError> {
        let feature = self.features().values().next();
        Ok(feature.ok_or_else(crate::fusion::no_modality)?.dim(0)?)
    }

    /// The trainable parameters after the encoders, in the graph; those of the objective among them.
    pub fn weights(&self) -> &Weights {
        self.weights
    }

    /// A buffer as it was before this step.
    ///
    /// # Errors
    /// A name that is not there.
    pub fn buffer(&self, name: &str) -> Result<&Array, NnError> {
        self.params.value(name)
    }
}

fn not_dense() -> NnError {
    NnError::Unsupported("maps of logits need a network with a decoder".into())
}

/// The gradients of the loss, and those of [`Loss::apart`] by name. `backward` goes on from candle's variables; the
/// flag says that no further loss follows.
pub(crate) fn step_back(
    loss: &mut Loss,
    weights: &Weights,
    backward: &mut dyn FnMut(GradStore, &mut Grads, bool) -> Result<(), NnError>,
) -> Result<(Grads, BTreeMap<String, Grads>), NnError> {
    // The losses apart come first, while the tapes are whole.
    let mut others = BTreeMap::new();
    for (name, other) in std::mem::take(&mut loss.apart) {
        let store = other.backward()?;
        let mut grads = weights.grads(&store)?;
        backward(store, &mut grads, false)?;
        others.insert(name, grads);
    }
    let store = loss.value.backward()?;
    let mut grads = weights.grads(&store)?;
    backward(store, &mut grads, true)?;
    Ok((grads, others))
}

/// What an objective does with the gradients, before the optimiser sees them: the second argument holds those of
/// [`Loss::apart`], by name.
pub type Finish = Box<dyn FnOnce(&mut StepResult, &BTreeMap<String, Grads>) -> Result<(), NnError>>;

/// A loss in candle's graph, and all that an objective asks of a step besides.
pub struct Loss {
    /// The scalar to go back from.
    pub value: Tensor,
    /// Named figures of this step that are known already.
    pub log: BTreeMap<String, f32>,
    /// Named figures that are scalars of the graph still: they are read together with the loss when all work of the step is under way, so that a
    /// device is waited for once.
    pub figures: BTreeMap<String, Tensor>,
    /// Further scalars whose gradients are wanted apart from those of `value`. An encoder that one of them does not
    /// reach has no gradient there.
    pub apart: BTreeMap<String, Tensor>,
    /// Buffers as they are after this step: what an objective remembers lies in the parameters, so that a checkpoint
    /// holds it.
    pub buffers: Vec<(String, Array)>,
    /// What becomes of the gradients, in this order.
    pub finish: Vec<Finish>,
}

impl From<Tensor> for Loss {
    /// A scalar and nothing else.
    fn from(value: Tensor) -> Self {
        let (log, figures, apart, buffers, finish) = Default::default();
        Self { value, log, figures, apart, buffers, finish }
    }
}

impl Loss {
    /// Keeps a scalar of the graph as a figure of this step.
    pub fn record(&mut self, name: impl Into<String>, scalar: &Tensor) {
        self.figures.insert(name.into(), scalar.detach());
    }
}

/// The value of a loss, and its figures, those known already and those still in the graph; a device is waited for once.
pub fn read_figures(
    value: &Tensor,
    mut log: BTreeMap<String, f32>,
    figures: BTreeMap<String, Tensor>,
) -> Result<(f32, BTreeMap<String, f32>), NnError> {
    let (names, mut scalars): (Vec<String>, Vec<Tensor>) = figures.into_iter().unzip();
    scalars.push(value.detach());
    let values = Array::from_tensor(&Tensor::stack(&scalars, 0)?)?.to_device(&Device::Cpu)?;
    log.extend(names.into_iter().zip(values.as_slice().iter().copied()));
    Ok((values.as_slice().last().copied().unwrap_or(f32::NAN), log))
}

/// A forward and backward pass.
pub struct StepResult {
    /// The loss.
    pub loss: f32,
    /// Named figures of this step.
    pub log: BTreeMap<String, f32>,
    /// Gradients of every learnt parameter of the encoders that ran.
    pub grads: Grads,
    /// Σx² of the gradients, asked for before the loss was waited for; none where they were not, or changed since.
    pub squares: Option<Squares>,
}
