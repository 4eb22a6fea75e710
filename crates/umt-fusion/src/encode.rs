//! All encoders forward and back, with the fusion's gates between their stages.
//!
//! Encoders share nothing but gates, so each has a tape of its own, and a tape ends where a gate
//! comes in: the map goes on to the next tape as a leaf, beside the gate that candle computed from
//! the maps' means. On the way back the last tapes give the gradients of those leaves, candle carries
//! the gates' to the means, and the tapes before take both.

use crate::{Encoded, Fusion, Standing, Weights, fusion::no_modality, missing::stand_in};
use candle_core::{Tensor, Var, backprop::GradStore};
use std::collections::{BTreeMap, BTreeSet};
use umt_encoders::Encoder;
use umt_media::Modality;
use umt_nn::{Array, Grads, Key, NnError, Params, Tape, Value};

/// One encoder's part of a segment.
struct Stream {
    /// None once the last loss went back.
    tape: Option<Tape>,
    /// The map and the gate that came in, where a gate did.
    entry: Option<[Value; 2]>,
    /// The map handed on, in the last segment the feature.
    end: Value,
    /// What candle sees of the tape.
    shown: Vec<(Value, Var)>,
}

/// What runs without an exchange between modalities.
struct Segment {
    streams: BTreeMap<Modality, Stream>,
    /// The gates that came in, inside candle's graph.
    gates: BTreeMap<Modality, Tensor>,
}

/// A forward pass of all encoders.
pub(crate) struct Pass {
    /// What the fusion and the objective see; variables of candle's graph.
    pub encoded: Encoded,
    /// Running statistics after this pass.
    pub statistics: Vec<(Key, Array)>,
    segments: Vec<Segment>,
}

/// What a pass reads and does not change.
pub(crate) struct Model<'a> {
    /// Those that run.
    pub encoders: BTreeMap<Modality, &'a dyn Encoder>,
    /// The channels behind each stage of those that are missing, and what stands for them.
    pub absent: Option<(BTreeMap<Modality, &'a [usize]>, &'a Standing)>,
    pub fusion: &'a dyn Fusion,
    pub params: &'a Params,
    pub weights: &'a Weights,
}

impl Model<'_> {
    /// Runs all encoders in training or evaluation mode. Maps behind the stages of `maps` are shown to
    /// candle, and those of the last stage if the fusion reads them.
    pub fn encode(
        &self,
        inputs: &BTreeMap<Modality, Array>,
        maps: &BTreeSet<usize>,
        training: bool,
    ) -> Result<Pass, NnError> {
        let asked = self.fusion.stages();
        let last = |encoder: &dyn Encoder| encoder.stages().len().saturating_sub(1);
        let ends = self.encoders.values().map(|encoder| last(*encoder));
        let absent = self.absent.iter().flat_map(|(all, _)| all.values().map(|stages| stages.len().saturating_sub(1)));
        let end = ends.chain(absent).max().unwrap_or(0);
        // A gate behind the last stage meets no further stage: it cuts nothing.
        let cuts: Vec<usize> = asked.iter().copied().filter(|&stage| stage < end).chain([end]).collect();

        let mut pass = Pass { encoded: Encoded::default(), statistics: Vec::new(), segments: Vec::new() };
        let mut handed: BTreeMap<Modality, Array> = BTreeMap::new();
        let mut gates: BTreeMap<Modality, Tensor> = BTreeMap::new();
        let (mut from, device) = (0, self.params.device());
        for cut in cuts {
            let mut streams = BTreeMap::new();
            let mut means = BTreeMap::new();
            for (&modality, &encoder) in &self.encoders {
                let stop = self.params.stop();
                let mut tape = if training { Tape::train().stop_on(stop) } else { Tape::eval() };
                let (mut x, entry) = match (handed.remove(&modality), gates.get(&modality)) {
                    (Some(map), Some(gate)) => {
                        let (map, gate) = (tape.leaf(map), tape.leaf(Array::from_tensor(gate)?));
                        (tape.gated_sum(&[(&map, &gate)])?, training.then_some([map, gate]))
                    }
                    _ => (tape.input(input_of(inputs, modality)?.to_device(&device)?), None),
                };
                let mut shown = Vec::new();
                let own = last(encoder);
                for stage in from..=cut.min(own) {
                    stop.check()?;
                    x = encoder.stage(stage, &mut tape, self.params, x)?;
                    if maps.contains(&stage) || (stage == own && self.fusion.needs_maps()) {
                        let map = show(&mut shown, &x)?;
                        pass.encoded.maps.entry(modality).or_default().insert(stage, map);
                    }
                }
                let mean = if cut == end { encoder.pool(&mut tape, &x)? } else { tape.mean_inner(&x)? };
                means.insert(modality, show(&mut shown, &mean)?);
                pass.statistics.extend(tape.take_statistics());
                if cut == end {
                    x = mean;
                } else {
                    handed.insert(modality, x.array().clone());
                }
                streams.insert(modality, Stream { tape: Some(tape), entry, end: x, shown });
            }
            if let Some((all, standing)) = &self.absent {
                let some = means.values().next().ok_or_else(no_modality)?.clone();
                let samples = some.dim(0)?;
                for (&modality, stages) in all {
                    let own = cut.min(stages.len().saturating_sub(1));
                    let channels = stages.get(own).copied().unwrap_or(0);
                    let mean = stand_in(standing, modality, cut, [samples, channels])?.to_device(some.device())?;
                    if cut == end && self.fusion.needs_maps() {
                        let map = mean.reshape((samples, 1, 1, channels))?;
                        pass.encoded.maps.entry(modality).or_default().insert(own, map);
                    }
                    means.insert(modality, mean);
                }
            }
            pass.encoded.means.insert(cut, means.clone());
            if training {
                pass.segments.push(Segment { streams, gates: std::mem::take(&mut gates) });
            }
            if asked.contains(&cut) {
                gates = self.fusion.gates(self.weights, cut, &means)?;
                let mut gated = BTreeMap::new();
                for (&modality, mean) in &means {
                    let missing = || NnError::Unsupported(format!("the fusion gave no gate for {modality}"));
                    gated.insert(modality, (gates.get(&modality).ok_or_else(missing)? * mean)?);
                }
                pass.encoded.gated.insert(cut, gated);
            }
            if cut == end {
                let gated = pass.encoded.gated.get(&cut);
                pass.encoded.outputs = gated.unwrap_or(&means).clone();
                pass.encoded.features = means;
            }
            from = cut + 1;
        }
        Ok(pass)
    }
}

