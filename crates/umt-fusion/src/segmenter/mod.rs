//! Semantic segmentation of RGB-D pictures: the ESANet family (Seichter et al., "Efficient RGB-D semantic segmentation for indoor scene analysis",
//! ICRA 2021).
//!
//! Two ResNets, fused at the stem and behind each of four stages by squeeze-and-excitation and addition; pyramid pooling; a decoder of three modules with
//! skip connections and learned upsampling. The same parts make the networks of one modality. All of it runs on `umt_nn`'s tape, losses
//! included: maps are large, and candle's graph would copy them.

mod config;
mod parts;
mod rows;
mod step;

pub use config::{DecoderConfig, Fused, SegmenterConfig};
pub use rows::{Places, sample_places};
pub use step::{DenseLoss, DenseOutputs};

use parts::{conv_norm, gate, init_context, init_conv, init_conv_norm, init_gate, init_module, init_upsample, size};
use std::collections::BTreeMap;
use umt_encoders::Encoder;
use umt_media::Modality;
use umt_nn::{Array, ConvOptions, NnError, Params, Tape, Var};

/// Points at which modalities are fused: behind the stem and behind each stage.
pub const FUSION_POINTS: usize = 5;

/// A segmentation network and all its parameters, named as in the published implementation.
pub struct Segmenter {
    config: SegmenterConfig,
    encoders: BTreeMap<Modality, Box<dyn Encoder>>,
    params: Params,
}

/// What a forward pass leaves on the tape.
struct Pass {
    /// `[n, h, w, classes]`; in training also at 1/8, 1/16 and 1/32 of the size.
    logits: Vec<Var>,
    /// Each encoder's maps before each fusion point.
    maps: Maps,
}

/// Maps of each encoder, one per fusion point, before fusion.
type Maps = BTreeMap<Modality, Vec<Var>>;

impl Segmenter {
    /// A network with weights drawn from `seed`. Encoders start from the same weights wherever the same modalities meet, while a student does not
    /// start where its uni-modal teachers started.
    pub fn new(config: &SegmenterConfig, seed: u64) -> Result<Self, NnError> {
        let encoders = config.build()?;
        let mut network = Self { config: config.clone(), encoders, params: Params::default() };
        let mut params = Params::default();
        let names: Vec<&str> = network.encoders.keys().map(|modality| modality.name()).collect();
        for (&modality, encoder) in &network.encoders {
            let id = umt_random::id_hash(&format!("{modality} of {}", names.join("+")));
            let mut rng = umt_random::stream(seed, "init.encoder", 0, id);
            encoder.init(&mut params, &network.prefix(modality), &mut rng);
        }
        let mut rng = umt_random::stream(seed, "init.decoder", 0, 0);
        let rng = &mut rng;
        let (stages, decoder) = (network.stages(), &config.decoder);
        for (index, &width) in stages.iter().enumerate().filter(|(index, _)| network.fuses(*index)) {
            for name in network.gates(index) {
                init_gate(&mut params, &name, width, rng);
            }
        }
        for (layer, from, to) in network.skips() {
            if from != to {
                init_conv_norm(&mut params, &format!("skip_layer{layer}.0"), 1, from, to, rng);
            }
        }
        let last = stages.last().copied().unwrap_or(0);
        init_context(&mut params, decoder, last, rng);
        let mut input = decoder.widths[0];
        for (index, &width) in (1..).zip(&decoder.widths) {
            init_module(&mut params, index, decoder.blocks, input, width, config.classes, rng);
            input = width;
        }
        init_conv(&mut params, "decoder.conv_out", 3, input, config.classes, rng);
        init_upsample(&mut params, "decoder.upsample1", config.classes);
        init_upsample(&mut params, "decoder.upsample2", config.classes);
        network.params = params;
        Ok(network)
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
    pub fn config(&self) -> &SegmenterConfig {
        &self.config
    }

    /// The modalities it needs.
    pub fn modalities(&self) -> impl Iterator<Item = Modality> + '_ {
        self.encoders.keys().copied()
    }

