//! What an ESANet is made of besides its encoders: convolution with batch-norm, squeeze-and-excitation, context, decoder module.
//!
//! Parameter names are those of the published implementation, so that its checkpoints load.

use super::DecoderConfig;
use umt_encoders::{Block, Residual};
use umt_nn::{
    Array, BatchNormOptions, ConvOptions, NnError, Param, Params, Tape, Var, init, init::ConvInit, kernels::Resize,
};
use umt_random::Rng;

/// Height and width of a map.
pub(super) fn size(x: &Var) -> Result<[usize; 2], NnError> {
    match *x.shape() {
        [_, h, w, _] => Ok([h, w]),
        ref other => Err(NnError::shape("map", "[n, h, w, c]", other)),
    }
}

/// A convolution without bias, batch-norm and ReLU: `<name>.conv`, `<name>.bn`.
pub(super) fn init_conv_norm(p: &mut Params, name: &str, kernel: usize, input: usize, output: usize, rng: &mut Rng) {
    init::conv(p, &format!("{name}.conv"), [kernel, kernel, input, output], ConvInit::Uniform, rng);
    init::batch_norm(p, &format!("{name}.bn"), output);
}

pub(super) fn conv_norm(tape: &mut Tape, p: &Params, name: &str, kernel: usize, x: &Var) -> Result<Var, NnError> {
    let (conv, norm) = (format!("{name}.conv"), format!("{name}.bn"));
    tape.conv_norm(p, [&conv, &norm], x, None, ConvOptions::square(1, kernel / 2), BatchNormOptions::relu())
}

/// A convolution with bias.
pub(super) fn init_conv(p: &mut Params, name: &str, kernel: usize, input: usize, output: usize, rng: &mut Rng) {
    init::conv(p, name, [kernel, kernel, input, output], ConvInit::Uniform, rng);
    init::conv_bias(p, name, input * kernel * kernel, output, rng);
}

/// `sigmoid(conv(relu(conv(mean of x))))`, one gate per image and channel: `<name>.fc.0`, `<name>.fc.2`.
pub(super) fn init_gate(p: &mut Params, name: &str, width: usize, rng: &mut Rng) {
    /// Channels of the map over those between the two convolutions.
    const REDUCTION: usize = 16;
    let middle = (width / REDUCTION).max(1);
    init_conv(p, &format!("{name}.fc.0"), 1, width, middle, rng);
    init_conv(p, &format!("{name}.fc.2"), 1, middle, width, rng);
}

pub(super) fn gate(tape: &mut Tape, p: &Params, name: &str, x: &Var) -> Result<Var, NnError> {
    let mean = tape.mean_inner(x)?;
    let &[n, c] = mean.shape() else {
        return Err(NnError::shape(name, "[n, h, w, c]", x.shape()));
    };
    let point = tape.reshape(&mean, &[n, 1, 1, c])?;
    let relu = ConvOptions { relu: true, ..ConvOptions::default() };
    let middle = tape.conv2d(p, &format!("{name}.fc.0"), &point, relu)?;
    let raw = tape.conv2d(p, &format!("{name}.fc.2"), &middle, ConvOptions::default())?;
    tape.sigmoid(&raw)
}

/// Learned upsampling, which starts as bilinear: `<name>.conv`.
pub(super) fn init_upsample(p: &mut Params, name: &str, width: usize) {
    const START: [f32; 9] = [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0];
    let mut weight = Array::uninit(&[3, 3, 1, width]);
    for (tap, value) in weight.make_mut().chunks_exact_mut(width).zip(START) {
        tap.fill(value / 16.0);
    }
    p.insert(format!("{name}.conv.weight"), Param::conv(weight));
    p.insert(format!("{name}.conv.bias"), Param::weight(Array::zeros(&[width])));
}

/// Pyramid pooling (Zhao et al., 2017): means over the map at several sizes, beside the map itself.
pub(super) fn init_context(p: &mut Params, config: &DecoderConfig, input: usize, rng: &mut Rng) {
    let branch = context_width(config, input);
    for index in 0..config.bins.len() {
        init_conv_norm(p, &format!("context_module.features.{index}.1"), 1, input, branch, rng);
    }
    let all = input + branch * config.bins.len();
    init_conv_norm(p, "context_module.final_conv", 1, all, config.widths[0], rng);
}

fn context_width(config: &DecoderConfig, input: usize) -> usize {
    (input / config.bins.len().max(1)).max(1)
}

pub(super) fn context(tape: &mut Tape, p: &Params, config: &DecoderConfig, x: Var) -> Result<Var, NnError> {
    let whole = size(&x)?;
    let mut parts = vec![x.clone()];
    for (index, &bin) in config.bins.iter().enumerate() {
        let pooled = tape.resize(&x, [bin, bin], Resize::Average)?;
        let branch = conv_norm(tape, p, &format!("context_module.features.{index}.1"), 1, &pooled)?;
        parts.push(tape.resize(&branch, whole, Resize::Nearest)?);
    }
    let all = tape.concat(&parts.iter().collect::<Vec<_>>())?;
    conv_norm(tape, p, "context_module.final_conv", 1, &all)
}

/// The blocks of decoder module `index`, from 1.
fn blocks(index: usize, count: usize, width: usize) -> impl Iterator<Item = Residual> {
    (0..count).map(move |block| Residual {
        name: format!("decoder.decoder_module_{index}.decoder_blocks.{block}"),
        block: Block::NonBottleneck1d,
        input: width,
        width,
        stride: 1,
    })
}

/// Decoder module `index`, from 1: 3x3 convolution, blocks, side output, upsampling.
pub(super) fn init_module(
    p: &mut Params,
    index: usize,
    count: usize,
    input: usize,
    width: usize,
    classes: usize,
    rng: &mut Rng,
) {
    let name = format!("decoder.decoder_module_{index}");
    init_conv_norm(p, &format!("{name}.conv3x3"), 3, input, width, rng);
    for block in blocks(index, count, width) {
        block.init(p, "", ConvInit::Uniform, rng);
    }
    init_upsample(p, &format!("{name}.upsample"), width);
    init_conv(p, &format!("{name}.side_output"), 1, width, classes, rng);
}

/// Gives the side output (in training) and the map at the size of `skip`, which is added.
pub(super) fn module(
    tape: &mut Tape,
    p: &Params,
    index: usize,
    count: usize,
    x: &Var,
    skip: &Var,
) -> Result<(Option<Var>, Var), NnError> {
    let name = format!("decoder.decoder_module_{index}");
    let mut y = conv_norm(tape, p, &format!("{name}.conv3x3"), 3, x)?;
    let &[.., width] = y.shape() else {
        return Err(NnError::shape(name, "[n, h, w, c]", y.shape()));
    };
    for block in blocks(index, count, width) {
        y = block.forward(tape, p, "", y)?;
    }
    let side = match tape.is_training() {
        true => Some(tape.conv2d(p, &format!("{name}.side_output"), &y, ConvOptions::default())?),
        false => None,
    };
    let up = tape.upsample(p, &format!("{name}.upsample.conv"), &y, size(skip)?, Some(skip))?;
    Ok((side, up))
}
