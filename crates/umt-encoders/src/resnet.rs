//! ResNet (He et al., "Deep residual learning for image recognition", 2015), as in torchvision.

use crate::Encoder;
use serde::{Deserialize, Serialize};
use umt_nn::{BatchNormOptions, ConvOptions, NnError, Params, PoolOptions, Tape, Var, init, init::ConvInit};
use umt_random::Rng;

/// How the picture enters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stem {
    /// 7x7 convolution of stride 2, then 3x3 max-pool of stride 2, as published.
    #[default]
    #[serde(rename = "7x7")]
    Large,
    /// 3x3 convolution of stride 2 and no pooling, for inputs of about 64x64.
    #[serde(rename = "3x3")]
    Small,
    /// 3x3 convolution of stride 1 and no pooling, for inputs of about 32x32.
    #[serde(rename = "3x3-1")]
    Same,
}

/// Settings of a ResNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResNetConfig {
    /// Channels of the input: 3 for colour, 1 for a spectrogram.
    pub channels: usize,
    /// Channels of the first stage; each further one has twice as many as the one before.
    pub width: usize,
    /// How the picture enters.
    pub stem: Stem,
    /// Distribution of fresh weights.
    pub init: ConvInit,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self { channels: 3, width: 64, stem: Stem::Large, init: ConvInit::default() }
    }
}

/// The residual block a ResNet is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1, the last four times as wide; the stride is on the 3x3, as in torchvision.
    Bottleneck,
}

impl Block {
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }

    /// Kernel, stride and channels of each convolution: `[(kernel, stride, output)]`.
    fn convs(self, width: usize, stride: usize) -> Vec<(usize, usize, usize)> {
        match self {
            Self::Basic => vec![(3, stride, width), (3, 1, width)],
            Self::Bottleneck => vec![(1, 1, width), (3, stride, width), (1, 1, 4 * width)],
        }
    }
}

/// One residual block in its place.
struct Unit {
    stage: usize,
    name: String,
    input: usize,
    width: usize,
    stride: usize,
}

/// A ResNet without its classifier. Pictures in a row are encoded one by one and averaged over time.
///
/// The stem's max-pool, if it has one, begins stage 1, so that whoever works on maps between stages
/// sees the stem's at its full size.
pub struct ResNet {
    config: ResNetConfig,
    block: Block,
    units: Vec<Unit>,
    /// Behind the stem.
    stages: usize,
}

impl ResNet {
    /// A ResNet of `depths` blocks in its stages.
    pub fn new(block: Block, depths: &[usize], config: ResNetConfig) -> Result<Self, NnError> {
        if config.width == 0 || config.channels == 0 || depths.is_empty() {
            return Err(NnError::Setting("a ResNet needs a stage, and width and channels above 0".into()));
        }
        let mut units = Vec::new();
        let mut input = config.width;
        for (stage, &depth) in depths.iter().enumerate() {
            let width = config.width << stage;
            for index in 0..depth {
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                let name = format!("layer{}.{index}", stage + 1);
                units.push(Unit { stage: stage + 1, name, input, width, stride });
                input = width * block.expansion();
            }
        }
        Ok(Self { config, block, units, stages: depths.len() })
    }

    fn stem(&self) -> (usize, ConvOptions) {
        match self.config.stem {
            Stem::Large => (7, ConvOptions::square(2, 3)),
            Stem::Small => (3, ConvOptions::square(2, 1)),
            Stem::Same => (3, ConvOptions::square(1, 1)),
        }
    }

    fn has_downsample(&self, unit: &Unit) -> bool {
        unit.stride != 1 || unit.input != unit.width * self.block.expansion()
    }

