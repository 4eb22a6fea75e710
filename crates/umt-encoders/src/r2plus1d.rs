//! R(2+1)D-18 (Tran et al., "A closer look at spatiotemporal convolutions", 2018), as in
//! torchvision: each 3-D convolution is one over space, batch-norm, ReLU, and one over time.
//!
//! In channels-last memory a convolution over time is a 2-D one whose rows are frames and whose
//! columns are all pixels of a frame, so no 3-D kernel is needed.

use crate::Encoder;
use serde::{Deserialize, Serialize};
use umt_nn::layers::{BatchNorm2d, Conv2d, ParamBuilder, batch_norm, conv2d_no_bias};
use umt_nn::{BatchNormOptions, ConvOptions, NnError, Params, Tape, Value};

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

impl R2Plus1dConfig {
    /// Channels of the map after each stage, the stem's first.
    pub(crate) fn stages(&self) -> Result<Vec<usize>, NnError> {
        let width = self.width;
        if width == 0 || self.channels == 0 {
            return Err(NnError::Unsupported("R(2+1)D needs width and channels above 0".into()));
        }
        Ok(vec![width, width, 2 * width, 4 * width, 8 * width])
    }
}

/// A convolution over space and time, split in two, each with its batch-norm.
struct Split {
    space: Conv2d,
    space_norm: BatchNorm2d,
    time: Conv2d,
    time_norm: BatchNorm2d,
}

impl Split {
    /// `names` are those of the two convolutions and their norms, in the order of the computation.
    fn new(
        [input, middle, output]: [usize; 3],
        kernel: usize,
        [space_stride, time_stride]: [usize; 2],
        names: [&str; 4],
        pb: &mut ParamBuilder<'_>,
    ) -> Self {
        let space = ConvOptions::square(space_stride, kernel / 2);
        let time = ConvOptions { stride: [time_stride, 1], pad: [1, 0], ..ConvOptions::default() };
        let norm = BatchNormOptions::relu();
        Self {
            space: conv2d_no_bias(input, middle, [kernel; 2], space, pb.pp(names[0])),
            space_norm: batch_norm(middle, norm, pb.pp(names[1])),
            time: conv2d_no_bias(middle, output, [3, 1], time, pb.pp(names[2])),
            time_norm: batch_norm(output, norm, pb.pp(names[3])),
        }
    }

    fn forward(&self, tape: &mut Tape, params: &Params, x: &Value, skip: Option<&Value>) -> Result<Value, NnError> {
        let x = over_space(tape, params, &self.space, x)?;
        let x = self.space_norm.forward(tape, params, x, None)?;
        let x = over_time(tape, params, &self.time, &x)?;
        self.time_norm.forward(tape, params, x, skip)
    }
}

/// A basic block of two split convolutions.
struct SplitBlock {
    convs: [Split; 2],
    stride: usize,
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

impl SplitBlock {
    fn new(input: usize, output: usize, stride: usize, mut pb: ParamBuilder<'_>) -> Self {
        // As many parameters as a full 3x3x3 convolution would have, by the block's own
        // input and output, for both of its convolutions.
        let middle = (input * output * 27) / (input * 9 + 3 * output);
        let names = ["0.0", "0.1", "0.3", "1"];
        let first = Split::new([input, middle, output], 3, [stride; 2], names, &mut pb.pp("conv1"));
        let second = Split::new([output, middle, output], 3, [1; 2], names, &mut pb.pp("conv2"));
        let downsample = (stride != 1).then(|| {
            let mut pb = pb.pp("downsample");
            let conv = conv2d_no_bias(input, output, [1, 1], ConvOptions::square(stride, 0), pb.pp(0));
            (conv, batch_norm(output, BatchNormOptions::default(), pb.pp(1)))
        });
        Self { convs: [first, second], stride, downsample }
    }

