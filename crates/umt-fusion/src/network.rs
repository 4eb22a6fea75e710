//! The network, and the seam between the encoders' tape and candle's.

use crate::encode::{Model, Pass};
use crate::{Encoded, Fusion, FusionConfig, Loss, Outputs, Shapes, Standing, StepResult, Weights, step::read_figures};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use umt_encoders::{Encoder, EncoderConfig};
use umt_media::Modality;
use umt_nn::{Array, NnError, Params, layers::ParamBuilder};

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

impl NetworkConfig {
    /// Refuses settings of encoders and fusion that have no meaning, or none together; makes no encoder's weights.
    pub fn check(&self) -> Result<(), NnError> {
        let mut shapes = Shapes { stages: BTreeMap::new(), classes: self.classes };
        for (&modality, encoder) in &self.encoders {
            shapes.stages.insert(modality, encoder.stages()?);
        }
        self.fusion.build().init(&shapes, &mut Params::default(), &mut umt_random::stream(0, "check", 0, 0))
    }
}

/// Encoders by modality, a fusion and all their parameters.
///
/// Parameters are named `encoder.<modality>.<torchvision name>`, `head.*` and the fusion's own.
pub struct Network {
    encoders: BTreeMap<Modality, Box<dyn Encoder>>,
    fusion: Box<dyn Fusion>,
    pub(crate) shapes: Shapes,
    pub(crate) params: Params,
}

impl Network {
    /// A network with weights drawn from `seed`. An encoder's draws depend on the seed, its modality
    /// and the set of modalities: every fusion starts from the same encoders, while a student does
    /// not start where its uni-modal teachers started.
    pub fn new(config: &NetworkConfig, seed: u64) -> Result<Self, NnError> {
        let mut params = Params::default();
        let mut shapes = Shapes { stages: BTreeMap::new(), classes: config.classes };
        let mut encoders = BTreeMap::new();
        let all: Vec<&str> = config.encoders.keys().map(|modality| modality.name()).collect();
        for (&modality, encoder) in &config.encoders {
            let id = umt_random::id_hash(&format!("{modality} of {}", all.join("+")));
            let mut rng = umt_random::stream(seed, "init.encoder", 0, id);
            let encoder = encoder.build(ParamBuilder::new(&mut params, &mut rng).pp("encoder").pp(modality))?;
            shapes.stages.insert(modality, encoder.stages().to_vec());
            encoders.insert(modality, encoder);
        }
        if encoders.is_empty() || config.classes == 0 {
            return Err(NnError::Unsupported("a network needs an encoder and a class".into()));
        }
        let fusion = config.fusion.build();
        let mut rng = umt_random::stream(seed, "init.fusion", 0, 0);
        fusion.init(&shapes, &mut params, &mut rng)?;
        Ok(Self { encoders, fusion, shapes, params })
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

    /// Lengths of the features, channels of the maps, and the number of classes.
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// What the encoders say in evaluation mode; inputs it has no encoder for are left alone.
    pub fn encode(&self, inputs: &BTreeMap<Modality, Array>) -> Result<Encoded, NnError> {
        self.encode_with(&BTreeSet::new(), inputs)
    }

    /// As [`Network::encode`], with the maps behind these stages too.
    pub fn encode_with(&self, maps: &BTreeSet<usize>, inputs: &BTreeMap<Modality, Array>) -> Result<Encoded, NnError> {
        let weights = Weights::of(&self.params)?;
        Ok(self.pass(&|_| true, None, inputs, &weights, maps, false)?.encoded)
    }

    /// Features in evaluation mode, `[n, width]` by modality.
    pub fn features(&self, inputs: &BTreeMap<Modality, Array>) -> Result<BTreeMap<Modality, Array>, NnError> {
        let encoded = self.encode(inputs)?;
        encoded.features.iter().map(|(m, x)| Ok((*m, Array::from_tensor(x)?))).collect()
    }

    /// Logits from what the encoders say, in evaluation mode.
    pub fn classify(&self, encoded: &Encoded) -> Result<Array, NnError> {
        Array::from_tensor(&self.fusion.forward(&Weights::of(&self.params)?, encoded)?)
    }

    /// Logits in evaluation mode, `[n, classes]`.
    pub fn logits(&self, inputs: &BTreeMap<Modality, Array>) -> Result<Array, NnError> {
        self.classify(&self.encode(inputs)?)
    }

    pub(crate) fn pass(
        &self,
        running: &dyn Fn(Modality) -> bool,
        standing: Option<&Standing>,
        inputs: &BTreeMap<Modality, Array>,
        weights: &Weights,
        maps: &BTreeSet<usize>,
        training: bool,
    ) -> Result<Pass, NnError> {
        let encoders =
            self.encoders.iter().filter(|(m, _)| running(**m)).map(|(m, encoder)| (*m, encoder.as_ref())).collect();
        let absent = self.shapes.stages.iter().filter(|(m, _)| !running(**m));
        let absent = standing.map(|standing| (absent.map(|(m, stages)| (*m, stages.as_slice())).collect(), standing));
        let model = Model { encoders, absent, fusion: self.fusion.as_ref(), params: &self.params, weights };
        model.encode(inputs, maps, training)
    }

    /// One pass forward and back in training mode. Batch-norm statistics are updated; weights are
    /// not, that is the optimiser's part.
    pub fn train_step(
        &mut self,
        inputs: &BTreeMap<Modality, Array>,
        objective: &mut dyn FnMut(&Outputs<'_>) -> Result<Loss, NnError>,
    ) -> Result<StepResult, NnError> {
        self.train_step_of(&|_| true, &BTreeSet::new(), inputs, objective)
    }

    /// As [`Network::train_step`] with the encoders of some modalities alone: the others do not run, their statistics
    /// stay, and there are no gradients for them, so that an optimiser leaves them as they are. The objective sees the
    /// maps behind the stages of `maps`, besides what the fusion asks for.
    pub fn train_step_of(
        &mut self,
        running: &dyn Fn(Modality) -> bool,
        maps: &BTreeSet<usize>,
        inputs: &BTreeMap<Modality, Array>,
        objective: &mut dyn FnMut(&Outputs<'_>) -> Result<Loss, NnError>,
    ) -> Result<StepResult, NnError> {
        let weights = Weights::of(&self.params)?;
        let mut pass = self.pass(running, None, inputs, &weights, maps, true)?;
        let outputs = Outputs::new(self.fusion.as_ref(), &weights, &self.params, pass.encoded.clone())?;
        let Loss { value, log, figures, apart, buffers, finish } = objective(&outputs)?;

        // The losses apart come first, while the tapes are whole.
        let mut others = BTreeMap::new();
        for (name, other) in apart {
            let store = other.backward()?;
            let mut grads = weights.grads(&store)?;
            pass.backward(store, &weights, &mut grads, false)?;
            others.insert(name, grads);
        }
        let store = value.backward()?;
        let mut grads = weights.grads(&store)?;
        pass.backward(store, &weights, &mut grads, true)?;

        let (loss, log) = read_figures(&value, log, figures)?;
        let mut result = StepResult { loss, log, grads };
        for finish in finish {
            finish(&mut result, &others)?;
        }
        self.params.update(pass.statistics)?;
        self.params.update(buffers)?;
        Ok(result)
    }
}