    /// Channels of the encoders' maps at each fusion point.
    pub fn stages(&self) -> Vec<usize> {
        self.encoders.values().next().map(|encoder| encoder.stages()).unwrap_or_default()
    }

    /// Logits `[n, h, w, classes]` in evaluation mode, at the size of the inputs `[n, h, w, c]`.
    pub fn predict(&self, inputs: &BTreeMap<Modality, Array>) -> Result<Array, NnError> {
        let mut tape = Tape::eval();
        let Pass { mut logits, .. } = self.forward(&mut tape, inputs)?;
        Ok(logits.swap_remove(0).value().clone())
    }

    /// The encoders' maps before each of the [`FUSION_POINTS`], in evaluation mode; inputs it has no encoder for are left alone.
    pub fn maps(&self, inputs: &BTreeMap<Modality, Array>) -> Result<BTreeMap<Modality, Vec<Array>>, NnError> {
        let mut tape = Tape::eval();
        let inputs = self.inputs(&mut tape, inputs)?;
        let (maps, _) = self.encode(&mut tape, inputs)?;
        let arrays = |maps: Vec<Var>| maps.iter().map(|map| map.value().clone()).collect();
        Ok(maps.into_iter().map(|(modality, maps)| (modality, arrays(maps))).collect())
    }

    /// As [`Self::maps`], of one encoder with nothing from the others: where fused maps go on through the RGB encoder, depth's share of them is zero.
    pub fn maps_alone(&self, modality: Modality, input: &Array) -> Result<Vec<Array>, NnError> {
        if !self.encoders.contains_key(&modality) {
            return Err(NnError::Unsupported(format!("this network has no encoder for {modality}")));
        }
        let mut tape = Tape::eval();
        let input = tape.input(input.to_device(&self.params.device())?);
        let (mut maps, _) = self.encode(&mut tape, BTreeMap::from([(modality, input)]))?;
        Ok(maps.remove(&modality).unwrap_or_default().iter().map(|map| map.value().clone()).collect())
    }

    pub(crate) fn prefix(&self, modality: Modality) -> String {
        if self.encoders.len() == 1 { "encoder.".into() } else { format!("encoder_{modality}.") }
    }

    /// Whether there are gates at fusion point `index`: with uni-modal encoders nothing reads the stem's sum.
    fn fuses(&self, index: usize) -> bool {
        match self.encoders.len() {
            1 => self.config.decoder.squeeze_excite,
            _ => index > 0 || self.config.decoder.fused == Fused::Rgb,
        }
    }

    /// Name of each modality's gate at fusion point `index`.
    fn gate_name(&self, index: usize, modality: Modality) -> String {
        if self.encoders.len() == 1 { format!("se_layer{index}") } else { format!("se_layer{index}.se_{modality}") }
    }

    fn gates(&self, index: usize) -> Vec<String> {
        // The order of their draws.
        self.encoders.keys().rev().map(|&modality| self.gate_name(index, modality)).collect()
    }

    /// Skip connections: stage, its channels, and the decoder's there.
    fn skips(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (stages, widths) = (self.stages(), self.config.decoder.widths);
        [(1, 2), (2, 1), (3, 0)].into_iter().map(move |(stage, module)| (stage, stages[stage], widths[module]))
    }

    fn inputs(&self, tape: &mut Tape, inputs: &BTreeMap<Modality, Array>) -> Result<BTreeMap<Modality, Var>, NnError> {
        let (mut found, device) = (BTreeMap::new(), self.params.device());
        for &modality in self.encoders.keys() {
            let missing = || NnError::Unsupported(format!("the batch has no {modality}, which this network needs"));
            let value = inputs.get(&modality).ok_or_else(missing)?;
            found.insert(modality, tape.input(value.to_device(&device)?));
        }
        Ok(found)
    }