    fn forward(&self, tape: &mut Tape, params: &Params, x: Value) -> Result<Value, NnError> {
        let skip = match &self.downsample {
            Some((conv, norm)) => {
                let z = downsampled(tape, params, conv, &x, self.stride)?;
                norm.forward(tape, params, z, None)?
            }
            None => x.clone(),
        };
        let y = self.convs[0].forward(tape, params, &x, None)?;
        drop(x);
        self.convs[1].forward(tape, params, &y, Some(&skip))
    }
}

/// R(2+1)D-18 without its classifier; input `[n, t, h, w, c]`.
pub struct R2Plus1d {
    channels: Vec<usize>,
    stem: Split,
    stages: Vec<[SplitBlock; 2]>,
}

impl R2Plus1d {
    /// A network of two basic blocks in each of four stages.
    ///
    /// # Errors
    /// A width or a number of channels of 0.
    pub fn new(config: R2Plus1dConfig, mut pb: ParamBuilder<'_>) -> Result<Self, NnError> {
        let channels = config.stages()?;
        let R2Plus1dConfig { channels: input, width } = config;
        // 45 channels between space and time for the published width of 64.
        let sizes = [input, (45 * width).div_ceil(64), width];
        let stem = Split::new(sizes, 7, [2, 1], ["0", "1", "3", "4"], &mut pb.pp("stem"));
        let (mut stages, mut input) = (Vec::new(), width);
        for stage in 0..4 {
            let (output, stride) = (width << stage, if stage > 0 { 2 } else { 1 });
            let mut pb = pb.pp(format!("layer{}", stage + 1));
            let first = SplitBlock::new(input, output, stride, pb.pp(0));
            stages.push([first, SplitBlock::new(output, output, 1, pb.pp(1))]);
            input = output;
        }
        Ok(Self { channels, stem, stages })
    }
}

/// `[n, t, h, w, c]` of a value.
fn axes(x: &Value) -> Result<[usize; 5], NnError> {
    <[usize; 5]>::try_from(x.shape()).map_err(|_| NnError::shape("R(2+1)D", "[n, t, h, w, c]", x.shape()))
}

/// A convolution over each frame.
fn over_space(tape: &mut Tape, params: &Params, conv: &Conv2d, x: &Value) -> Result<Value, NnError> {
    let [n, t, h, w, c] = axes(x)?;
    let frames = tape.reshape(x, &[n * t, h, w, c])?;
    let y = conv.forward(tape, params, &frames)?;
    let &[_, h, w, c] = y.shape() else {
        return Err(NnError::shape("R(2+1)D", "[n, h, w, c]", y.shape()));
    };
    tape.reshape(&y, &[n, t, h, w, c])
}

/// A convolution over time, whose weights are those of rows.
fn over_time(tape: &mut Tape, params: &Params, conv: &Conv2d, x: &Value) -> Result<Value, NnError> {
    let [n, t, h, w, c] = axes(x)?;
    let rows = tape.reshape(x, &[n, t, h * w, c])?;
    let y = conv.forward(tape, params, &rows)?;
    let &[_, t, _, c] = y.shape() else {
        return Err(NnError::shape("R(2+1)D", "[n, t, hw, c]", y.shape()));
    };
    tape.reshape(&y, &[n, t, h, w, c])
}

impl Encoder for R2Plus1d {
    fn stages(&self) -> &[usize] {
        &self.channels
    }

    fn stage(&self, index: usize, tape: &mut Tape, params: &Params, x: Value) -> Result<Value, NnError> {
        axes(&x)?;
        if index == 0 {
            return self.stem.forward(tape, params, &x, None);
        }
        let Some(blocks) = self.stages.get(index - 1) else {
            return Err(NnError::Unsupported(format!("R(2+1)D has no stage {index}")));
        };
        blocks.iter().try_fold(x, |x, block| block.forward(tape, params, x))
    }
}

/// A 1x1x1 convolution whose stride also skips frames: every `stride`-th frame, then every
/// `stride`-th pixel, which a convolution with `t` as rows cannot do in one call.
fn downsampled(tape: &mut Tape, params: &Params, conv: &Conv2d, x: &Value, stride: usize) -> Result<Value, NnError> {
    let frames = tape.stride_axis1(x, stride)?;
    over_space(tape, params, conv, &frames)
}
