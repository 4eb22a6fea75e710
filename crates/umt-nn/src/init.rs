//! Initial values, drawn from named streams.

use crate::{Array, Param, Params};
use umt_random::Rng;

/// Convolution weights `[kh, kw, input / groups, output]`, normal with variance
/// `2 / (output * kh * kw)` (He et al. 2015, fan-out, as torchvision initialises its ResNets).
pub fn conv(params: &mut Params, name: &str, shape: [usize; 4], rng: &mut Rng) {
    let [kh, kw, _, output] = shape;
    let deviation = (2.0 / (output * kh * kw) as f32).sqrt();
    params.insert(format!("{name}.weight"), Param::conv(draw(&shape, rng, |r| r.normal() * deviation)));
}

/// A linear layer `[output, input]` with bias, both uniform in `±1 / sqrt(input)`, as PyTorch's.
pub fn linear(params: &mut Params, name: &str, input: usize, output: usize, rng: &mut Rng) {
    let bound = 1.0 / (input.max(1) as f32).sqrt();
    let weight = draw(&[output, input], rng, |r| r.range(-bound, bound));
    let bias = draw(&[output], rng, |r| r.range(-bound, bound));
    params.insert(format!("{name}.weight"), Param::weight(weight));
    params.insert(format!("{name}.bias"), Param::weight(bias));
}

/// A batch-norm over `channels`: scale 1, shift 0, running mean 0 and variance 1.
pub fn batch_norm(params: &mut Params, name: &str, channels: usize) {
    params.insert(format!("{name}.weight"), Param::weight(Array::full(&[channels], 1.0)));
    params.insert(format!("{name}.bias"), Param::weight(Array::zeros(&[channels])));
    params.insert(format!("{name}.running_mean"), Param::buffer(Array::zeros(&[channels])));
    params.insert(format!("{name}.running_var"), Param::buffer(Array::full(&[channels], 1.0)));
}

fn draw(shape: &[usize], rng: &mut Rng, mut value: impl FnMut(&mut Rng) -> f32) -> Array {
    let mut array = Array::unspecified(shape);
    array.make_mut().iter_mut().for_each(|x| *x = value(rng));
    array
}
