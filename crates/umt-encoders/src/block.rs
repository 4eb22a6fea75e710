//! Residual blocks: a table of convolutions, and one way to run it.

use serde::{Deserialize, Serialize};
use umt_nn::{BatchNormOptions, ConvOptions, NnError, Params, Tape, Var, init, init::ConvInit};
use umt_random::Rng;

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

/// What follows a convolution.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// A bias, and ReLU.
    Relu,
    /// A bias, and the batch-norm of this name.
    BiasedNorm(&'static str),
    /// The batch-norm of this name.
    Norm(&'static str),
}

/// A convolution in a block. Padding keeps the size, up to the stride.
struct Layer {
    name: &'static str,
    kernel: [usize; 2],
    stride: [usize; 2],
    output: usize,
    then: Then,
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

    fn layers(self, width: usize, s: usize) -> Vec<Layer> {
        let layer = |name, kernel, stride, output, then| Layer { name, kernel, stride, output, then };
        match self {
            Self::Basic => vec![
                layer("conv1", [3, 3], [s, s], width, Then::Norm("bn1")),
                layer("conv2", [3, 3], [1, 1], width, Then::Norm("bn2")),
            ],
            Self::Bottleneck => vec![
                layer("conv1", [1, 1], [1, 1], width, Then::Norm("bn1")),
                layer("conv2", [3, 3], [s, s], width, Then::Norm("bn2")),
                layer("conv3", [1, 1], [1, 1], 4 * width, Then::Norm("bn3")),
            ],
            Self::NonBottleneck1d => vec![
                layer("conv3x1_1", [3, 1], [s, 1], width, Then::Relu),
                layer("conv1x3_1", [1, 3], [1, s], width, Then::BiasedNorm("bn1")),
                layer("conv3x1_2", [3, 1], [1, 1], width, Then::Relu),
                layer("conv1x3_2", [1, 3], [1, 1], width, Then::BiasedNorm("bn2")),
            ],
        }
    }
}

/// One residual block in its place; its parameters are `<name>.conv1.weight` and so on.
#[derive(Clone, Debug)]
pub struct Residual {
    /// Prefix of its parameters, without the last dot.
    pub name: String,
    /// What it is made of.
    pub block: Block,
    /// Channels of the input.
    pub input: usize,
    /// Channels of the inner convolutions; the output has [`Block::expansion`] times as many.
    pub width: usize,
    /// Stride of the first convolution that is larger than a point.
    pub stride: usize,
}

impl Residual {
    /// Channels of the output.
    pub fn output(&self) -> usize {
        self.width * self.block.expansion()
    }

    fn has_downsample(&self) -> bool {
        self.stride != 1 || self.input != self.output()
    }

    /// Adds freshly drawn parameters under `prefix`.
    pub fn init(&self, params: &mut Params, prefix: &str, distribution: ConvInit, rng: &mut Rng) {
        let name = |part: &str| format!("{prefix}{}.{part}", self.name);
        let mut input = self.input;
        for Layer { name: conv, kernel: [kh, kw], output, then, .. } in self.block.layers(self.width, self.stride) {
            init::conv(params, &name(conv), [kh, kw, input, output], distribution, rng);
            if !matches!(then, Then::Norm(_)) {
                init::conv_bias(params, &name(conv), input * kh * kw, output, rng);
            }
            if let Then::Norm(norm) | Then::BiasedNorm(norm) = then {
                init::batch_norm(params, &name(norm), output);
            }
            input = output;
        }
        if self.has_downsample() {
            init::conv(params, &name("downsample.0"), [1, 1, self.input, self.output()], distribution, rng);
            init::batch_norm(params, &name("downsample.1"), self.output());
        }
    }

    /// `relu(layers(x) + x)`, where `x` is brought to the output's shape by a 1x1 convolution and batch-norm if it
    /// has another.
    pub fn forward(&self, tape: &mut Tape, params: &Params, prefix: &str, x: Var) -> Result<Var, NnError> {
        let name = |part: &str| format!("{prefix}{}.{part}", self.name);
        let skip = if self.has_downsample() {
            let options = ConvOptions::square(self.stride, 0);
            let norm = BatchNormOptions::default();
            tape.conv_norm(params, [&name("downsample.0"), &name("downsample.1")], &x, None, options, norm)?
        } else {
            x.clone()
        };
        let norm_options = BatchNormOptions { eps: self.block.eps(), ..BatchNormOptions::relu() };
        let layers = self.block.layers(self.width, self.stride);
        let last = layers.len() - 1;
        let mut y = x;
        for (index, Layer { name: conv, kernel: [kh, kw], stride, then, .. }) in layers.into_iter().enumerate() {
            let options = ConvOptions { stride, pad: [kh / 2, kw / 2], ..ConvOptions::default() };
            y = match then {
                Then::Relu => tape.conv2d(params, &name(conv), &y, ConvOptions { relu: true, ..options })?,
                Then::Norm(norm) | Then::BiasedNorm(norm) => {
                    let skip = (index == last).then_some(&skip);
                    tape.conv_norm(params, [&name(conv), &name(norm)], &y, skip, options, norm_options)?
                }
            };
        }
        Ok(y)
    }
}
