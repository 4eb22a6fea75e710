//! The network, and the seam between the encoders' tape and candle's.

use crate::decoder::{Decoder, Encoders, Entry, Maps, Parts};
use crate::encode::{Model, Pass};
use crate::maps::MapStep;
use crate::{
    Encoded, Fusion, HeadConfig, Loss, NetworkConfig, Outputs, Shapes, Standing, StepResult, Weights,
    step::{read_figures, step_back},
};
use std::collections::{BTreeMap, BTreeSet};
use umt_media::Modality;
use umt_nn::{Array, NnError, Params, Tape, Value, layers::ParamBuilder, optim::Squares};

/// Encoders by modality, what joins them, and all their parameters.
///
/// With a fusion parameters are named `encoder.<modality>.<torchvision name>`, `head.*` and the fusion's own; with a
/// decoder as in the published ESANet.
pub struct Network {
    config: NetworkConfig,
    encoders: Encoders,
    head: Head,
    pub(crate) shapes: Shapes,
    pub(crate) params: Params,
    /// Names of the parameters that candle does not differentiate by: the tape's.
    taped: BTreeSet<String>,
}

enum Head {
    Fusion(Box<dyn Fusion>),
    Decoder(Box<Decoder>),
}

impl Network {
    /// A network with weights drawn from `seed`. An encoder's draws depend on the seed, its modality
    /// and the set of modalities: every head starts from the same encoders, while a student does
    /// not start where its uni-modal teachers started.
    ///
    /// # Errors
    /// Those of [`NetworkConfig::check`].
    pub fn new(config: &NetworkConfig, seed: u64) -> Result<Self, NnError> {
        if config.encoders.is_empty() || config.classes == 0 {
            return Err(NnError::Unsupported("a network needs an encoder and a class".into()));
        }
        if let HeadConfig::Decoder(decoder) = &config.head {
            decoder.stages(&config.encoders, config.classes)?;
        }
        let mut params = Params::default();
        let mut shapes = Shapes { stages: BTreeMap::new(), classes: config.classes };
        let mut encoders = Encoders::new();
        let all: Vec<&str> = config.encoders.keys().map(|modality| modality.name()).collect();
        for (&modality, encoder) in &config.encoders {
            let id = umt_random::id_hash(&format!("{modality} of {}", all.join("+")));
            let mut rng = umt_random::stream(seed, "init.encoder", 0, id);
            let path = config.prefix(modality);
            let mut pb = ParamBuilder::new(&mut params, &mut rng);
            let encoder = encoder.build(pb.pp(path.trim_end_matches('.')))?;
            shapes.stages.insert(modality, encoder.stages().to_vec());
            encoders.insert(modality, encoder);
        }
        let head = match &config.head {
            HeadConfig::Fusion(fusion) => {
                let fusion = fusion.build();
                fusion.init(&shapes, &mut params, &mut umt_random::stream(seed, "init.fusion", 0, 0))?;
                Head::Fusion(fusion)
            }
            HeadConfig::Decoder(decoder) => {
                let modalities: Vec<Modality> = encoders.keys().copied().collect();
                let stages = shapes.stages.values().next().cloned().unwrap_or_default();
                let mut rng = umt_random::stream(seed, "init.decoder", 0, 0);
                let classes = config.classes;
                Head::Decoder(Box::new(Decoder::new(decoder, &modalities, &stages, classes, &mut params, &mut rng)?))
            }
        };
        let taped = params.iter().map(|(name, _)| name.clone());
        let taped = taped.filter(|name| matches!(head, Head::Decoder(_)) || name.starts_with("encoder.")).collect();
        Ok(Self { config: config.clone(), encoders, head, shapes, params, taped })
    }

