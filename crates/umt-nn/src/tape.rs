//! The record of a forward pass, and its way back.

use crate::{Array, Grads, NnError, Stop, compute};
use std::borrow::Borrow;
use std::collections::BTreeMap;

/// A value on the tape. Cloning shares the array.
#[derive(Clone, Debug)]
pub struct Var {
    pub(crate) value: Array,
    /// The node that made it; none for constants and in evaluation.
    pub(crate) node: Option<usize>,
}

impl Var {
    /// The values.
    pub fn value(&self) -> &Array {
        &self.value
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }
}

/// What an operator does with the gradient of its output: it hands gradients to the [`Sink`]. It can be asked more
/// than once, for several losses over one forward pass.
pub(crate) type BackwardFn = Box<dyn Fn(Array, &mut Sink) -> Result<(), NnError> + Send>;

/// A forward pass. In training it records how to come back; in evaluation it records nothing, and
/// arrays are freed as soon as the last operator that needs them is done.
pub struct Tape {
    training: bool,
    nodes: Vec<Option<BackwardFn>>,
    statistics: Vec<(String, Array)>,
    stop: Stop,
}

impl Tape {
    /// A tape that records, and normalises by the batch's own statistics.
    pub fn train() -> Self {
        Self { training: true, nodes: Vec::new(), statistics: Vec::new(), stop: Stop::default() }
    }

    /// A tape that records nothing, and normalises by the running statistics.
    pub fn eval() -> Self {
        Self { training: false, nodes: Vec::new(), statistics: Vec::new(), stop: Stop::default() }
    }

    /// The same tape, whose backward pass is given up when `stop` is raised.
    pub fn stop_on(self, stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..self }
    }

    /// Whether this pass is for training.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// A constant: no gradient is computed for it.
    pub fn input(&mut self, value: Array) -> Var {
        Var { value, node: None }
    }

    /// A value whose gradient is wanted.
    pub fn leaf(&mut self, value: Array) -> Var {
        let node = self.training.then(|| {
            self.nodes.push(None);
            self.nodes.len() - 1
        });
        Var { value, node }
    }

    /// Running statistics after this pass, to be put into the parameters.
    pub fn take_statistics(&mut self) -> Vec<(String, Array)> {
        std::mem::take(&mut self.statistics)
    }

    pub(crate) fn record_statistics(&mut self, name: String, value: Array) {
        self.statistics.push((name, value));
    }

    /// The result of an operator. `backward` is dropped at once in evaluation.
    pub(crate) fn push(
        &mut self,
        value: Array,
        backward: impl Fn(Array, &mut Sink) -> Result<(), NnError> + Send + 'static,
    ) -> Var {
        if !self.training {
            return Var { value, node: None };
        }
        self.nodes.push(Some(Box::new(backward)));
        Var { value, node: Some(self.nodes.len() - 1) }
    }

    /// Goes back from `seeds` (a value and the gradient of the loss with respect to it). What an operator kept is
    /// freed as soon as it is passed.
    pub fn backward(self, seeds: Vec<(Var, Array)>) -> Result<Backward, NnError> {
        walk(self.nodes.into_iter().enumerate().rev(), seeds, &self.stop)
    }

    /// As [`Tape::backward`], and the tape stays: for a further loss over the same forward pass.
    pub fn backward_again(&self, seeds: Vec<(Var, Array)>) -> Result<Backward, NnError> {
        walk(self.nodes.iter().enumerate().rev(), seeds, &self.stop)
    }
}

/// Hands gradients from the last node to the first.
fn walk<N: Borrow<Option<BackwardFn>>>(
    nodes: impl Iterator<Item = (usize, N)>,
    seeds: Vec<(Var, Array)>,
    stop: &Stop,
) -> Result<Backward, NnError> {
    let mut sink = Sink { nodes: BTreeMap::new(), params: Grads::new() };
    for (var, grad) in seeds {
        if var.shape() != grad.shape() {
            return Err(NnError::shape("gradient", format!("{:?}", var.shape()), grad.shape()));
        }
        sink.add(&var, grad)?;
    }
    let mut leaves = BTreeMap::new();
    for (index, node) in nodes {
        let Some(grad) = sink.nodes.remove(&index) else { continue };
        stop.check()?;
        match node.borrow() {
            Some(backward) => backward(grad, &mut sink)?,
            None => drop(leaves.insert(index, grad)),
        }
    }
    Ok(Backward { params: sink.params, leaves })
}

/// Where operators put gradients on the way back.
pub(crate) struct Sink {
    nodes: BTreeMap<usize, Array>,
    params: Grads,
}

impl Sink {
    /// Whether anybody wants the gradient of `var`: an encoder's first layer need not compute it.
    pub(crate) fn wants(var: &Option<usize>) -> bool {
        var.is_some()
    }

    pub(crate) fn add(&mut self, var: &Var, grad: Array) -> Result<(), NnError> {
        self.add_to(var.node, grad)
    }

    pub(crate) fn add_to(&mut self, node: Option<usize>, grad: Array) -> Result<(), NnError> {
        let Some(node) = node else { return Ok(()) };
        match self.nodes.get_mut(&node) {
            Some(sum) => compute::add_assign(sum, &grad)?,
            None => drop(self.nodes.insert(node, grad)),
        }
        Ok(())
    }

    /// Adds the gradient `dy` `[n, c]` of a mean over the inner axes of a value of `shape` `[n, ..., c]`, without writing it out once
    /// for each row where there is a gradient to add it to.
    pub(crate) fn add_mean(&mut self, node: Option<usize>, shape: &[usize], dy: &Array) -> Result<(), NnError> {
        let (Some(node), [_, inner @ .., c]) = (node, shape) else { return Ok(()) };
        let rows: usize = inner.iter().product();
        match self.nodes.get_mut(&node) {
            Some(sum) => compute::add_rows(rows, *c, dy, 1.0 / rows.max(1) as f32, sum)?,
            None => drop(self.nodes.insert(node, compute::mean_rows_backward(rows, dy, shape)?)),
        }
        Ok(())
    }

    pub(crate) fn add_param(&mut self, name: String, grad: Array) -> Result<(), NnError> {
        match self.params.get_mut(&name) {
            Some(sum) => compute::add_assign(sum, &grad)?,
            None => drop(self.params.insert(name, grad)),
        }
        Ok(())
    }
}

/// What came back.
#[derive(Debug)]
pub struct Backward {
    /// Gradients of the parameters.
    pub params: Grads,
    leaves: BTreeMap<usize, Array>,
}

impl Backward {
    /// The gradient of a [`Tape::leaf`], if the seeds depend on it.
    pub fn leaf(&self, leaf: &Var) -> Option<&Array> {
        leaf.node.and_then(|node| self.leaves.get(&node))
    }
}
