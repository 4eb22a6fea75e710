//! Residual blocks.

use serde::{Deserialize, Serialize};
use umt_nn::layers::{Conv2d, ConvNorm, ParamBuilder, batch_norm, conv2d, conv2d_no_bias};
use umt_nn::{BatchNormOptions, ConvOptions, NnError, Params, Tape, Value};

/// The residual block a network is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// Two 3x3 convolutions.
    #[default]
    Basic,
    /// 1x1, 3x3, 1x1, the last four times as wide; the stride is on the 3x3, as in torchvision.
    Bottleneck,
    /// 3x1, 1x3, 3x1, 1x3 with biases, a batch-norm after each pair (Romera et al., "ERFNet", 2018).
    #[serde(rename = "non-bottleneck-1d")]
    NonBottleneck1d,
}

impl Block {
    /// Channels of the output over channels of the inner convolutions.
    pub fn expansion(self) -> usize {
        match self {
            Self::Basic | Self::NonBottleneck1d => 1,
            Self::Bottleneck => 4,
        }
    }

    /// ERFNet's blocks, and ESANet's after them, are normalised with a larger constant.
    fn eps(self) -> f32 {
        if self == Self::NonBottleneck1d { 1e-3 } else { BatchNormOptions::default().eps }
    }
}

/// A layer of a block.
enum Layer {
    /// A convolution with bias and ReLU.
    Relu(Conv2d),
    /// A convolution and its batch-norm.
    Norm(ConvNorm),
}

/// One residual block: `relu(layers(x) + x)`, where `x` is brought to the output's shape by a 1x1 convolution and batch-norm if it has another.
pub struct Residual {
    layers: Vec<Layer>,
    downsample: Option<ConvNorm>,
}

impl Residual {
    /// A block whose inner convolutions have `width` channels, its output [`Block::expansion`] times as many. The stride is on the first
    /// convolution larger than 1x1. Padding keeps the size, up to the stride.
    ///
    /// # Errors
    /// None with these layers; those of [`ConvNorm::new`].
    pub fn new(
        block: Block,
        input: usize,
        width: usize,
        stride: usize,
        mut pb: ParamBuilder<'_>,
    ) -> Result<Self, NnError> {
        let output = width * block.expansion();
        let norm = |relu| BatchNormOptions { eps: block.eps(), relu, ..BatchNormOptions::default() };
        let options =
            |[kh, kw]: [usize; 2], stride| ConvOptions { stride, pad: [kh / 2, kw / 2], ..ConvOptions::default() };
        let mut layers = Vec::new();
        if block == Block::NonBottleneck1d {
            let pairs = [["conv3x1_1", "conv1x3_1", "bn1"], ["conv3x1_2", "conv1x3_2", "bn2"]];
            for ([rows, columns, bn], s, input) in [(pairs[0], stride, input), (pairs[1], 1, width)] {
                let (kernel, then) = ([3, 1], ConvOptions { relu: true, ..options([3, 1], [s, 1]) });
                layers.push(Layer::Relu(conv2d(input, width, kernel, then, pb.pp(rows))));
                let conv = conv2d(width, width, [1, 3], options([1, 3], [1, s]), pb.pp(columns));
                layers.push(Layer::Norm(ConvNorm::new(conv, batch_norm(width, norm(true), pb.pp(bn)))?));
            }
        } else {
            let table: &[(usize, usize, usize)] = match block {
                Block::Bottleneck => &[(1, 1, width), (3, stride, width), (1, 1, output)],
                _ => &[(3, stride, width), (3, 1, width)],
            };
            let mut input = input;
            for (index, &(kernel, stride, output)) in (1..).zip(table) {
                let (kernel, name) = ([kernel; 2], format!("conv{index}"));
                let conv = conv2d_no_bias(input, output, kernel, options(kernel, [stride; 2]), pb.pp(name));
                let norm = batch_norm(output, norm(true), pb.pp(format!("bn{index}")));
                layers.push(Layer::Norm(ConvNorm::new(conv, norm)?));
                input = output;
            }
        }
        let downsample = if stride != 1 || input != output {
            let mut pb = pb.pp("downsample");
            let conv = conv2d_no_bias(input, output, [1, 1], ConvOptions::square(stride, 0), pb.pp(0));
            Some(ConvNorm::new(conv, batch_norm(output, BatchNormOptions::default(), pb.pp(1)))?)
        } else {
            None
        };
        Ok(Self { layers, downsample })
    }

    /// Maps `[n, h, w, input]` to `[n, h', w', output]`.
    ///
    /// # Errors
    /// Shapes that do not fit; when a device fails.
    pub fn forward(&self, tape: &mut Tape, params: &Params, x: Value) -> Result<Value, NnError> {
        let skip = match &self.downsample {
            Some(downsample) => downsample.forward(tape, params, &x, None)?,
            None => x.clone(),
        };
        let last = self.layers.len() - 1;
        let mut y = x;
        for (index, layer) in self.layers.iter().enumerate() {
            y = match layer {
                Layer::Relu(conv) => conv.forward(tape, params, &y)?,
                Layer::Norm(conv) => conv.forward(tape, params, &y, (index == last).then_some(&skip))?,
            };
        }
        Ok(y)
    }
}