impl Pass {
    /// Adds every encoder's gradients, and what gates add to the fusion's, to `grads`. `store` is what
    /// candle's way back from the loss left at the variables shown. The way back from the last loss frees what the tapes
    /// keep as it goes, and gives parameters that the loss does not depend on a gradient of zero; from others, none.
    pub fn backward(
        &mut self,
        store: GradStore,
        weights: &Weights,
        grads: &mut Grads,
        last: bool,
    ) -> Result<(), NnError> {
        let mut stores = vec![store];
        let mut handed: BTreeMap<Modality, Array> = BTreeMap::new();
        for Segment { streams, gates } in self.segments.iter_mut().rev() {
            let mut through_gates: Option<Tensor> = None;
            let mut next = BTreeMap::new();
            for (&modality, Stream { tape, entry, end, shown }) in streams {
                let mut seeds = Vec::new();
                for (var, variable) in shown {
                    for grad in stores.iter().filter_map(|store| store.get(variable)) {
                        seeds.push((var.clone(), Array::from_tensor(grad)?));
                    }
                }
                match handed.remove(&modality) {
                    Some(grad) => seeds.push((end.clone(), grad)),
                    None if seeds.is_empty() && last => {
                        seeds.push((end.clone(), end.array().device().zeros(end.shape())?))
                    }
                    None if seeds.is_empty() => continue,
                    None => {}
                }
                let back = match (last, tape.as_ref()) {
                    (false, Some(tape)) => tape.backward_again(seeds)?,
                    _ => tape.take().unwrap_or_else(Tape::train).backward(seeds)?,
                };
                if let Some([map, gate]) = entry
                    && let (Some(dmap), Some(dgate), Some(value)) =
                        (back.leaf(map), back.leaf(gate), gates.get(&modality))
                {
                    next.insert(modality, dmap.clone());
                    // The sum whose gradient to the gate is the one that came back.
                    let sum = (value * dgate.to_tensor()?)?.sum_all()?;
                    through_gates = Some(match through_gates {
                        Some(total) => (total + sum)?,
                        None => sum,
                    });
                }
                grads.extend(back.params);
            }
            if let Some(sum) = through_gates {
                let store = sum.backward()?;
                weights.add_grads(&store, grads)?;
                stores.push(store);
            }
            handed = next;
        }
        Ok(())
    }
}

/// A value of the tape as a variable of candle's graph.
fn show(shown: &mut Vec<(Value, Var)>, value: &Value) -> Result<Tensor, NnError> {
    let variable = value.array().to_var()?;
    let tensor = variable.as_tensor().clone();
    shown.push((value.clone(), variable));
    Ok(tensor)
}

fn input_of(inputs: &BTreeMap<Modality, Array>, modality: Modality) -> Result<Array, NnError> {
    let missing = || NnError::Unsupported(format!("the batch has no {modality}, which this network needs"));
    inputs.get(&modality).cloned().ok_or_else(missing)
}
