//! Batch normalisation, with the residual add and the ReLU that follow it.

use crate::{Array, NnError, Params, Tape, Var, compute};

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
    /// `relu(weight * (x - mean) / sqrt(var + eps) + bias + skip)` over the last axis of `x`.
    ///
    /// In training, mean and (biased) variance are the batch's, and the running statistics take the
    /// unbiased variance, as in PyTorch; in evaluation they are the running ones.
    pub fn batch_norm(
        &mut self,
        params: &Params,
        name: &str,
        x: Var,
        skip: Option<&Var>,
        options: BatchNormOptions,
    ) -> Result<Var, NnError> {
        let of = |part: &str| params.value(&format!("{name}.{part}"));
        let (gamma, beta) = (of("weight")?.clone(), of("bias")?);
        let (running_mean, running_var) = (of("running_mean")?, of("running_var")?);
        let channels = gamma.len();
        if x.shape().last() != Some(&channels) {
            return Err(NnError::shape(name, format!("{channels} channels"), x.shape()));
        }
        if let Some(skip) = skip
            && skip.shape() != x.shape()
        {
            return Err(NnError::shape(name, format!("{:?} to add", x.shape()), skip.shape()));
        }
        if !self.is_training() {
            let [a, b] = evaluated(params, name, channels, options)?;
            let Var { value: mut y, .. } = x;
            compute::scale_shift_in_place(&mut y, [&a, &b], skip.map(|skip| &skip.value), options.relu)?;
            return Ok(Var { value: y, node: None });
        }

        let (z, relu) = (x.value.clone(), options.relu);
        let (batch, running) =
            compute::batch_norm_statistics(&z, [&gamma, beta], [running_mean, running_var], options)?;
        self.record_statistics(format!("{name}.running_mean"), running.mean);
        self.record_statistics(format!("{name}.running_var"), running.var);
        let y = compute::scale_shift(&z, [&batch.a, &batch.b], skip.map(|skip| &skip.value), relu)?;

        // Without a skip the ReLU's mask follows from z, so that the output need be neither kept nor read.
        let output = (relu && skip.is_some()).then(|| y.clone());
        let (node, skip_node) = (x.node, skip.map(|skip| skip.node));
        let name = name.to_owned();
        Ok(self.push(y, move |dy, sink| {
            let wants_skip = relu && matches!(skip_node, Some(Some(_)));
            let grads = compute::batch_norm_backward(&z, output.as_ref(), relu, &dy, &gamma, &batch, wants_skip)?;
            sink.add_param(format!("{name}.weight"), grads.gamma)?;
            sink.add_param(format!("{name}.bias"), grads.beta)?;
            sink.add_to(node, grads.z)?;
            if let Some(skip_node) = skip_node {
                // Without a ReLU the gradient passes to the skip as it came.
                sink.add_to(skip_node, grads.skip.unwrap_or(dy))?;
            }
            Ok(())
        }))
    }
}

/// `a` and `b` by channel with which `a x + b` is a batch-norm in evaluation.
pub(crate) fn evaluated(
    params: &Params,
    name: &str,
    channels: usize,
    options: BatchNormOptions,
) -> Result<[Array; 2], NnError> {
    let of = |part: &str| {
        let value = params.value(&format!("{name}.{part}"))?;
        if value.len() == channels {
            Ok(value)
        } else {
            Err(NnError::shape(name, format!("{channels} channels"), value.shape()))
        }
    };
    let inv_std = compute::inverse_deviation(of("running_var")?, options);
    Ok(compute::affine(of("weight")?, of("bias")?, of("running_mean")?, &inv_std))
}
