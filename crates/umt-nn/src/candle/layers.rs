//! Layers with candle-nn's names, arguments and parameter names.

use super::ops::{self, Running};
use crate::{BatchNormOptions, ConvOptions};
use candle_core::{Result, Tensor, Var};
use candle_nn::{BatchNormConfig, Conv2dConfig, Init, Module, ModuleT, VarBuilder, init};

/// A convolution over `[n, c, h, w]`, in the place of [`candle_nn::Conv2d`].
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    options: ConvOptions,
}

impl Conv2d {
    /// A layer over `weight` `[k, c / groups, kh, kw]` and `bias` `[k]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: Conv2dConfig) -> Self {
        let Conv2dConfig { padding, stride, dilation, groups, .. } = config;
        let (stride, pad, dilation) = ([stride; 2], [padding; 2], [dilation; 2]);
        Self { weight, bias, options: ConvOptions { stride, pad, dilation, groups, ..ConvOptions::default() } }
    }

    /// The weights.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, if there is one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::conv2d(x, &self.weight, self.bias.as_ref(), self.options)?)
    }
}

/// A convolution with bias, as [`candle_nn::conv2d`] builds it: `weight`, `bias`.
///
/// # Errors
/// Those of `vb`.
pub fn conv2d(input: usize, output: usize, kernel: usize, config: Conv2dConfig, vb: VarBuilder<'_>) -> Result<Conv2d> {
    let bound = 1.0 / (input as f64).sqrt();
    let bias = vb.get_with_hints(output, "bias", Init::Uniform { lo: -bound, up: bound })?;
    Ok(Conv2d { bias: Some(bias), ..conv2d_no_bias(input, output, kernel, config, vb)? })
}

/// A convolution without bias, as [`candle_nn::conv2d_no_bias`] builds it: `weight`.
///
/// # Errors
/// Those of `vb`.
pub fn conv2d_no_bias(
    input: usize,
    output: usize,
    kernel: usize,
    config: Conv2dConfig,
    vb: VarBuilder<'_>,
) -> Result<Conv2d> {
    let shape = (output, input / config.groups.max(1), kernel, kernel);
    let weight = vb.get_with_hints(shape, "weight", init::DEFAULT_KAIMING_NORMAL)?;
    Ok(Conv2d::new(weight, None, config))
}

/// A batch-norm over `[n, c, h, w]`, in the place of [`candle_nn::BatchNorm`]; `forward_t` takes training or evaluation.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    affine: [Tensor; 2],
    running: Running,
    options: BatchNormOptions,
}

impl BatchNorm {
    /// The same layer with a ReLU after it, in the same pass.
    pub fn with_relu(self) -> Self {
        Self { options: BatchNormOptions { relu: true, ..self.options }, ..self }
    }

    /// The running statistics, which training updates.
    pub fn running(&self) -> &Running {
        &self.running
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        Ok(ops::batch_norm(x, self.affine.each_ref(), &self.running, train, self.options)?)
    }
}

/// A batch-norm, as [`candle_nn::batch_norm`] builds it: `weight`, `bias`, `running_mean`, `running_var`.
///
/// # Errors
/// Those of `vb`; a negative constant; a layer without scale and shift or that keeps the mean.
pub fn batch_norm(channels: usize, config: impl Into<BatchNormConfig>, vb: VarBuilder<'_>) -> Result<BatchNorm> {
    let BatchNormConfig { eps, remove_mean, affine, momentum } = config.into();
    if eps < 0.0 || !remove_mean || !affine {
        candle_core::bail!("a batch-norm of umt-nn has eps >= 0, takes the mean away and has scale and shift");
    }
    let get = |name: &str, value: f64| vb.get_with_hints(channels, name, Init::Const(value));
    let running = Running {
        mean: Var::from_tensor(&get("running_mean", 0.0)?)?,
        var: Var::from_tensor(&get("running_var", 1.0)?)?,
    };
    let options = BatchNormOptions { eps: eps as f32, momentum: momentum as f32, relu: false };
    Ok(BatchNorm { affine: [get("weight", 1.0)?, get("bias", 0.0)?], running, options })
}
