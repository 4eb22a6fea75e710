//! The decoder of the ESANet family (Seichter et al., "Efficient RGB-D semantic segmentation for indoor scene analysis",
//! ICRA 2021): from the encoders' feature maps to a class for every pixel.
//!
//! Two ResNets, fused at the stem and after each of four stages by squeeze-and-excitation and addition; pyramid pooling; three modules with
//! skip connections and learned upsampling. The same parts make the networks of one modality. All of it runs on `umt_nn`'s tape: maps are
//! large, and candle's graph would copy them.

mod config;
mod parts;
mod places;

pub use config::{DecoderConfig, Fused};
pub use places::{Places, sample_places};

use crate::Kept;
use parts::{Context, Gate, Module, conv, conv_norm, size};
use std::collections::BTreeMap;
use umt_encoders::Encoder;
use umt_media::Modality;
use umt_nn::layers::{Conv2d, ConvNorm, ParamBuilder, Upsample, upsample};
use umt_nn::{Array, NnError, Params, Tape, Value, init::ConvInit};
use umt_random::Rng;

/// Points at which modalities are fused: after the stem and after each stage.
pub const FUSION_POINTS: usize = 5;

/// The encoders of a network.
pub(crate) type Encoders = BTreeMap<Modality, Box<dyn Encoder>>;

/// Feature maps of each encoder, one per fusion point, before fusion.
pub(crate) type Maps<T> = BTreeMap<Modality, Vec<T>>;

/// Fusion between the stages, context and decoder; parameters are named as in the published implementation.
pub(crate) struct Decoder {
    config: DecoderConfig,
    /// Each modality's gate at each fusion point; empty where nothing is gated.
    gates: Vec<BTreeMap<Modality, Gate>>,
    /// For the maps of these stages, how they come to the decoder's width.
    skips: Vec<(usize, Option<ConvNorm>)>,
    context: Context,
    modules: Vec<Module>,
    conv_out: Conv2d,
    upsamples: [Upsample; 2],
}

/// What a forward pass leaves on the tape.
pub(crate) struct Decoded {
    /// `[n, h, w, classes]`; in training also at 1/8, 1/16 and 1/32 of the size.
    pub logits: Vec<Value>,
    /// Each encoder's maps before each fusion point.
    pub maps: Maps<Value>,
}

/// A network's parts, as a forward pass reads them.
pub(crate) struct Parts<'a> {
    pub encoders: &'a Encoders,
    pub decoder: &'a Decoder,
    pub params: &'a Params,
}

/// What enters a forward pass besides the parameters.
#[derive(Default)]
pub(crate) struct Entry<'a> {
    /// Inputs by modality; encoders without one are not run.
    pub inputs: BTreeMap<Modality, Value>,
    /// How much of each sample's maps is kept, by modality; all where it says nothing.
    pub kept: Option<&'a Kept>,
    /// Maps of encoders that saw nothing but their own modality: these need not run again.
    pub known: Option<&'a Maps<Value>>,
}

impl Decoder {
    /// Fresh parameters for encoders whose maps have these channels at each fusion point.
    pub fn new(
        config: &DecoderConfig,
        modalities: &[Modality],
        stages: &[usize],
        classes: usize,
        params: &mut Params,
        rng: &mut Rng,
    ) -> Result<Self, NnError> {
        let single = modalities.len() == 1;
        let mut pb = ParamBuilder::new(params, rng).with_conv_init(ConvInit::Uniform);
        let mut gates = Vec::new();
        for (index, &width) in stages.iter().enumerate() {
            let mut own = BTreeMap::new();
            // The order of their draws is the published one: depth before rgb is not alphabetical.
            for &modality in modalities.iter().rev().filter(|_| config.fuses(index, modalities.len())) {
                let path = if single { format!("se_layer{index}") } else { format!("se_layer{index}.se_{modality}") };
                own.insert(modality, Gate::new(width, pb.pp(path)));
            }
            gates.push(own);
        }
        let mut skips = Vec::new();
        for (stage, module) in [(1, 2), (2, 1), (3, 0)] {
            let (from, to) = (stages[stage], config.widths[module]);
            let conv = match from == to {
                true => None,
                false => Some(conv_norm(1, from, to, pb.pp(format!("skip_layer{stage}.0")))?),
            };
            skips.push((stage, conv));
        }
        let context = Context::new(config, stages.last().copied().unwrap_or(0), pb.pp("context_module"))?;
        let mut pb = pb.pp("decoder");
        let (mut modules, mut input) = (Vec::new(), config.widths[0]);
        for (index, &width) in (1..).zip(&config.widths) {
            let pb = pb.pp(format!("decoder_module_{index}"));
            modules.push(Module::new(config.blocks, input, width, classes, pb)?);
            input = width;
        }
        let conv_out = conv(3, input, classes, pb.pp("conv_out"));
        let upsamples = ["upsample1.conv", "upsample2.conv"].map(|name| upsample(classes, pb.pp(name)));
        Ok(Self { config: config.clone(), gates, skips, context, modules, conv_out, upsamples })
    }
}