    fn unit(&self, tape: &mut Tape, params: &Params, prefix: &str, unit: &Unit, x: Var) -> Result<Var, NnError> {
        let name = |part: &str| format!("{prefix}{}.{part}", unit.name);
        let skip = if self.has_downsample(unit) {
            let options = ConvOptions::square(unit.stride, 0);
            let z = tape.conv2d(params, &name("downsample.0"), &x, options)?;
            tape.batch_norm(params, &name("downsample.1"), z, None, BatchNormOptions::default())?
        } else {
            x.clone()
        };
        let convs = self.block.convs(unit.width, unit.stride);
        let last = convs.len();
        let mut y = x;
        for (index, (kernel, stride, _)) in (1..).zip(convs) {
            let options = ConvOptions::square(stride, kernel / 2);
            let z = tape.conv2d(params, &name(&format!("conv{index}")), &y, options)?;
            let skip = (index == last).then_some(&skip);
            y = tape.batch_norm(params, &name(&format!("bn{index}")), z, skip, BatchNormOptions::relu())?;
        }
        Ok(y)
    }
}

impl Encoder for ResNet {
    fn init(&self, params: &mut Params, prefix: &str, rng: &mut Rng) {
        let ResNetConfig { channels, width, .. } = self.config;
        let (kernel, _) = self.stem();
        init::conv(params, &format!("{prefix}conv1"), [kernel, kernel, channels, width], self.config.init, rng);
        init::batch_norm(params, &format!("{prefix}bn1"), width);
        for unit in &self.units {
            let name = |part: &str| format!("{prefix}{}.{part}", unit.name);
            let mut input = unit.input;
            for (index, (kernel, _, output)) in (1..).zip(self.block.convs(unit.width, unit.stride)) {
                init::conv(
                    params,
                    &name(&format!("conv{index}")),
                    [kernel, kernel, input, output],
                    self.config.init,
                    rng,
                );
                init::batch_norm(params, &name(&format!("bn{index}")), output);
                input = output;
            }
            if self.has_downsample(unit) {
                init::conv(params, &name("downsample.0"), [1, 1, unit.input, input], self.config.init, rng);
                init::batch_norm(params, &name("downsample.1"), input);
            }
        }
    }

    fn stages(&self) -> Vec<usize> {
        let widths = (0..self.stages).map(|stage| (self.config.width << stage) * self.block.expansion());
        std::iter::once(self.config.width).chain(widths).collect()
    }

    fn stage(&self, index: usize, tape: &mut Tape, params: &Params, prefix: &str, x: Var) -> Result<Var, NnError> {
        let (mut x, frames) = match *x.shape() {
            [_, _, _, _] => (x, None),
            [n, t, h, w, c] => (tape.reshape(&x, &[n * t, h, w, c])?, Some([n, t])),
            ref other => {
                return Err(NnError::shape("ResNet", "[n, h, w, c] or [n, t, h, w, c]", other));
            }
        };
        if index > self.stages {
            return Err(NnError::Setting(format!("a ResNet has no stage {index}")));
        }
        if index == 0 {
            let (_, options) = self.stem();
            x = tape.conv2d(params, &format!("{prefix}conv1"), &x, options)?;
            x = tape.batch_norm(params, &format!("{prefix}bn1"), x, None, BatchNormOptions::relu())?;
        } else if index == 1 && self.config.stem == Stem::Large {
            x = tape.max_pool(&x, PoolOptions { kernel: 3, stride: 2, pad: 1 })?;
        }
        for unit in self.units.iter().filter(|unit| unit.stage == index) {
            x = self.unit(tape, params, prefix, unit, x)?;
        }
        match (frames, x.shape()) {
            (Some([n, t]), &[_, h, w, c]) => tape.reshape(&x, &[n, t, h, w, c]),
            _ => Ok(x),
        }
    }

    fn pool(&self, tape: &mut Tape, map: &Var) -> Result<Var, NnError> {
        let &[n, t, h, w, c] = map.shape() else {
            return tape.mean_inner(map);
        };
        // Each picture has a feature; theirs is the mean over time.
        let pictures = tape.reshape(map, &[n * t, h, w, c])?;
        let features = tape.mean_inner(&pictures)?;
        let rows = tape.reshape(&features, &[n, t, c])?;
        tape.mean_inner(&rows)
    }
}
