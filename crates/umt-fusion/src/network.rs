//! The network, and the seam between the encoders' tape and candle's.

use crate::{Fusion, FusionConfig, Weights};
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_encoders::{Encoder, EncoderConfig};
use umt_media::Modality;
use umt_nn::{Array, Grads, NnError, Params, Tape};

/// Everything that decides a network's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// One encoder per modality.
    pub encoders: BTreeMap<Modality, EncoderConfig>,
    /// How their features become logits.
    pub fusion: FusionConfig,
    /// Number of classes.
    pub classes: usize,
}

/// What an objective sees of a forward pass, inside candle's graph.
pub struct Outputs {
    /// Each encoder's output before fusion, `[n, width]`.
    pub features: BTreeMap<Modality, Tensor>,
    /// `[n, classes]`.
    pub logits: Tensor,
}

/// A loss in candle's graph, and what is worth logging beside it.
pub struct Loss {
    /// The scalar to go back from.
    pub value: Tensor,
    /// Named figures of this step.
    pub log: BTreeMap<String, f32>,
}

/// A forward and backward pass.
pub struct StepResult {
    /// The loss.
    pub loss: f32,
    /// Named figures of this step.
    pub log: BTreeMap<String, f32>,
    /// Gradients of every learnt parameter.
    pub grads: Grads,
}

/// Encoders by modality, a fusion and all their parameters.
///
/// Parameters are named `encoder.<modality>.<torchvision name>`, `head.*` and the fusion's own.
pub struct Network {
    encoders: BTreeMap<Modality, Box<dyn Encoder>>,
    fusion: Box<dyn Fusion>,
    params: Params,
}

impl Network {
    /// A network with weights drawn from `seed`. An encoder's draws depend on the seed, its modality
    /// and the set of modalities: every fusion starts from the same encoders, while a student does
    /// not start where its uni-modal teachers started.
    pub fn new(config: &NetworkConfig, seed: u64) -> Result<Self, NnError> {
        let mut params = Params::default();
        let (mut encoders, mut widths) = (BTreeMap::new(), BTreeMap::new());
        let all: Vec<&str> = config.encoders.keys().map(|modality| modality.name()).collect();
        for (&modality, encoder) in &config.encoders {
            let encoder = encoder.build()?;
            let id = umt_random::id_hash(&format!("{modality} of {}", all.join("+")));
            let mut rng = umt_random::stream(seed, "init.encoder", 0, id);
            encoder.init(&mut params, &prefix(modality), &mut rng);
            widths.insert(modality, encoder.width());
            encoders.insert(modality, encoder);
        }
        if encoders.is_empty() || config.classes == 0 {
            return Err(NnError::Setting("a network needs an encoder and a class".into()));
        }
        let fusion = config.fusion.build();
        let mut rng = umt_random::stream(seed, "init.fusion", 0, 0);
        fusion.init(&mut params, &widths, config.classes, &mut rng);
        Ok(Self { encoders, fusion, params })
    }

    /// All parameters and buffers.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// All parameters and buffers, for an optimiser or a checkpoint.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// The modalities it needs.
    pub fn modalities(&self) -> impl Iterator<Item = Modality> + '_ {
        self.encoders.keys().copied()
    }

    /// Features in evaluation mode, `[n, width]` by modality; inputs it has no encoder for are
    /// left alone.
    pub fn features(&self, inputs: &BTreeMap<Modality, Array>) -> Result<BTreeMap<Modality, Array>, NnError> {
        let mut features = BTreeMap::new();
        for (&modality, encoder) in &self.encoders {
            let mut tape = Tape::eval();
            let input = tape.input(input_of(inputs, modality)?);
            let output = encoder.forward(&mut tape, &self.params, &prefix(modality), &input)?;
            features.insert(modality, output.value().clone());
        }
        Ok(features)
    }

    /// Logits from features, in evaluation mode.
    pub fn classify(&self, features: &BTreeMap<Modality, Array>) -> Result<Array, NnError> {
        let weights = Weights::of(&self.params)?;
        let tensors: BTreeMap<Modality, Tensor> =
            features.iter().map(|(m, x)| Ok((*m, x.to_tensor()?))).collect::<Result<_, NnError>>()?;
        Array::from_tensor(&self.fusion.forward(&weights, &tensors)?)
    }

    /// Logits in evaluation mode, `[n, classes]`.
    pub fn logits(&self, inputs: &BTreeMap<Modality, Array>) -> Result<Array, NnError> {
        self.classify(&self.features(inputs)?)
    }

    /// One pass forward and back in training mode. Batch-norm statistics are updated; weights are
    /// not, that is the optimiser's part.
    pub fn train_step(
        &mut self,
        inputs: &BTreeMap<Modality, Array>,
        objective: &mut dyn FnMut(&Outputs) -> Result<Loss, NnError>,
    ) -> Result<StepResult, NnError> {
        // One tape per encoder: they share nothing before the fusion.
        let mut passes = Vec::new();
        let mut variables = BTreeMap::new();
        let mut statistics = Vec::new();
        for (&modality, encoder) in &self.encoders {
            let mut tape = Tape::train();
            let input = tape.input(input_of(inputs, modality)?);
            let output = encoder.forward(&mut tape, &self.params, &prefix(modality), &input)?;
            statistics.extend(tape.take_statistics());
            variables.insert(modality, Var::from_tensor(&output.value().to_tensor()?)?);
            passes.push((modality, tape, output));
        }

        let weights = Weights::of(&self.params)?;
        let features: BTreeMap<Modality, Tensor> =
            variables.iter().map(|(m, var)| (*m, var.as_tensor().clone())).collect();
        let logits = self.fusion.forward(&weights, &features)?;
        let Loss { value, log } = objective(&Outputs { features, logits })?;
        let loss = value.to_scalar::<f32>()?;
        let store = value.backward()?;

        let mut grads = weights.grads(&store)?;
        for (modality, tape, output) in passes {
            let seed = match variables.get(&modality).and_then(|var| store.get(var)) {
                Some(grad) => Array::from_tensor(grad)?,
                None => Array::zeros(output.shape()),
            };
            grads.extend(tape.backward(vec![(output, seed)])?.params);
        }
        self.params.update(statistics)?;
        Ok(StepResult { loss, log, grads })
    }
}

fn prefix(modality: Modality) -> String {
    format!("encoder.{modality}.")
}

fn input_of(inputs: &BTreeMap<Modality, Array>, modality: Modality) -> Result<Array, NnError> {
    let missing = || NnError::Setting(format!("the batch has no {modality}, which this network needs"));
    inputs.get(&modality).cloned().ok_or_else(missing)
}