impl Parts<'_> {
    /// The inputs of all encoders, on the tape.
    pub fn inputs(
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

    /// Whether the maps of an encoder depend on its own modality alone: with [`Fused::Rgb`] those of rgb hold depth.
    pub fn unimodal(&self, modality: Modality) -> bool {
        self.encoders.len() == 1 || self.decoder.config.fused == Fused::Decoder || modality != Modality::Rgb
    }

    /// Maps before each fusion point, and what comes out of it. Encoders without an input are not run.
    pub fn encode(&self, tape: &mut Tape, entry: &Entry<'_>) -> Result<(Maps<Value>, Vec<Value>), NnError> {
        let mut streams = entry.inputs.clone();
        let mut maps: Maps<Value> = streams.keys().map(|&modality| (modality, Vec::new())).collect();
        let mut fused = Vec::new();
        for index in 0..FUSION_POINTS {
            for (&modality, stream) in &mut streams {
                self.params.stop().check()?;
                let known = entry.known.filter(|_| self.unimodal(modality));
                *stream = match known.and_then(|maps| maps.get(&modality)?.get(index)) {
                    Some(map) => map.clone(),
                    None => self.encoders[&modality].stage(index, tape, self.params, stream.clone())?,
                };
                if let Some(maps) = maps.get_mut(&modality) {
                    maps.push(stream.clone());
                }
            }
            let sum = self.fuse(tape, index, &streams, entry.kept)?;
            let onwards = if streams.contains_key(&Modality::Rgb) { Modality::Rgb } else { Modality::Depth };
            let single = self.encoders.len() == 1;
            if (single || self.decoder.config.fused == Fused::Rgb && onwards == Modality::Rgb)
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
        kept: Option<&Kept>,
    ) -> Result<Option<Value>, NnError> {
        let Some(gates) = self.decoder.gates.get(index).filter(|gates| !gates.is_empty()) else { return Ok(None) };
        let mut gated = Vec::new();
        for (modality, stream) in streams {
            let mut gate = gates[modality].forward(tape, self.params, stream)?;
            if let Some(kept) = kept.and_then(|kept| kept.get(modality)) {
                gate = scale_rows(tape, &gate, kept)?;
            }
            gated.push((stream, gate));
        }
        let pairs: Vec<(&Value, &Value)> = gated.iter().map(|(stream, gate)| (*stream, gate)).collect();
        Ok(Some(tape.gated_sum(&pairs)?))
    }

    /// Encoders and decoder.
    pub fn forward(&self, tape: &mut Tape, entry: &Entry<'_>) -> Result<Decoded, NnError> {
        let (p, decoder) = (self.params, self.decoder);
        let sizes: Vec<[usize; 2]> = entry.inputs.values().map(size).collect::<Result<_, _>>()?;
        let &[whole, ..] = sizes.as_slice() else {
            return Err(NnError::Unsupported("a segmentation network needs an input".into()));
        };
        if sizes.iter().any(|size| *size != whole) {
            return Err(NnError::Unsupported(format!("rgb and depth must have one size, not {sizes:?}")));
        }
        let (maps, fused) = self.encode(tape, entry)?;
        let mut fused: Vec<Option<Value>> = fused.into_iter().map(Some).collect();
        // What is read no more is freed at once.
        let mut take = |index: usize| match fused.get_mut(index).and_then(Option::take) {
            Some(map) => Ok(map),
            None => Err(NnError::Unsupported(format!("the encoders have no stage {index}"))),
        };
        let half = size(&take(0)?)?;
        let mut skips = Vec::new();
        for (stage, conv) in &decoder.skips {
            let map = take(*stage)?;
            skips.push(match conv {
                Some(conv) => conv.forward(tape, p, &map, None)?,
                None => map,
            });
        }
        let mut x = decoder.context.forward(tape, p, take(FUSION_POINTS - 1)?)?;
        let mut logits = Vec::new();
        for module in &decoder.modules {
            p.stop().check()?;
            let Some(skip) = skips.pop() else { break };
            let (side, next) = module.forward(tape, p, &x, &skip)?;
            logits.extend(side);
            x = next;
        }
        p.stop().check()?;
        x = decoder.conv_out.forward(tape, p, &x)?;
        for (upsample, to) in decoder.upsamples.iter().zip([half, whole]) {
            x = upsample.forward(tape, p, &x, to, None)?;
        }
        logits.push(x);
        logits.reverse();
        Ok(Decoded { logits, maps })
    }
}

/// `x` `[n, 1, 1, c]` with each sample's values times its factor.
fn scale_rows(tape: &mut Tape, x: &Value, factors: &[f32]) -> Result<Value, NnError> {
    let shape = x.shape().to_vec();
    let channels = shape.last().copied().unwrap_or(0);
    if factors.len() * channels != x.array().len() {
        return Err(NnError::shape("kept samples", format!("{:?}", x.shape()), &[factors.len()]));
    }
    let values: Vec<f32> = factors.iter().flat_map(|factor| std::iter::repeat_n(*factor, channels)).collect();
    let factors = tape.input(Array::from_slice(&shape, &values)?.to_device(&x.array().device())?);
    tape.gated_sum(&[(x, &factors)])
}