    /// Maps before each fusion point, and what comes out of it. Encoders without an input are not run.
    fn encode(&self, tape: &mut Tape, inputs: BTreeMap<Modality, Var>) -> Result<(Maps, Vec<Var>), NnError> {
        let mut streams = inputs;
        let mut maps: Maps = streams.keys().map(|&modality| (modality, Vec::new())).collect();
        let mut fused = Vec::new();
        for index in 0..FUSION_POINTS {
            for (&modality, stream) in &mut streams {
                self.params.stop().check()?;
                let encoder = &self.encoders[&modality];
                *stream = encoder.stage(index, tape, &self.params, &self.prefix(modality), stream.clone())?;
                if let Some(maps) = maps.get_mut(&modality) {
                    maps.push(stream.clone());
                }
            }
            let sum = self.fuse(tape, index, &streams)?;
            let onwards = if streams.contains_key(&Modality::Rgb) { Modality::Rgb } else { Modality::Depth };
            let single = self.encoders.len() == 1;
            if (single || self.config.decoder.fused == Fused::Rgb && onwards == Modality::Rgb)
                && let (Some(stream), Some(sum)) = (streams.get_mut(&onwards), &sum)
            {
                *stream = sum.clone();
            }
            fused.extend(sum.or_else(|| streams.get(&onwards).cloned()));
        }
        Ok((maps, fused))
    }

    /// The gated sum of all streams, where there is one.
    fn fuse(&self, tape: &mut Tape, index: usize, streams: &BTreeMap<Modality, Var>) -> Result<Option<Var>, NnError> {
        if !self.fuses(index) {
            return Ok(None);
        }
        let mut gated = Vec::new();
        for (&modality, stream) in streams {
            gated.push((stream, gate(tape, &self.params, &self.gate_name(index, modality), stream)?));
        }
        let pairs: Vec<(&Var, &Var)> = gated.iter().map(|(stream, gate)| (*stream, gate)).collect();
        Ok(Some(tape.gated_sum(&pairs)?))
    }

    fn forward(&self, tape: &mut Tape, inputs: &BTreeMap<Modality, Array>) -> Result<Pass, NnError> {
        let (p, decoder) = (&self.params, &self.config.decoder);
        let inputs = self.inputs(tape, inputs)?;
        let sizes: Vec<[usize; 2]> = inputs.values().map(size).collect::<Result<_, _>>()?;
        let &[whole, ..] = sizes.as_slice() else {
            return Err(NnError::Unsupported("a segmentation network needs an input".into()));
        };
        if sizes.iter().any(|size| *size != whole) {
            return Err(NnError::Unsupported(format!("rgb and depth must have one size, not {sizes:?}")));
        }
        let (maps, fused) = self.encode(tape, inputs)?;
        let mut fused: Vec<Option<Var>> = fused.into_iter().map(Some).collect();
        // What is read no more is freed at once.
        let mut take = |index: usize| match fused.get_mut(index).and_then(Option::take) {
            Some(map) => Ok(map),
            None => Err(NnError::Unsupported(format!("the encoders have no stage {index}"))),
        };
        let half = size(&take(0)?)?;
        let mut skips = Vec::new();
        for (layer, from, to) in self.skips() {
            let map = take(layer)?;
            skips.push(if from == to { map } else { conv_norm(tape, p, &format!("skip_layer{layer}.0"), 1, &map)? });
        }
        let mut x = parts::context(tape, p, decoder, take(FUSION_POINTS - 1)?)?;
        let mut logits = Vec::new();
        for index in 1..=decoder.widths.len() {
            p.stop().check()?;
            let Some(skip) = skips.pop() else { break };
            let (side, next) = parts::module(tape, p, index, decoder.blocks, &x, &skip)?;
            logits.extend(side);
            x = next;
        }
        p.stop().check()?;
        x = tape.conv2d(p, "decoder.conv_out", &x, ConvOptions::square(1, 1))?;
        x = tape.upsample(p, "decoder.upsample1.conv", &x, half, None)?;
        x = tape.upsample(p, "decoder.upsample2.conv", &x, whole, None)?;
        logits.push(x);
        logits.reverse();
        Ok(Pass { logits, maps })
    }
}
