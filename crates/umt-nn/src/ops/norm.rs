//! Batch normalisation, with the residual add and the ReLU that follow it.

use crate::{Array, NnError, Params, Tape, Var, kernels};

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
        let rows = x.value.len() / channels.max(1);
        if !self.is_training() {
            let (a, b) = evaluated(params, name, channels, options)?;
            let Var { value: mut y, .. } = x;
            let skip = skip.map(|skip| skip.value.as_slice());
            let y_values = y.make_mut();
            kernels::scale_shift_in_place(rows, channels, y_values, &a, &b, skip, options.relu);
            return Ok(Var { value: y, node: None });
        }

        let mut mean = Array::unspecified(&[channels]);
        let mut var = Array::unspecified(&[channels]);
        let z = x.value.clone();
        kernels::batch_norm_stats(rows, channels, z.as_slice(), mean.make_mut(), var.make_mut());
        let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
        for (part, running, batch, factor) in
            [("running_mean", running_mean, &mean, 1.0), ("running_var", running_var, &var, unbiased)]
        {
            let mut next = running.clone();
            for (value, new) in next.make_mut().iter_mut().zip(batch.as_slice()) {
                *value += options.momentum * (new * factor - *value);
            }
            self.record_statistics(format!("{name}.{part}"), next);
        }
        let inv_std = inverse_deviation(&var, options);
        let (a, b) = affine(&gamma, beta, &mean, &inv_std);
        let mut y = Array::unspecified(x.shape());
        let skip_values = skip.map(|skip| skip.value.as_slice());
        let relu = options.relu;
        kernels::scale_shift(rows, channels, z.as_slice(), &a, &b, skip_values, relu, y.make_mut());

        // Without a skip the ReLU's mask follows from z, so that the output need be neither kept nor read.
        let output = (relu && skip.is_some()).then(|| y.clone());
        let (node, skip_node) = (x.node, skip.map(|skip| skip.node));
        let name = name.to_owned();
        Ok(self.push(y, move |dy, sink| {
            let mut dz = Array::unspecified(z.shape());
            let mut dgamma = Array::unspecified(&[channels]);
            let mut dbeta = Array::unspecified(&[channels]);
            let mut dskip = match skip_node {
                Some(Some(_)) if relu => Some(Array::unspecified(z.shape())),
                _ => None,
            };
            let (zs, dys, gammas, means) = (z.as_slice(), dy.as_slice(), gamma.as_slice(), mean.as_slice());
            let (out, dgammas, dbetas) = (dz.make_mut(), dgamma.make_mut(), dbeta.make_mut());
            if relu && skip_node.is_none() {
                kernels::batch_norm_relu_backward(
                    rows, channels, zs, &a, &b, dys, gammas, means, &inv_std, out, dgammas, dbetas,
                );
            } else {
                let output = output.as_ref().map(Array::as_slice);
                let dskip = dskip.as_mut().map(Array::make_mut);
                kernels::batch_norm_backward(
                    rows, channels, zs, output, dys, gammas, means, &inv_std, out, dgammas, dbetas, dskip,
                );
            }
            sink.add_param(format!("{name}.weight"), dgamma);
            sink.add_param(format!("{name}.bias"), dbeta);
            sink.add_to(node, dz);
            if let Some(skip_node) = skip_node {
                // Without a ReLU the gradient passes to the skip as it came.
                sink.add_to(skip_node, dskip.unwrap_or(dy));
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
) -> Result<(Vec<f32>, Vec<f32>), NnError> {
    let of = |part: &str| {
        let value = params.value(&format!("{name}.{part}"))?;
        if value.len() == channels {
            Ok(value)
        } else {
            Err(NnError::shape(name, format!("{channels} channels"), value.shape()))
        }
    };
    let inv_std = inverse_deviation(of("running_var")?, options);
    Ok(affine(of("weight")?, of("bias")?, of("running_mean")?, &inv_std))
}

fn inverse_deviation(var: &Array, options: BatchNormOptions) -> Vec<f32> {
    var.as_slice().iter().map(|v| 1.0 / (v + options.eps).sqrt()).collect()
}

/// Normalisation as one multiplication and one addition per value.
fn affine(gamma: &Array, beta: &Array, mean: &Array, inv_std: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let a: Vec<f32> = gamma.as_slice().iter().zip(inv_std).map(|(g, s)| g * s).collect();
    let shift = beta.as_slice().iter().zip(mean.as_slice()).zip(&a);
    let b = shift.map(|((beta, mean), a)| beta - mean * a).collect();
    (a, b)
}
