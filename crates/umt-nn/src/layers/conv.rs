//! Convolution.

use super::ParamBuilder;
use crate::{ConvOptions, Key, NnError, Params, Tape, Value};

/// A two-dimensional convolution over `[n, h, w, input]`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    pub(super) weight: Key,
    pub(super) bias: Option<Key>,
    pub(super) options: ConvOptions,
}

/// A convolution with bias; fresh biases are uniform in `±1 / sqrt(fan in)`, as in PyTorch.
pub fn conv2d(
    input: usize,
    output: usize,
    kernel: [usize; 2],
    options: ConvOptions,
    mut pb: ParamBuilder<'_>,
) -> Conv2d {
    let [kh, kw] = kernel;
    let inputs = input / options.groups.max(1);
    let weight = pb.conv_weight("weight", [kh, kw, inputs, output]);
    let bias = pb.uniform("bias", &[output], 1.0 / ((inputs * kh * kw).max(1) as f32).sqrt());
    Conv2d { weight, bias: Some(bias), options }
}

/// A convolution without bias.
pub fn conv2d_no_bias(
    input: usize,
    output: usize,
    [kh, kw]: [usize; 2],
    options: ConvOptions,
    mut pb: ParamBuilder<'_>,
) -> Conv2d {
    let weight = pb.conv_weight("weight", [kh, kw, input / options.groups.max(1), output]);
    Conv2d { weight, bias: None, options }
}

impl Conv2d {
    /// A layer over parameters that exist: `weight` `[kh, kw, input / groups, output]` in memory, `bias` `[output]`.
    pub fn new(weight: Key, bias: Option<Key>, options: ConvOptions) -> Self {
        Self { weight, bias, options }
    }

    /// Outputs `[n, h', w', output]`, after the ReLU if [`ConvOptions::relu`] is set.
    ///
    /// # Errors
    /// A parameter that does not exist; shapes that do not fit, with the name of the weights; when a device fails.
    pub fn forward(&self, tape: &mut Tape, params: &Params, x: &Value) -> Result<Value, NnError> {
        self.with_options(tape, params, x, self.options)
    }

    /// As [`Conv2d::forward`], with a batch-norm after it.
    pub(super) fn before_norm(&self, tape: &mut Tape, params: &Params, x: &Value) -> Result<Value, NnError> {
        self.with_options(tape, params, x, ConvOptions { norm: true, ..self.options })
    }

    fn with_options(
        &self,
        tape: &mut Tape,
        params: &Params,
        x: &Value,
        options: ConvOptions,
    ) -> Result<Value, NnError> {
        let weight = tape.param(params, &self.weight)?;
        let bias = self.bias.as_ref().map(|bias| tape.param(params, bias)).transpose()?;
        tape.conv2d(x, &weight, bias.as_ref(), options).map_err(|error| error.of(&self.weight))
    }
}
