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

use parts::{Context, Gate, Module, conv, conv_norm, size};
use std::collections::BTreeMap;
use umt_encoders::Encoder;
use umt_media::Modality;
use umt_nn::layers::{Conv2d, ConvNorm, ParamBuilder, Upsample, upsample};
use umt_nn::{Array, NnError, Params, Tape, Value, init::ConvInit};

/// Points at which modalities are fused: behind the stem and behind each stage.
pub const FUSION_POINTS: usize = 5;

/// A segmentation network and all its parameters, named as in the published implementation.
pub struct Segmenter {
    config: SegmenterConfig,
    encoders: BTreeMap<Modality, Box<dyn Encoder>>,
    /// Channels of the encoders' maps at each fusion point.
    stages: Vec<usize>,
    /// Each modality's gate at each fusion point; empty where nothing is gated.
    gates: Vec<BTreeMap<Modality, Gate>>,
    /// For the maps of these stages, how they come to the decoder's width.
    skips: Vec<(usize, Option<ConvNorm>)>,
    context: Context,
    modules: Vec<Module>,
    conv_out: Conv2d,
    upsamples: [Upsample; 2],
    params: Params,
}

/// What a forward pass leaves on the tape.
struct Pass {
    /// `[n, h, w, classes]`; in training also at 1/8, 1/16 and 1/32 of the size.
    logits: Vec<Value>,
    /// Each encoder's maps before each fusion point.
    maps: Maps,
}

/// Maps of each encoder, one per fusion point, before fusion.
type Maps = BTreeMap<Modality, Vec<Value>>;

