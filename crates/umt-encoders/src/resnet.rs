//! ResNet (He et al., "Deep residual learning for image recognition", 2015), as in torchvision.

use crate::{Block, Encoder, Residual};
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
    /// The residual block of all but ResNet-50: `basic` or `non-bottleneck-1d`.
    pub block: Block,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self { channels: 3, width: 64, stem: Stem::Large, init: ConvInit::default(), block: Block::Basic }
    }
}

/// A residual block and the stage it belongs to.
struct Unit {
    stage: usize,
    residual: Residual,
}

/// A ResNet without its classifier. Pictures in a row are encoded one by one and averaged over time.
///
/// The stem's max-pool, if it has one, begins stage 1, so that whoever works on maps between stages
/// sees the stem's at its full size.
pub struct ResNet {
    config: ResNetConfig,
    block: Block,
    units: Vec<Unit>,
    /// Stages behind the stem.
    stages: usize,
}

impl ResNet {
    /// A ResNet of `depths` blocks in its stages.
    pub fn new(block: Block, depths: &[usize], config: ResNetConfig) -> Result<Self, NnError> {
        if config.width == 0 || config.channels == 0 || depths.is_empty() {
            return Err(NnError::Unsupported("a ResNet needs a stage, and width and channels above 0".into()));
        }
        let mut units = Vec::new();
        let mut input = config.width;
        for (stage, &depth) in (1..).zip(depths) {
            let width = config.width << (stage - 1);
            for index in 0..depth {
                let stride = if index == 0 && stage > 1 { 2 } else { 1 };
                let residual = Residual { name: format!("layer{stage}.{index}"), block, input, width, stride };
                input = residual.output();
                units.push(Unit { stage, residual });
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
}

impl Encoder for ResNet {
    fn init(&self, params: &mut Params, prefix: &str, rng: &mut Rng) {
        let ResNetConfig { channels, width, init, .. } = self.config;
        let (kernel, _) = self.stem();
        init::conv(params, &format!("{prefix}conv1"), [kernel, kernel, channels, width], init, rng);
        init::batch_norm(params, &format!("{prefix}bn1"), width);
        for unit in &self.units {
            unit.residual.init(params, prefix, init, rng);
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
            return Err(NnError::Unsupported(format!("a ResNet has no stage {index}")));
        }
        if index == 0 {
            let (_, options) = self.stem();
            let norm = BatchNormOptions::relu();
            let name = |part: &str| format!("{prefix}{part}");
            x = tape.conv_norm(params, [&name("conv1"), &name("bn1")], &x, None, options, norm)?;
        } else if index == 1 && self.config.stem == Stem::Large {
            x = tape.max_pool(&x, PoolOptions { kernel: 3, stride: 2, pad: 1 })?;
        }
        for unit in self.units.iter().filter(|unit| unit.stage == index) {
            x = unit.residual.forward(tape, params, prefix, x)?;
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
