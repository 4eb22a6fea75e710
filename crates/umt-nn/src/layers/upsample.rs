//! Learned upsampling.

use super::ParamBuilder;
use crate::{Array, Key, NnError, Param, Params, Tape, Value};

/// Twice the size: nearest, then a depth-wise 3x3 convolution with bias; see [`Tape::upsample`].
#[derive(Clone, Debug)]
pub struct Upsample {
    weight: Key,
    bias: Key,
}

/// An upsampling of `channels` that starts as bilinear interpolation.
pub fn upsample(channels: usize, mut pb: ParamBuilder<'_>) -> Upsample {
    const BILINEAR: [f32; 9] = [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0];
    let mut weight = Array::uninit(&[3, 3, 1, channels]);
    let values = weight.make_mut();
    if channels > 0 {
        for (tap, value) in values.chunks_exact_mut(channels).zip(BILINEAR) {
            tap.fill(value / 16.0);
        }
    }
    let weight = pb.add("weight", Param::conv(weight));
    let bias = pb.add("bias", Param::weight(Array::zeros(&[channels])));
    Upsample { weight, bias }
}

impl Upsample {
    /// A layer over parameters that exist: `weight` `[3, 3, 1, channels]` in memory, `bias` `[channels]`.
    pub fn new(weight: Key, bias: Key) -> Self {
        Self { weight, bias }
    }

    /// `x` `[n, h, w, c]` at the size `to` (each twice as long, or one less), plus `skip`.
    ///
    /// # Errors
    /// A parameter that does not exist; shapes that do not fit, with the name of the weights; when a device fails.
    pub fn forward(
        &self,
        tape: &mut Tape,
        params: &Params,
        x: &Value,
        to: [usize; 2],
        skip: Option<&Value>,
    ) -> Result<Value, NnError> {
        let [weight, bias] = [tape.param(params, &self.weight)?, tape.param(params, &self.bias)?];
        tape.upsample(x, [&weight, &bias], to, skip).map_err(|error| error.of(&self.weight))
    }
}
