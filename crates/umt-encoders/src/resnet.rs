//! ResNet (He et al., "Deep residual learning for image recognition", 2015), as in torchvision.

use crate::{Block, Encoder, Residual};
use serde::{Deserialize, Serialize};
use umt_nn::layers::{ConvNorm, ParamBuilder, batch_norm, conv2d_no_bias};
use umt_nn::{BatchNormOptions, ConvOptions, NnError, Params, PoolOptions, Tape, Value, init::ConvInit};

/// The first layers.
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
    /// The first layers.
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

impl ResNetConfig {
    /// Channels of the map after each stage of a network of `depths` blocks, the stem's first.
    pub(crate) fn stages(&self, block: Block, depths: &[usize]) -> Result<Vec<usize>, NnError> {
        if self.width == 0 || self.channels == 0 || depths.is_empty() {
            return Err(NnError::Unsupported("a ResNet needs a stage, and width and channels above 0".into()));
        }
        let widths = (0..depths.len()).map(|stage| (self.width << stage) * block.expansion());
        Ok(std::iter::once(self.width).chain(widths).collect())
    }
}

/// A ResNet without its classifier. The images of a sequence are encoded one by one and averaged over time.
///
/// The stem's max-pool, if it has one, is the first operator of stage 1, so that those who use the maps between stages get the stem's at its full
/// size.
pub struct ResNet {
    channels: Vec<usize>,
    stem: ConvNorm,
    pool: Option<PoolOptions>,
    stages: Vec<Vec<Residual>>,
}

impl ResNet {
    /// A ResNet of `depths` blocks in its stages.
    ///
    /// # Errors
    /// Settings without a meaning.
    pub fn new(block: Block, depths: &[usize], config: ResNetConfig, pb: ParamBuilder<'_>) -> Result<Self, NnError> {
        let channels = config.stages(block, depths)?;
        let mut pb = pb.with_conv_init(config.init);
        let (kernel, options) = match config.stem {
            Stem::Large => (7, ConvOptions::square(2, 3)),
            Stem::Small => (3, ConvOptions::square(2, 1)),
            Stem::Same => (3, ConvOptions::square(1, 1)),
        };
        let conv = conv2d_no_bias(config.channels, config.width, [kernel; 2], options, pb.pp("conv1"));
        let stem = ConvNorm::new(conv, batch_norm(config.width, BatchNormOptions::relu(), pb.pp("bn1")))?;
        let pool = (config.stem == Stem::Large).then_some(PoolOptions { kernel: 3, stride: 2, pad: 1 });
        let (mut stages, mut input) = (Vec::new(), config.width);
        for (stage, &depth) in depths.iter().enumerate() {
            let (width, mut pb) = (config.width << stage, pb.pp(format!("layer{}", stage + 1)));
            let mut blocks = Vec::new();
            for index in 0..depth {
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                blocks.push(Residual::new(block, input, width, stride, pb.pp(index))?);
                input = width * block.expansion();
            }
            stages.push(blocks);
        }
        Ok(Self { channels, stem, pool, stages })
    }
}

impl Encoder for ResNet {
    fn stages(&self) -> &[usize] {
        &self.channels
    }

    fn stage(&self, index: usize, tape: &mut Tape, params: &Params, x: Value) -> Result<Value, NnError> {
        let (mut x, frames) = match *x.shape() {
            [_, _, _, _] => (x, None),
            [n, t, h, w, c] => (tape.reshape(&x, &[n * t, h, w, c])?, Some([n, t])),
            ref other => {
                return Err(NnError::shape("ResNet", "[n, h, w, c] or [n, t, h, w, c]", other));
            }
        };
        if index == 0 {
            x = self.stem.forward(tape, params, &x, None)?;
        } else {
            let Some(blocks) = self.stages.get(index - 1) else {
                return Err(NnError::Unsupported(format!("a ResNet has no stage {index}")));
            };
            if let (1, Some(pool)) = (index, self.pool) {
                x = tape.max_pool(&x, pool)?;
            }
            for block in blocks {
                x = block.forward(tape, params, x)?;
            }
        }
        match (frames, x.shape()) {
            (Some([n, t]), &[_, h, w, c]) => tape.reshape(&x, &[n, t, h, w, c]),
            _ => Ok(x),
        }
    }

    fn pool(&self, tape: &mut Tape, map: &Value) -> Result<Value, NnError> {
        let &[n, t, h, w, c] = map.shape() else {
            return tape.mean_inner(map);
        };
        // Each image has a feature; the sequence's is their mean over time.
        let images = tape.reshape(map, &[n * t, h, w, c])?;
        let features = tape.mean_inner(&images)?;
        let rows = tape.reshape(&features, &[n, t, c])?;
        tape.mean_inner(&rows)
    }
}
