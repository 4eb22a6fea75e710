//! A training step of a network with a decoder: maps stay on the tape, candle sees scalars of them and what an objective asks for.

use crate::Kept;
use crate::decoder::{Decoded, Entry, Parts};
use candle_core::{Tensor, Var, backprop::GradStore};
use std::cell::RefCell;
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{Array, Grads, Key, NnError, Tape, Value};

/// A scalar of candle's graph that was computed on arrays, together with its gradient.
struct Term {
    scalar: Var,
    /// The gradient of the loss with respect to the scalar at which `grads` hold as they are.
    at: f32,
    grads: Vec<(Value, Array)>,
}

/// What a step leaves for its backward passes.
#[derive(Default)]
struct Seen {
    /// Values of the tape as variables of candle's graph.
    shown: Vec<(Value, Var)>,
    terms: Vec<Term>,
}

/// One training step: the tape of the forward pass, and what candle sees of it.
pub(crate) struct MapStep<'a> {
    parts: Parts<'a>,
    tape: RefCell<Tape>,
    inputs: BTreeMap<Modality, Value>,
    decoded: Decoded,
    seen: RefCell<Seen>,
    statistics: RefCell<Vec<(Key, Array)>>,
}

/// The backward passes of a step.
pub(crate) struct MapBackward {
    tape: Option<Tape>,
    seen: Seen,
}

impl<'a> MapStep<'a> {
    /// The forward pass.
    pub fn new(parts: Parts<'a>, inputs: &BTreeMap<Modality, Array>) -> Result<Self, NnError> {
        let mut tape = Tape::train().stop_on(parts.params.stop());
        let inputs = parts.inputs(&mut tape, inputs)?;
        let decoded = parts.forward(&mut tape, &Entry { inputs: inputs.clone(), ..Entry::default() })?;
        let statistics = RefCell::new(tape.take_statistics());
        Ok(Self { parts, tape: RefCell::new(tape), inputs, decoded, seen: RefCell::default(), statistics })
    }

    /// Batch-norm's running statistics after this step: those of the whole inputs, whatever an objective leaves out.
    pub fn statistics(&self) -> Vec<(Key, Array)> {
        self.statistics.take()
    }

    pub fn params(&self) -> &'a umt_nn::Params {
        self.parts.params
    }

    /// Logits at 1/1, 1/8, 1/16 and 1/32 of the size.
    pub fn logits(&self) -> &[Value] {
        &self.decoded.logits
    }

    /// An encoder's map before a fusion point.
    pub fn map(&self, modality: Modality, stage: usize) -> Option<&Value> {
        self.decoded.maps.get(&modality)?.get(stage)
    }

    /// Each encoder's last map.
    pub fn last_maps(&self) -> impl Iterator<Item = (Modality, &Value)> {
        self.decoded.maps.iter().filter_map(|(m, maps)| Some((*m, maps.last()?)))
    }

    /// The mean of a map, in candle's graph, `[n, channels]`.
    pub fn mean(&self, map: &Value) -> Result<Tensor, NnError> {
        let mean = self.tape.borrow_mut().mean_inner(map)?;
        self.show(&mean)
    }

    /// A value of the tape in candle's graph: a copy.
    pub fn show(&self, value: &Value) -> Result<Tensor, NnError> {
        let variable = value.array().to_var()?;
        let tensor = variable.as_tensor().clone();
        self.seen.borrow_mut().shown.push((value.clone(), variable));
        Ok(tensor)
    }

    /// A scalar computed on arrays; `grads` are its gradients times `at`, see [`Term::at`].
    pub fn term(&self, scalar: f64, at: f32, grads: Vec<(Value, Array)>) -> Result<Tensor, NnError> {
        let variable = Var::new(scalar as f32, &self.parts.params.device().candle())?;
        let tensor = variable.as_tensor().clone();
        self.seen.borrow_mut().terms.push(Term { scalar: variable, at, grads });
        Ok(tensor)
    }

    /// Logits of a further pass, in which of each sample some modalities are kept. An encoder that saw its own modality
    /// alone does not run again, and one of which nothing is kept does not run.
    pub fn given(&self, kept: &Kept) -> Result<Vec<Value>, NnError> {
        let any = |m: &Modality| kept.get(m).is_none_or(|rows| rows.iter().any(|x| *x != 0.0));
        let inputs: BTreeMap<_, _> = self.inputs.iter().filter(|(m, _)| any(m)).map(|(m, x)| (*m, x.clone())).collect();
        let whole = |(m, rows): (&Modality, &Vec<f32>)| !inputs.contains_key(m) || rows.iter().all(|x| *x == 1.0);
        let kept = (!kept.iter().all(whole)).then_some(kept);
        if kept.is_none() && inputs.len() == self.inputs.len() {
            return Ok(self.decoded.logits.clone());
        }
        let mut tape = self.tape.borrow_mut();
        let entry = Entry { inputs, kept, known: Some(&self.decoded.maps) };
        let decoded = self.parts.forward(&mut tape, &entry)?;
        // The running statistics are those of the whole inputs.
        drop(tape.take_statistics());
        Ok(decoded.logits)
    }

    /// Frees what no backward pass reads.
    pub fn into_backward(self) -> MapBackward {
        MapBackward { tape: Some(self.tape.into_inner()), seen: self.seen.into_inner() }
    }
}

impl MapBackward {
    /// Adds the gradients of all parameters on the tape to `grads`. `store` is what candle's way back from the loss left
    /// at the variables shown. The way back from the last loss frees what the tape keeps as it goes.
    pub fn run(&mut self, store: &GradStore, grads: &mut Grads, last: bool) -> Result<(), NnError> {
        let mut seeds = Vec::new();
        for term in &self.seen.terms {
            let Some(grad) = store.get(&term.scalar) else { continue };
            let factor = grad.to_scalar::<f32>()?;
            for (value, grad) in &term.grads {
                seeds.push((value.clone(), scaled(grad, factor, term.at)?));
            }
        }
        for (value, variable) in &self.seen.shown {
            if let Some(grad) = store.get(variable) {
                seeds.push((value.clone(), Array::from_tensor(grad)?));
            }
        }
        let back = match (last, &self.tape) {
            (false, Some(tape)) => tape.backward_again(seeds)?,
            _ => {
                self.seen = Seen::default();
                self.tape.take().unwrap_or_else(Tape::train).backward(seeds)?
            }
        };
        grads.extend(back.params);
        Ok(())
    }
}

/// `grad`, which holds for a factor of `at`, for another factor.
fn scaled(grad: &Array, factor: f32, at: f32) -> Result<Array, NnError> {
    if factor == at {
        return Ok(grad.clone());
    }
    let ratio = factor / at;
    if grad.device().is_cpu() {
        let mut scaled = grad.clone();
        scaled.make_mut().iter_mut().for_each(|x| *x *= ratio);
        return Ok(scaled);
    }
    Array::from_tensor(&(grad.to_tensor()? * f64::from(ratio))?)
}
