//! Batch normalisation.

use super::ParamBuilder;
use crate::{Array, BatchNormOptions, Key, NnError, Param, Params, Tape, Value};

/// Batch normalisation over the last axis, with the residual add and the ReLU that may follow it.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    /// Scale and shift by channel, `weight` and `bias` in PyTorch.
    pub(super) affine: [Key; 2],
    /// Running mean and variance by channel.
    pub(super) running: [Key; 2],
    pub(super) options: BatchNormOptions,
}

/// A batch-norm over `channels`: scale 1, shift 0, running mean 0 and variance 1.
pub fn batch_norm(channels: usize, options: BatchNormOptions, mut pb: ParamBuilder<'_>) -> BatchNorm2d {
    let constant = |value| Array::full(&[channels], value);
    let weight = pb.add("weight", Param::weight(constant(1.0)));
    let bias = pb.add("bias", Param::weight(constant(0.0)));
    let mean = pb.add("running_mean", Param::statistic(constant(0.0)));
    let var = pb.add("running_var", Param::statistic(constant(1.0)));
    BatchNorm2d { affine: [weight, bias], running: [mean, var], options }
}

impl BatchNorm2d {
    /// A layer over parameters that exist, each `[channels]`: scale and shift, running mean and variance.
    pub fn new(affine: [Key; 2], running: [Key; 2], options: BatchNormOptions) -> Self {
        Self { affine, running, options }
    }

    /// `norm(x) + skip`, after the ReLU if [`BatchNormOptions::relu`] is set; see [`Tape::batch_norm`].
    ///
    /// # Errors
    /// A parameter that does not exist; shapes that do not fit, with the name of the scale; when a device fails.
    pub fn forward(&self, tape: &mut Tape, params: &Params, x: Value, skip: Option<&Value>) -> Result<Value, NnError> {
        let [weight, bias] = [tape.param(params, &self.affine[0])?, tape.param(params, &self.affine[1])?];
        let [mean, var] = [tape.param(params, &self.running[0])?, tape.param(params, &self.running[1])?];
        tape.batch_norm(x, [&weight, &bias], [&mean, &var], skip, self.options)
            .map_err(|error| error.of(&self.affine[0]))
    }
}
