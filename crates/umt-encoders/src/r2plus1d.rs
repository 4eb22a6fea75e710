//! R(2+1)D-18 (Tran et al., "A closer look at spatiotemporal convolutions", 2018), as in
//! torchvision: each 3-D convolution is one over space, batch-norm, ReLU, and one over time.
//!
//! In channels-last memory a convolution over time is a 2-D one whose rows are frames and whose
//! columns are all places of a frame, so no 3-D kernel is needed.

use crate::Encoder;
use serde::{Deserialize, Serialize};
use umt_nn::{BatchNormOptions, ConvOptions, NnError, Params, Tape, Var, init, init::ConvInit};
use umt_random::Rng;

/// Settings of an R(2+1)D network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct R2Plus1dConfig {
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the first stage; the others have 2, 4 and 8 times as many.
    pub width: usize,
}

impl Default for R2Plus1dConfig {
    fn default() -> Self {
        Self { channels: 3, width: 64 }
    }
}

/// One convolution over space and time, split in two.
struct Split {
    name: String,
    input: usize,
    middle: usize,
    output: usize,
    stride: usize,
}

/// R(2+1)D-18 without its classifier; input `[n, t, h, w, c]`.
pub struct R2Plus1d {
    config: R2Plus1dConfig,
}

impl R2Plus1d {
    /// A network of two basic blocks in each of four stages.
    pub fn new(config: R2Plus1dConfig) -> Result<Self, NnError> {
        if config.width == 0 || config.channels == 0 {
            return Err(NnError::Unsupported("R(2+1)D needs width and channels above 0".into()));
        }
        Ok(Self { config })
    }

    /// Channels between space and time in the stem: 45 for the published width of 64.
    fn stem_middle(&self) -> usize {
        (45 * self.config.width).div_ceil(64)
    }

    /// The blocks: the two split convolutions of each, the first with the stride.
    fn blocks(&self) -> Vec<[Split; 2]> {
        let mut blocks = Vec::new();
        let mut input = self.config.width;
        for stage in 0..4 {
            let output = self.config.width << stage;
            for index in 0..2 {
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                // As many parameters as a full 3x3x3 convolution would have, by the block's own
                // input and output, for both of its convolutions.
                let middle = (input * output * 27) / (input * 9 + 3 * output);
                let name = |conv| format!("layer{}.{index}.conv{conv}", stage + 1);
                blocks.push([
                    Split { name: name(1), input, middle, output, stride },
                    Split { name: name(2), input: output, middle, output, stride: 1 },
                ]);
                input = output;
            }
        }
        blocks
    }
}

/// `[n, t, h, w, c]` of a value.
fn axes(x: &Var) -> Result<[usize; 5], NnError> {
    <[usize; 5]>::try_from(x.shape()).map_err(|_| NnError::shape("R(2+1)D", "[n, t, h, w, c]", x.shape()))
}

/// A convolution over each frame.
fn over_space(tape: &mut Tape, params: &Params, name: &str, x: &Var, options: ConvOptions) -> Result<Var, NnError> {
    let [n, t, h, w, c] = axes(x)?;
    let frames = tape.reshape(x, &[n * t, h, w, c])?;
    let y = tape.conv2d(params, name, &frames, options)?;
    let &[_, h, w, c] = y.shape() else {
        return Err(NnError::shape(name, "[n, h, w, c]", y.shape()));
    };
    tape.reshape(&y, &[n, t, h, w, c])
}

/// A convolution of three taps over time.
fn over_time(tape: &mut Tape, params: &Params, name: &str, x: &Var, stride: usize) -> Result<Var, NnError> {
    let [n, t, h, w, c] = axes(x)?;
    let rows = tape.reshape(x, &[n, t, h * w, c])?;
    let options = ConvOptions { stride: [stride, 1], pad: [1, 0], ..ConvOptions::default() };
    let y = tape.conv2d(params, name, &rows, options)?;
    let &[_, t, _, c] = y.shape() else {
        return Err(NnError::shape(name, "[n, t, hw, c]", y.shape()));
    };
    tape.reshape(&y, &[n, t, h, w, c])
}

