//! Autograd over coarse operators: the tape records a forward pass and runs its backward pass.

use crate::{Array, Grads, Key, NnError, Params, Stop, compute};
use std::borrow::Borrow;
use std::collections::BTreeMap;

/// An array in the graph that a tape records. Cloning shares the array.
#[derive(Clone, Debug)]
pub struct Value {
    pub(crate) value: Array,
    pub(crate) node: Node,
}

/// Where the gradient of a [`Value`] goes.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Nowhere: a constant, or any value in evaluation.
    Constant,
    /// To the operator or leaf of this index.
    Index(usize),
    /// To the gradient of a parameter.
    Param(Key),
}

impl Node {
    /// Whether a gradient is wanted: an encoder's first layer need not compute that of its input.
    pub(crate) fn wants_grad(&self) -> bool {
        !matches!(self, Self::Constant)
    }
}

impl Value {
    /// A value without a gradient.
    pub(crate) fn constant(value: Array) -> Self {
        Self { value, node: Node::Constant }
    }

    /// The array.
    pub fn array(&self) -> &Array {
        &self.value
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }
}

/// An operator's backward: takes the gradient of its output, and adds those of its inputs to the [`Sink`]. It can run
/// more than once, for several losses over one forward pass.
pub(crate) type BackwardFn = Box<dyn Fn(Array, &mut Sink) -> Result<(), NnError> + Send>;

/// A forward pass. In training it records every operator for the backward pass; in evaluation it records nothing, and
/// arrays are freed as soon as the last operator that reads them is done.
pub struct Tape {
    training: bool,
    nodes: Vec<Option<BackwardFn>>,
    statistics: Vec<(Key, Array)>,
    stop: Stop,
}

impl Tape {
    /// Training mode: operators are recorded, batch-norm uses the batch's statistics.
    pub fn train() -> Self {
        Self { training: true, nodes: Vec::new(), statistics: Vec::new(), stop: Stop::default() }
    }

    /// Evaluation mode: nothing is recorded, batch-norm uses the running statistics.
    pub fn eval() -> Self {
        Self { training: false, nodes: Vec::new(), statistics: Vec::new(), stop: Stop::default() }
    }

    /// The same tape, whose backward pass is given up when `stop` is raised.
    pub fn stop_on(self, stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..self }
    }

    /// Whether this is training mode.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// A constant: no gradient is computed for it.
    pub fn input(&mut self, value: Array) -> Value {
        Value::constant(value)
    }

    /// A value whose gradient [`Backward::leaf`] returns.
    pub fn leaf(&mut self, value: Array) -> Value {
        if !self.training {
            return Value::constant(value);
        }
        self.nodes.push(None);
        Value { value, node: Node::Index(self.nodes.len() - 1) }
    }

    /// A parameter; in training its gradient is put into [`Backward::params`] under its name.
    ///
    /// # Errors
    /// [`NnError::NoParameter`] if `params` does not have it.
    pub fn param(&self, params: &Params, key: &Key) -> Result<Value, NnError> {
        let node = if self.training { Node::Param(key.clone()) } else { Node::Constant };
        Ok(Value { value: params.value(key)?.clone(), node })
    }

    /// Running statistics after this pass, for [`Params::update`].
    pub fn take_statistics(&mut self) -> Vec<(Key, Array)> {
        std::mem::take(&mut self.statistics)
    }

    pub(crate) fn record_statistics(&mut self, key: &Key, value: Array) {
        self.statistics.push((key.clone(), value));
    }

    /// The output of an operator. `backward` is dropped at once in evaluation.
    pub(crate) fn push(
        &mut self,
        value: Array,
        backward: impl Fn(Array, &mut Sink) -> Result<(), NnError> + Send + 'static,
    ) -> Value {
        if !self.training {
            return Value::constant(value);
        }
        self.nodes.push(Some(Box::new(backward)));
        Value { value, node: Node::Index(self.nodes.len() - 1) }
    }

    /// The backward pass from `seeds`: values, each with the gradient of the loss with respect to it. What an operator
    /// saved is freed as soon as its backward is done.
    ///
    /// # Errors
    /// A gradient of another shape than its value; when a device fails; [`NnError::Stopped`].
    pub fn backward(self, seeds: Vec<(Value, Array)>) -> Result<Backward, NnError> {
        walk(self.nodes.into_iter().enumerate().rev(), seeds, &self.stop)
    }

    /// As [`Tape::backward`], but keeps the graph: for a further loss over the same forward pass.
    ///
    /// # Errors
    /// Those of [`Tape::backward`].
    pub fn backward_again(&self, seeds: Vec<(Value, Array)>) -> Result<Backward, NnError> {
        walk(self.nodes.iter().enumerate().rev(), seeds, &self.stop)
    }
}

/// Runs the backward of every operator that has a gradient, from the last to the first.
fn walk<N: Borrow<Option<BackwardFn>>>(
    nodes: impl Iterator<Item = (usize, N)>,
    seeds: Vec<(Value, Array)>,
    stop: &Stop,
) -> Result<Backward, NnError> {
    let mut sink = Sink { nodes: BTreeMap::new(), params: Grads::new() };
    for (value, grad) in seeds {
        if value.shape() != grad.shape() {
            return Err(NnError::shape("gradient", format!("{:?}", value.shape()), grad.shape()));
        }
        sink.add(&value.node, grad)?;
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

/// Where operators put gradients in the backward pass.
pub(crate) struct Sink {
    nodes: BTreeMap<usize, Array>,
    params: Grads,
}

impl Sink {
    fn grad_of(&mut self, node: &Node) -> Option<&mut Array> {
        match node {
            Node::Constant => None,
            Node::Index(index) => self.nodes.get_mut(index),
            Node::Param(key) => self.params.get_mut(&**key),
        }
    }

    fn set(&mut self, node: &Node, grad: Array) {
        match node {
            Node::Constant => {}
            Node::Index(index) => drop(self.nodes.insert(*index, grad)),
            Node::Param(key) => drop(self.params.insert(key.to_string(), grad)),
        }
    }

    /// Adds to the gradient of a value.
    pub(crate) fn add(&mut self, node: &Node, grad: Array) -> Result<(), NnError> {
        match self.grad_of(node) {
            Some(sum) => compute::add_assign(sum, &grad)?,
            None => self.set(node, grad),
        }
        Ok(())
    }

    /// Adds the gradient `dy` `[n, c]` of a mean over the inner axes of a value of `shape` `[n, ..., c]`, without writing it out once
    /// for each row where there is a gradient to add it to.
    pub(crate) fn add_mean(&mut self, node: &Node, shape: &[usize], dy: &Array) -> Result<(), NnError> {
        let [_, inner @ .., c] = shape else { return Ok(()) };
        let rows: usize = inner.iter().product();
        match self.grad_of(node) {
            Some(sum) => compute::add_rows(rows, *c, dy, 1.0 / rows.max(1) as f32, sum)?,
            None if node.wants_grad() => self.set(node, compute::mean_rows_backward(rows, dy, shape)?),
            None => {}
        }
        Ok(())
    }
}

/// Gradients of a backward pass.
#[derive(Debug)]
pub struct Backward {
    /// Gradients of the parameters.
    pub params: Grads,
    leaves: BTreeMap<usize, Array>,
}

impl Backward {
    /// The gradient of a [`Tape::leaf`], if the seeds depend on it.
    pub fn leaf(&self, leaf: &Value) -> Option<&Array> {
        match &leaf.node {
            Node::Index(index) => self.leaves.get(index),
            Node::Constant | Node::Param(_) => None,
        }
    }
}
