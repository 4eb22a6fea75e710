//! Initial values, drawn from named streams.

use crate::{Array, Param, Params};
use serde::{Deserialize, Serialize};
use umt_random::Rng;

/// Distribution of fresh convolution weights.
///
/// A batch-norm follows each convolution, so the scale does not change what a network computes; it
/// changes how far a step of a given learning rate rotates the weights. Uniform weights are 2.4 times
/// smaller and rotate 6 times as fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConvInit {
    /// Normal with variance `2 / (output * kh * kw)` (He et al. 2015, fan-out), as torchvision
    /// initialises its ResNets.
    #[default]
    HeNormal,
    /// Uniform in `±1 / sqrt(input * kh * kw)`, as PyTorch initialises a convolution by itself.
    Uniform,
}

/// Convolution weights `[kh, kw, input / groups, output]`.
pub(crate) fn conv_weight(shape: [usize; 4], init: ConvInit, rng: &mut Rng) -> Array {
    let [kh, kw, input, output] = shape;
    let std = (2.0 / (output * kh * kw) as f32).sqrt();
    let bound = 1.0 / ((input * kh * kw).max(1) as f32).sqrt();
    draw(&shape, rng, |r| match init {
        ConvInit::HeNormal => r.normal() * std,
        ConvInit::Uniform => r.range(-bound, bound),
    })
}

/// A linear layer `[output, input]` with bias, both uniform in `±1 / sqrt(input)`, as PyTorch's.
pub fn linear(params: &mut Params, name: &str, input: usize, output: usize, rng: &mut Rng) {
    let bound = 1.0 / (input.max(1) as f32).sqrt();
    uniform(params, &format!("{name}.weight"), &[output, input], bound, rng);
    uniform(params, &format!("{name}.bias"), &[output], bound, rng);
}

/// A tensor of values uniform in `±bound`; their variance is `bound^2 / 3`.
pub fn uniform(params: &mut Params, name: &str, shape: &[usize], bound: f32, rng: &mut Rng) {
    params.insert(name, Param::weight(draw(shape, rng, |r| r.range(-bound, bound))));
}

/// A tensor of normal values with mean 0.
pub fn normal(params: &mut Params, name: &str, shape: &[usize], std: f32, rng: &mut Rng) {
    params.insert(name, Param::weight(draw(shape, rng, |r| r.normal() * std)));
}

pub(crate) fn draw(shape: &[usize], rng: &mut Rng, mut value: impl FnMut(&mut Rng) -> f32) -> Array {
    let mut array = Array::uninit(shape);
    array.make_mut().iter_mut().for_each(|x| *x = value(rng));
    array
}