    /// All parameters and buffers.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// All parameters and buffers, for an optimiser or a checkpoint.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Its settings.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// The modalities it needs.
    pub fn modalities(&self) -> impl Iterator<Item = Modality> + '_ {
        self.encoders.keys().copied()
    }

    /// Lengths of the features, channels of the maps, and the number of classes.
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// Whether each pixel has logits of its own, and not each sample.
    pub fn is_dense(&self) -> bool {
        matches!(self.head, Head::Decoder(_))
    }

    /// What the names of an encoder's parameters begin with.
    pub fn prefix(&self, modality: Modality) -> String {
        self.config.prefix(modality)
    }

    /// Whether an encoder sees its own modality alone: in the published form of a decoder ([`crate::Fused::Rgb`]) depth goes on
    /// through the encoder of rgb.
    pub fn is_unimodal(&self, modality: Modality) -> bool {
        match &self.head {
            Head::Decoder(decoder) => self.parts(decoder).unimodal(modality),
            Head::Fusion(_) => true,
        }
    }

    fn parts<'a>(&'a self, decoder: &'a Decoder) -> Parts<'a> {
        Parts { encoders: &self.encoders, decoder, params: &self.params }
    }

    /// The parameters after the encoders, as candle variables.
    ///
    /// # Errors
    /// When a device fails.
    pub fn weights(&self) -> Result<Weights, NnError> {
        Weights::except(&self.params, &|name| self.taped.contains(name))
    }

    /// What the encoders yield in evaluation mode; inputs it has no encoder for are left alone.
    ///
    /// # Errors
    /// A modality that `inputs` lacks; when a device fails.
    pub fn encode(&self, inputs: &BTreeMap<Modality, Array>) -> Result<Encoded, NnError> {
        let none = BTreeSet::new();
        match &self.head {
            Head::Fusion(fusion) => {
                Ok(self.pass(fusion.as_ref(), &|_| true, None, inputs, &self.weights()?, &none, false)?.encoded)
            }
            Head::Decoder(_) => {
                let mut features = BTreeMap::new();
                for (modality, maps) in self.map_values(inputs)? {
                    let last = maps.into_iter().last();
                    let last =
                        last.ok_or_else(|| NnError::Unsupported(format!("the encoder of {modality} has no stage")))?;
                    let (mut tape, value) = (Tape::eval(), Tape::eval().input(last));
                    features.insert(modality, tape.mean_inner(&value)?.array().to_tensor()?);
                }
                Ok(Encoded::of(features))
            }
        }
    }

    /// Features in evaluation mode, `[n, width]` by modality.
    ///
    /// # Errors
    /// Those of [`Network::encode`].
    pub fn features(&self, inputs: &BTreeMap<Modality, Array>) -> Result<BTreeMap<Modality, Array>, NnError> {
        let encoded = self.encode(inputs)?;
        encoded.features.iter().map(|(m, x)| Ok((*m, Array::from_tensor(x)?))).collect()
    }

    /// The encoders' maps `[n, h, w, channels]` after each of `stages`, in evaluation mode, by modality and stage.
    ///
    /// # Errors
    /// A stage that an encoder does not have; those of [`Network::encode`].
    pub fn maps(
        &self,
        inputs: &BTreeMap<Modality, Array>,
        stages: &BTreeSet<usize>,
    ) -> Result<BTreeMap<Modality, BTreeMap<usize, Array>>, NnError> {
        for (modality, own) in &self.shapes.stages {
            if let Some(stage) = stages.iter().find(|stage| **stage >= own.len()) {
                let reason = format!("no map of stage {modality}.{stage}: its stages are 0 to {}", own.len() - 1);
                return Err(NnError::Unsupported(reason));
            }
        }
        match &self.head {
            Head::Fusion(fusion) => {
                let pass = self.pass(fusion.as_ref(), &|_| true, None, inputs, &self.weights()?, stages, false)?;
                let own = |(m, maps): (Modality, BTreeMap<usize, candle_core::Tensor>)| {
                    let arrays = maps.into_iter().map(|(stage, x)| Ok((stage, Array::from_tensor(&x)?)));
                    Ok((m, arrays.collect::<Result<_, NnError>>()?))
                };
                pass.encoded.maps.into_iter().map(own).collect()
            }
            Head::Decoder(_) => {
                let chosen =
                    |maps: Vec<Array>| maps.into_iter().enumerate().filter(|(s, _)| stages.contains(s)).collect();
                Ok(self.map_values(inputs)?.into_iter().map(|(m, maps)| (m, chosen(maps))).collect())
            }
        }
    }

    /// Maps of a network with a decoder, before each fusion point.
    fn map_values(&self, inputs: &BTreeMap<Modality, Array>) -> Result<Maps<Array>, NnError> {
        let Head::Decoder(decoder) = &self.head else { return Ok(Maps::new()) };
        let (mut tape, parts) = (Tape::eval(), self.parts(decoder));
        let inputs = parts.inputs(&mut tape, inputs)?;
        let (maps, _) = parts.encode(&mut tape, &Entry { inputs, ..Entry::default() })?;
        let arrays = |maps: Vec<Value>| maps.iter().map(|map| map.array().clone()).collect();
        Ok(maps.into_iter().map(|(modality, maps)| (modality, arrays(maps))).collect())
    }

    /// As [`Self::maps`], of one encoder with nothing from the others: where fused maps go on through the RGB encoder, depth's share of them is zero.
    ///
    /// # Errors
    /// A modality that the network does not have; a network without a decoder; when a device fails.
    pub fn maps_alone(
        &self,
        modality: Modality,
        input: &Array,
        stages: &BTreeSet<usize>,
    ) -> Result<BTreeMap<usize, Array>, NnError> {
        let (Head::Decoder(decoder), true) = (&self.head, self.encoders.contains_key(&modality)) else {
            return Err(NnError::Unsupported(format!("this network has no encoder for {modality} alone")));
        };
        let mut tape = Tape::eval();
        let inputs = BTreeMap::from([(modality, tape.input(input.to_device(&self.params.device())?))]);
        let (mut maps, _) = self.parts(decoder).encode(&mut tape, &Entry { inputs, ..Entry::default() })?;
        let maps = maps.remove(&modality).unwrap_or_default().into_iter().enumerate();
        Ok(maps.filter(|(stage, _)| stages.contains(stage)).map(|(stage, x)| (stage, x.array().clone())).collect())
    }

    /// Logits from what the encoders yield, in evaluation mode, `[n, classes]`.
    ///
    /// # Errors
    /// A network with a decoder, whose logits are made of maps; when a device fails.
    pub fn classify(&self, encoded: &Encoded) -> Result<Array, NnError> {
        Array::from_tensor(&self.fusion()?.forward(&self.weights()?, encoded)?)
    }

    pub(crate) fn fusion(&self) -> Result<&dyn Fusion, NnError> {
        match &self.head {
            Head::Fusion(fusion) => Ok(fusion.as_ref()),
            Head::Decoder(_) => {
                Err(NnError::Unsupported("this network has a decoder, not a fusion of features".into()))
            }
        }
    }

    /// Logits in evaluation mode, `[n, classes]` or, with a decoder, `[n, h, w, classes]` at the size of the inputs.
    ///
    /// # Errors
    /// A modality that `inputs` lacks; when a device fails.
    pub fn logits(&self, inputs: &BTreeMap<Modality, Array>) -> Result<Array, NnError> {
        let Head::Decoder(decoder) = &self.head else { return self.classify(&self.encode(inputs)?) };
        let parts = self.parts(decoder);
        let mut tape = Tape::eval();
        let inputs = parts.inputs(&mut tape, inputs)?;
        decoded(&parts, tape, inputs)
    }

    /// Logits in evaluation mode of the modalities that `inputs` has. The encoders of the others do not
    /// run: gates and fusion meet what stands for them (`standing`), a fusion over tokens as a map of one place. A decoder
    /// gets the maps of those that are there.
    ///
    /// # Errors
    /// No modality of the network is there; a vector of another length than its encoder's channels.
    pub fn logits_given(&self, inputs: &BTreeMap<Modality, Array>, standing: &Standing) -> Result<Array, NnError> {
        match &self.head {
            Head::Fusion(fusion) => {
                let present = |modality| inputs.contains_key(&modality);
                let (weights, none) = (self.weights()?, BTreeSet::new());
                let pass = self.pass(fusion.as_ref(), &present, Some(standing), inputs, &weights, &none, false)?;
                self.classify(&pass.encoded)
            }
            Head::Decoder(decoder) => {
                let (mut tape, device) = (Tape::eval(), self.params.device());
                let own = inputs.iter().filter(|(m, _)| self.encoders.contains_key(m));
                let inputs =
                    own.map(|(m, x)| Ok((*m, tape.input(x.to_device(&device)?)))).collect::<Result<_, NnError>>()?;
                decoded(&self.parts(decoder), tape, inputs)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the one place that hands a pass its parts")]
    fn pass(
        &self,
        fusion: &dyn Fusion,
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
        let model = Model { encoders, absent, fusion, params: &self.params, weights };
        model.encode(inputs, maps, training)
    }

    /// One pass forward and back in training mode. Batch-norm statistics are updated; weights are
    /// not, that is the optimiser's part.
    ///
    /// # Errors
    /// A modality that `inputs` lacks; what the objective refuses; when a device fails.
    pub fn train_step(
        &mut self,
        inputs: &BTreeMap<Modality, Array>,
        objective: &mut dyn FnMut(Outputs<'_>) -> Result<Loss, NnError>,
    ) -> Result<StepResult, NnError> {
        self.train_step_of(&|_| true, &BTreeSet::new(), inputs, objective)
    }

    /// As [`Network::train_step`] with the encoders of some modalities alone: the others do not run, their statistics
    /// stay, and there are no gradients for them, so that an optimiser leaves them as they are. The objective sees the
    /// maps after the stages of `maps`, besides what the fusion asks for.
    ///
    /// # Errors
    /// Those of [`Network::train_step`].
    pub fn train_step_of(
        &mut self,
        running: &dyn Fn(Modality) -> bool,
        maps: &BTreeSet<usize>,
        inputs: &BTreeMap<Modality, Array>,
        objective: &mut dyn FnMut(Outputs<'_>) -> Result<Loss, NnError>,
    ) -> Result<StepResult, NnError> {
        let weights = self.weights()?;
        let (loss, (result, statistics)) = match &self.head {
            Head::Fusion(fusion) => {
                let mut pass = self.pass(fusion.as_ref(), running, None, inputs, &weights, maps, true)?;
                let outputs = Outputs::new(fusion.as_ref(), &weights, &self.params, pass.encoded.clone())?;
                let mut loss = objective(outputs)?;
                let grads = step_back(&mut loss, &weights, &mut |store, grads, last| {
                    pass.backward(store, &weights, grads, last)
                })?;
                (loss, (grads, std::mem::take(&mut pass.statistics)))
            }
            Head::Decoder(decoder) => {
                let step = MapStep::new(self.parts(decoder), inputs)?;
                let mut loss = objective(Outputs::dense(&step, &weights)?)?;
                let statistics = step.statistics();
                let mut back = step.into_backward();
                let grads = step_back(&mut loss, &weights, &mut |store, grads, last| back.run(&store, grads, last))?;
                (loss, (grads, statistics))
            }
        };
        let Loss { value, log, figures, buffers, finish, .. } = loss;
        let (grads, others) = result;
        let squares = if finish.is_empty() { Some(Squares::of(&grads, inputs.values())?) } else { None };
        let (loss, log) = read_figures(&value, log, figures)?;
        let mut result = StepResult { loss, log, grads, squares };
        for finish in finish {
            finish(&mut result, &others)?;
        }
        self.params.update(statistics)?;
        self.params.update(buffers)?;
        Ok(result)
    }
}

/// Logits of a network with a decoder, in evaluation mode.
fn decoded(parts: &Parts<'_>, mut tape: Tape, inputs: BTreeMap<Modality, Value>) -> Result<Array, NnError> {
    let mut logits = parts.forward(&mut tape, &Entry { inputs, ..Entry::default() })?.logits;
    Ok(logits.swap_remove(0).array().clone())
}
