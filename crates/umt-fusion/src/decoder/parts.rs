//! Parts of the decoder: gates, context, decoder module.
//!
//! Parameter names are those of the published implementation, so that its checkpoints load.

use super::DecoderConfig;
use umt_encoders::{Block, Residual};
use umt_nn::layers::{Conv2d, ConvNorm, ParamBuilder, Upsample, batch_norm, conv2d, conv2d_no_bias, upsample};
use umt_nn::{BatchNormOptions, ConvOptions, NnError, Params, Tape, Value, kernels::Resize};

/// Height and width of a map.
pub(super) fn size(x: &Value) -> Result<[usize; 2], NnError> {
    match *x.shape() {
        [_, h, w, _] => Ok([h, w]),
        ref other => Err(NnError::shape("map", "[n, h, w, c]", other)),
    }
}

/// A convolution without bias, batch-norm and ReLU: `conv`, `bn`.
pub(super) fn conv_norm(
    kernel: usize,
    input: usize,
    output: usize,
    mut pb: ParamBuilder<'_>,
) -> Result<ConvNorm, NnError> {
    let conv = conv2d_no_bias(input, output, [kernel; 2], ConvOptions::square(1, kernel / 2), pb.pp("conv"));
    ConvNorm::new(conv, batch_norm(output, BatchNormOptions::relu(), pb.pp("bn")))
}

/// A convolution of stride 1 with bias that keeps the size.
pub(super) fn conv(kernel: usize, input: usize, output: usize, pb: ParamBuilder<'_>) -> Conv2d {
    conv2d(input, output, [kernel; 2], ConvOptions::square(1, kernel / 2), pb)
}

/// `sigmoid(conv(relu(conv(mean of x))))`, one gate per image and channel: `fc.0`, `fc.2`.
pub(super) struct Gate {
    squeeze: Conv2d,
    excite: Conv2d,
}

impl Gate {
    pub fn new(width: usize, mut pb: ParamBuilder<'_>) -> Self {
        /// Channels of the map over those between the two convolutions.
        const REDUCTION: usize = 16;
        let middle = (width / REDUCTION).max(1);
        let relu = ConvOptions { relu: true, ..ConvOptions::default() };
        let squeeze = conv2d(width, middle, [1, 1], relu, pb.pp("fc.0"));
        Self { squeeze, excite: conv(1, middle, width, pb.pp("fc.2")) }
    }

    pub fn forward(&self, tape: &mut Tape, params: &Params, x: &Value) -> Result<Value, NnError> {
        let mean = tape.mean_inner(x)?;
        let &[n, c] = mean.shape() else {
            return Err(NnError::shape("squeeze-and-excitation", "[n, h, w, c]", x.shape()));
        };
        let point = tape.reshape(&mean, &[n, 1, 1, c])?;
        let middle = self.squeeze.forward(tape, params, &point)?;
        let raw = self.excite.forward(tape, params, &middle)?;
        tape.sigmoid(&raw)
    }
}

/// Pyramid pooling (Zhao et al., 2017): means over the map at several sizes, next to the map itself.
pub(super) struct Context {
    /// Side of the pooled map, and what follows the pooling.
    branches: Vec<(usize, ConvNorm)>,
    last: ConvNorm,
}

impl Context {
    pub fn new(config: &DecoderConfig, input: usize, mut pb: ParamBuilder<'_>) -> Result<Self, NnError> {
        let width = (input / config.bins.len().max(1)).max(1);
        let mut branches = Vec::new();
        for (index, &bin) in config.bins.iter().enumerate() {
            branches.push((bin, conv_norm(1, input, width, pb.pp(format!("features.{index}.1")))?));
        }
        let all = input + width * branches.len();
        Ok(Self { branches, last: conv_norm(1, all, config.widths[0], pb.pp("final_conv"))? })
    }

    pub fn forward(&self, tape: &mut Tape, params: &Params, x: Value) -> Result<Value, NnError> {
        let whole = size(&x)?;
        let mut parts = vec![x.clone()];
        for (bin, conv) in &self.branches {
            let pooled = tape.resize(&x, [*bin; 2], Resize::Average)?;
            let branch = conv.forward(tape, params, &pooled, None)?;
            parts.push(tape.resize(&branch, whole, Resize::Nearest)?);
        }
        let all = tape.concat(&parts.iter().collect::<Vec<_>>())?;
        self.last.forward(tape, params, &all, None)
    }
}

/// A decoder module: 3x3 convolution, blocks, side output, upsampling.
pub(super) struct Module {
    conv: ConvNorm,
    blocks: Vec<Residual>,
    upsample: Upsample,
    side: Conv2d,
}

impl Module {
    pub fn new(
        blocks: usize,
        input: usize,
        width: usize,
        classes: usize,
        mut pb: ParamBuilder<'_>,
    ) -> Result<Self, NnError> {
        let conv = conv_norm(3, input, width, pb.pp("conv3x3"))?;
        let block =
            |index| Residual::new(Block::NonBottleneck1d, width, width, 1, pb.pp(format!("decoder_blocks.{index}")));
        let blocks = (0..blocks).map(block).collect::<Result<_, _>>()?;
        let upsample = upsample(width, pb.pp("upsample.conv"));
        Ok(Self { conv, blocks, upsample, side: self::conv(1, width, classes, pb.pp("side_output")) })
    }

    /// The side output (in training) and the map at the size of `skip`, which is added.
    pub fn forward(
        &self,
        tape: &mut Tape,
        params: &Params,
        x: &Value,
        skip: &Value,
    ) -> Result<(Option<Value>, Value), NnError> {
        let mut y = self.conv.forward(tape, params, x, None)?;
        for block in &self.blocks {
            y = block.forward(tape, params, y)?;
        }
        let side = match tape.is_training() {
            true => Some(self.side.forward(tape, params, &y)?),
            false => None,
        };
        let up = self.upsample.forward(tape, params, &y, size(skip)?, Some(skip))?;
        Ok((side, up))
    }
}