impl Encoder for R2Plus1d {
    fn init(&self, params: &mut Params, prefix: &str, rng: &mut Rng) {
        let R2Plus1dConfig { channels, width } = self.config;
        let middle = self.stem_middle();
        init::conv(params, &format!("{prefix}stem.0"), [7, 7, channels, middle], ConvInit::HeNormal, rng);
        init::batch_norm(params, &format!("{prefix}stem.1"), middle);
        init::conv(params, &format!("{prefix}stem.3"), [3, 1, middle, width], ConvInit::HeNormal, rng);
        init::batch_norm(params, &format!("{prefix}stem.4"), width);
        for block in self.blocks() {
            for split in &block {
                let Split { name, input, middle, output, .. } = split;
                init::conv(params, &format!("{prefix}{name}.0.0"), [3, 3, *input, *middle], ConvInit::HeNormal, rng);
                init::batch_norm(params, &format!("{prefix}{name}.0.1"), *middle);
                init::conv(params, &format!("{prefix}{name}.0.3"), [3, 1, *middle, *output], ConvInit::HeNormal, rng);
                init::batch_norm(params, &format!("{prefix}{name}.1"), *output);
            }
            let [first, _] = &block;
            if first.stride != 1 {
                let name = downsample(prefix, first);
                init::conv(params, &format!("{name}.0"), [1, 1, first.input, first.output], ConvInit::HeNormal, rng);
                init::batch_norm(params, &format!("{name}.1"), first.output);
            }
        }
    }

    fn stages(&self) -> Vec<usize> {
        let width = self.config.width;
        vec![width, width, 2 * width, 4 * width, 8 * width]
    }

    fn stage(&self, index: usize, tape: &mut Tape, params: &Params, prefix: &str, x: Var) -> Result<Var, NnError> {
        axes(&x)?;
        let relu = BatchNormOptions::relu();
        if index == 0 {
            let x = over_space(tape, params, &format!("{prefix}stem.0"), &x, ConvOptions::square(2, 3))?;
            let x = tape.batch_norm(params, &format!("{prefix}stem.1"), x, None, relu)?;
            let x = over_time(tape, params, &format!("{prefix}stem.3"), &x, 1)?;
            return tape.batch_norm(params, &format!("{prefix}stem.4"), x, None, relu);
        }
        let blocks = self.blocks();
        let Some(blocks) = blocks.chunks_exact(2).nth(index - 1) else {
            return Err(NnError::Unsupported(format!("R(2+1)D has no stage {index}")));
        };
        let mut x = x;
        for block in blocks {
            let [first, _] = block;
            let skip = if first.stride == 1 {
                x.clone()
            } else {
                let name = downsample(prefix, first);
                let z = downsample_conv(tape, params, &format!("{name}.0"), &x, first.stride)?;
                tape.batch_norm(params, &format!("{name}.1"), z, None, BatchNormOptions::default())?
            };
            for (index, Split { name, stride, .. }) in block.iter().enumerate() {
                let space = ConvOptions::square(*stride, 1);
                x = over_space(tape, params, &format!("{prefix}{name}.0.0"), &x, space)?;
                x = tape.batch_norm(params, &format!("{prefix}{name}.0.1"), x, None, relu)?;
                x = over_time(tape, params, &format!("{prefix}{name}.0.3"), &x, *stride)?;
                let skip = (index == 1).then_some(&skip);
                x = tape.batch_norm(params, &format!("{prefix}{name}.1"), x, skip, relu)?;
            }
        }
        Ok(x)
    }
}

fn downsample(prefix: &str, first: &Split) -> String {
    let block = first.name.trim_end_matches(".conv1");
    format!("{prefix}{block}.downsample")
}

/// A 1x1x1 convolution whose stride also skips frames: every `stride`-th frame, then every
/// `stride`-th place, which a convolution with `t` as rows cannot do in one call.
fn downsample_conv(tape: &mut Tape, params: &Params, name: &str, x: &Var, stride: usize) -> Result<Var, NnError> {
    let [n, t, h, w, c] = axes(x)?;
    let frames = tape.stride_axis1(x, stride)?;
    let kept = t.div_ceil(stride);
    let pictures = tape.reshape(&frames, &[n * kept, h, w, c])?;
    let y = tape.conv2d(params, name, &pictures, ConvOptions::square(stride, 0))?;
    let &[_, h, w, c] = y.shape() else {
        return Err(NnError::shape(name, "[n, h, w, c]", y.shape()));
    };
    tape.reshape(&y, &[n, kept, h, w, c])
}
