//! Batch normalisation, with the residual add and the ReLU that follow it.

use crate::{Array, NnError, Tape, Value, compute, tape::Node};

/// Constants of a batch-norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormOptions {
    /// Added to the variance.
    pub eps: f32,
    /// Weight of the newest batch in the running statistics.
    pub momentum: f32,
    /// Whether a ReLU follows.
    pub relu: bool,
}

impl Default for BatchNormOptions {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1, relu: false }
    }
}

impl BatchNormOptions {
    /// PyTorch's constants, followed by a ReLU.
    pub fn relu() -> Self {
        Self { relu: true, ..Self::default() }
    }
}

impl Tape {
    /// `relu(gamma * (x - mean) / sqrt(var + eps) + beta + skip)` over the last axis of `x`.
    ///
    /// In training, mean and (biased) variance are the batch's, and the running statistics are updated with the unbiased variance, as in PyTorch;
    /// [`Tape::take_statistics`] returns those that are parameters. In evaluation the running statistics are used.
    ///
    /// # Errors
    /// Shapes that do not fit; when a device fails.
    pub fn batch_norm(
        &mut self,
        x: Value,
        [gamma, beta]: [&Value; 2],
        running: [&Value; 2],
        skip: Option<&Value>,
        options: BatchNormOptions,
    ) -> Result<Value, NnError> {
        let channels = gamma.value.len();
        if x.shape().last() != Some(&channels) {
            return Err(NnError::shape("batch-norm", format!("{channels} channels"), x.shape()));
        }
        if let Some(other) = [beta, running[0], running[1]].into_iter().find(|value| value.value.len() != channels) {
            return Err(NnError::shape("batch-norm", format!("{channels} channels"), other.shape()));
        }
        if let Some(skip) = skip
            && skip.shape() != x.shape()
        {
            return Err(NnError::shape("batch-norm", format!("{:?} to add", x.shape()), skip.shape()));
        }
        let running = running.map(|value| (&value.value, &value.node));
        let [(mean, mean_node), (var, var_node)] = running;
        if !self.is_training() {
            let [a, b] = evaluated([&gamma.value, &beta.value], [mean, var], options);
            let Value { value: mut y, .. } = x;
            compute::scale_shift_in_place(&mut y, [&a, &b], skip.map(|skip| &skip.value), options.relu)?;
            return Ok(Value::constant(y));
        }

        let (z, relu) = (x.value.clone(), options.relu);
        let (batch, running) = compute::batch_norm_statistics(&z, [&gamma.value, &beta.value], [mean, var], options)?;
        for (node, value) in [(mean_node, running.mean), (var_node, running.var)] {
            if let Node::Param(key) = node {
                self.record_statistics(key, value);
            }
        }
        let y = compute::scale_shift(&z, [&batch.a, &batch.b], skip.map(|skip| &skip.value), relu)?;

        // Without a skip the ReLU's mask follows from z, so that the output need be neither kept nor read.
        let output = (relu && skip.is_some()).then(|| y.clone());
        let (node, skip) = (x.node, skip.map(|skip| skip.node.clone()));
        let (gamma, beta) = (gamma.clone(), beta.node.clone());
        Ok(self.push(y, move |dy, sink| {
            let wants_skip = relu && skip.as_ref().is_some_and(Node::wants_grad);
            let (output, scale) = (output.as_ref(), &gamma.value);
            let grads = compute::batch_norm_backward(&z, output, relu, &dy, scale, &batch, wants_skip)?;
            sink.add(&gamma.node, grads.gamma)?;
            sink.add(&beta, grads.beta)?;
            sink.add(&node, grads.z)?;
            if let Some(skip) = &skip {
                // Without a ReLU the gradient passes to the skip unchanged.
                sink.add(skip, grads.skip.unwrap_or(dy))?;
            }
            Ok(())
        }))
    }
}

/// `a` and `b` by channel with which `a x + b` is a batch-norm in evaluation.
pub(crate) fn evaluated([gamma, beta]: [&Array; 2], [mean, var]: [&Array; 2], options: BatchNormOptions) -> [Array; 2] {
    compute::affine(gamma, beta, mean, &compute::inverse_deviation(var, options))
}