impl Segmenter {
    /// A network with weights drawn from `seed`. Encoders start from the same weights wherever the same modalities meet, while a student does not
    /// start where its uni-modal teachers started.
    pub fn new(config: &SegmenterConfig, seed: u64) -> Result<Self, NnError> {
        let stages = config.stages()?;
        let (mut params, mut encoders) = (Params::default(), BTreeMap::new());
        let single = config.encoders.len() == 1;
        let names: Vec<&str> = config.encoders.keys().map(|modality| modality.name()).collect();
        for (&modality, encoder) in &config.encoders {
            let id = umt_random::id_hash(&format!("{modality} of {}", names.join("+")));
            let mut rng = umt_random::stream(seed, "init.encoder", 0, id);
            let path = if single { "encoder".into() } else { format!("encoder_{modality}") };
            encoders.insert(modality, encoder.build(ParamBuilder::new(&mut params, &mut rng).pp(path))?);
        }
        let mut rng = umt_random::stream(seed, "init.decoder", 0, 0);
        let mut pb = ParamBuilder::new(&mut params, &mut rng).with_conv_init(ConvInit::Uniform);
        let decoder = &config.decoder;
        let mut gates = Vec::new();
        for (index, &width) in stages.iter().enumerate() {
            let mut own = BTreeMap::new();
            // The order of their draws is the published one: depth before rgb is not alphabetical.
            for &modality in config.encoders.keys().rev().filter(|_| config.fuses(index)) {
                let path = if single { format!("se_layer{index}") } else { format!("se_layer{index}.se_{modality}") };
                own.insert(modality, Gate::new(width, pb.pp(path)));
            }
            gates.push(own);
        }
        let mut skips = Vec::new();
        for (stage, module) in [(1, 2), (2, 1), (3, 0)] {
            let (from, to) = (stages[stage], decoder.widths[module]);
            let conv = match from == to {
                true => None,
                false => Some(conv_norm(1, from, to, pb.pp(format!("skip_layer{stage}.0")))?),
            };
            skips.push((stage, conv));
        }
        let context = Context::new(decoder, stages.last().copied().unwrap_or(0), pb.pp("context_module"))?;
        let mut pb = pb.pp("decoder");
        let (mut modules, mut input) = (Vec::new(), decoder.widths[0]);
        for (index, &width) in (1..).zip(&decoder.widths) {
            let pb = pb.pp(format!("decoder_module_{index}"));
            modules.push(Module::new(decoder.blocks, input, width, config.classes, pb)?);
            input = width;
        }
        let conv_out = conv(3, input, config.classes, pb.pp("conv_out"));
        let upsamples = ["upsample1.conv", "upsample2.conv"].map(|name| upsample(config.classes, pb.pp(name)));
        let config = config.clone();
        Ok(Self { config, encoders, stages, gates, skips, context, modules, conv_out, upsamples, params })
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
    pub fn stages(&self) -> &[usize] {
        &self.stages
    }

    /// Logits `[n, h, w, classes]` in evaluation mode, at the size of the inputs `[n, h, w, c]`.
    pub fn predict(&self, inputs: &BTreeMap<Modality, Array>) -> Result<Array, NnError> {
        let mut tape = Tape::eval();
        let Pass { mut logits, .. } = self.forward(&mut tape, inputs)?;
        Ok(logits.swap_remove(0).array().clone())
    }

    /// The encoders' maps before each of the [`FUSION_POINTS`], in evaluation mode; inputs it has no encoder for are left alone.
    pub fn maps(&self, inputs: &BTreeMap<Modality, Array>) -> Result<BTreeMap<Modality, Vec<Array>>, NnError> {
        let mut tape = Tape::eval();
        let inputs = self.inputs(&mut tape, inputs)?;
        let (maps, _) = self.encode(&mut tape, inputs)?;
        let arrays = |maps: Vec<Value>| maps.iter().map(|map| map.array().clone()).collect();
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
        Ok(maps.remove(&modality).unwrap_or_default().iter().map(|map| map.array().clone()).collect())
    }

    pub(crate) fn prefix(&self, modality: Modality) -> String {
        if self.encoders.len() == 1 { "encoder.".into() } else { format!("encoder_{modality}.") }
    }

    fn inputs(
        &self,
        tape: &mut Tape,
        inputs: &BTreeMap<Modality, Array>,
    ) -> Result<BTreeMap<Modality, Value>, NnError> {
        let (mut found, device) = (BTreeMap::new(), self.params.device());
        for &modality in self.encoders.keys() {
            let missing = || NnError::Unsupported(format!("the batch has no {modality}, which this network needs"));
            let value = inputs.get(&modality).ok_or_else(missing)?;
            found.insert(modality, tape.input(value.to_device(&device)?));
        }
        Ok(found)
    }

    /// Maps before each fusion point, and what comes out of it. Encoders without an input are not run.
    fn encode(&self, tape: &mut Tape, inputs: BTreeMap<Modality, Value>) -> Result<(Maps, Vec<Value>), NnError> {
        let mut streams = inputs;
        let mut maps: Maps = streams.keys().map(|&modality| (modality, Vec::new())).collect();
        let mut fused = Vec::new();
        for index in 0..FUSION_POINTS {
            for (&modality, stream) in &mut streams {
                self.params.stop().check()?;
                let encoder = &self.encoders[&modality];
                *stream = encoder.stage(index, tape, &self.params, stream.clone())?;
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
    fn fuse(
        &self,
        tape: &mut Tape,
        index: usize,
        streams: &BTreeMap<Modality, Value>,
    ) -> Result<Option<Value>, NnError> {
        let Some(gates) = self.gates.get(index).filter(|gates| !gates.is_empty()) else { return Ok(None) };
        let mut gated = Vec::new();
        for (modality, stream) in streams {
            gated.push((stream, gates[modality].forward(tape, &self.params, stream)?));
        }
        let pairs: Vec<(&Value, &Value)> = gated.iter().map(|(stream, gate)| (*stream, gate)).collect();
        Ok(Some(tape.gated_sum(&pairs)?))
    }

    fn forward(&self, tape: &mut Tape, inputs: &BTreeMap<Modality, Array>) -> Result<Pass, NnError> {
        let p = &self.params;
        let inputs = self.inputs(tape, inputs)?;
        let sizes: Vec<[usize; 2]> = inputs.values().map(size).collect::<Result<_, _>>()?;
        let &[whole, ..] = sizes.as_slice() else {
            return Err(NnError::Unsupported("a segmentation network needs an input".into()));
        };
        if sizes.iter().any(|size| *size != whole) {
            return Err(NnError::Unsupported(format!("rgb and depth must have one size, not {sizes:?}")));
        }
        let (maps, fused) = self.encode(tape, inputs)?;
        let mut fused: Vec<Option<Value>> = fused.into_iter().map(Some).collect();
        // What is read no more is freed at once.
        let mut take = |index: usize| match fused.get_mut(index).and_then(Option::take) {
            Some(map) => Ok(map),
            None => Err(NnError::Unsupported(format!("the encoders have no stage {index}"))),
        };
        let half = size(&take(0)?)?;
        let mut skips = Vec::new();
        for (stage, conv) in &self.skips {
            let map = take(*stage)?;
            skips.push(match conv {
                Some(conv) => conv.forward(tape, p, &map, None)?,
                None => map,
            });
        }
        let mut x = self.context.forward(tape, p, take(FUSION_POINTS - 1)?)?;
        let mut logits = Vec::new();
        for module in &self.modules {
            p.stop().check()?;
            let Some(skip) = skips.pop() else { break };
            let (side, next) = module.forward(tape, p, &x, &skip)?;
            logits.extend(side);
            x = next;
        }
        p.stop().check()?;
        x = self.conv_out.forward(tape, p, &x)?;
        for (upsample, to) in self.upsamples.iter().zip([half, whole]) {
            x = upsample.forward(tape, p, &x, to, None)?;
        }
        logits.push(x);
        logits.reverse();
        Ok(Pass { logits, maps })
    }
}
