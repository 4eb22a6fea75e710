//! What passes between a network and an objective in one training step.

use crate::{Encoded, Fusion, Weights};
use candle_core::Tensor;
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{Array, Grads, NnError, Params};

/// What an objective sees of a forward pass, inside candle's graph. Cloning shares the tensors.
#[derive(Clone)]
pub struct Outputs<'a> {
    /// What the encoders say: features, and maps where they were asked for.
    pub encoded: Encoded,
    /// `[n, classes]`.
    pub logits: Tensor,
    fusion: &'a dyn Fusion,
    weights: &'a Weights,
    params: &'a Params,
}

impl<'a> Outputs<'a> {
    /// The logits of `encoded`, and all that an objective may ask further.
    pub fn new(
        fusion: &'a dyn Fusion,
        weights: &'a Weights,
        params: &'a Params,
        encoded: Encoded,
    ) -> Result<Self, NnError> {
        let logits = fusion.forward(weights, &encoded)?;
        Ok(Self { encoded, logits, fusion, weights, params })
    }

    /// Each encoder's output before fusion, `[n, width]`.
    pub fn features(&self) -> &BTreeMap<Modality, Tensor> {
        &self.encoded.features
    }

    /// Logits of what the encoders might have said, in the same graph, `[n, classes]`; see [`Encoded::map`].
    pub fn classify(&self, encoded: &Encoded) -> Result<Tensor, NnError> {
        self.fusion.forward(self.weights, encoded)
    }

    /// Logits of one modality alone, see [`Fusion::alone`].
    pub fn alone(&self, modality: Modality) -> Result<Tensor, NnError> {
        self.fusion.alone(self.weights, &self.encoded, modality)
    }

    /// The learnt parameters behind the features, in the graph; those of the objective among them.
    pub fn weights(&self) -> &Weights {
        self.weights
    }

    /// A buffer as it was before this step.
    pub fn buffer(&self, name: &str) -> Result<&Array, NnError> {
        self.params.value(name)
    }
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
    let mut values = Tensor::stack(&scalars, 0)?.to_vec1::<f32>()?;
    let loss = values.pop().unwrap_or(f32::NAN);
    log.extend(names.into_iter().zip(values));
    Ok((loss, log))
}

/// A forward and backward pass.
pub struct StepResult {
    /// The loss.
    pub loss: f32,
    /// Named figures of this step.
    pub log: BTreeMap<String, f32>,
    /// Gradients of every learnt parameter of the encoders that ran.
    pub grads: Grads,
}
