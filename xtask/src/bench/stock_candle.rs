//! The peer `candle`: the same network and step with candle-core and candle-nn alone.
//!
//! candle trains no network with an overlapping max-pool (its backward needs windows that do not overlap), so of the cases only ResNet-20 has this
//! peer. Its SGD has no momentum: one pass over the weights less than ours.

#![expect(
    clippy::disallowed_types,
    reason = "candle models as their users write them hold their variables in a VarMap"
)]

use super::networks::Case;
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{
    BatchNorm, Conv2d, Conv2dConfig, Linear, Module, ModuleT, Optimizer, SGD, VarBuilder, VarMap, batch_norm,
    conv2d_no_bias, linear, loss,
};

const WIDTH: usize = 16;

/// A step of training of a case, over and over.
pub fn prepare(case: &Case) -> anyhow::Result<Box<dyn FnMut() -> anyhow::Result<()>>> {
    anyhow::ensure!(
        case.name == super::networks::RESNET20.name,
        "candle cannot train {}: its max-pool has no backward for windows that overlap; --case {} has this peer",
        case.name,
        super::networks::RESNET20.name
    );
    let vars = VarMap::new();
    let network = ResNet20::new(case.classes, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
    let [height, width] = case.size;
    let mut random = umt_random::stream(1, "bench.input", 0, 0);
    let values = (0..case.batch * 3 * height * width).map(|_| random.uniform() * 2.0 - 1.0).collect();
    let x = Tensor::from_vec(values, (case.batch, 3, height, width), &Device::Cpu)?;
    let labels = (0..case.batch).map(|i| (i * 7 % case.classes) as u32).collect();
    let labels = Tensor::from_vec(labels, case.batch, &Device::Cpu)?;
    let mut sgd = SGD::new(vars.all_vars(), 1e-3)?;
    Ok(Box::new(move || {
        let loss = loss::cross_entropy(&network.forward_t(&x, true)?, &labels)?;
        Ok(sgd.backward_step(&loss)?)
    }))
}

/// A convolution and its batch-norm.
struct Pair(Conv2d, BatchNorm);

impl Pair {
    fn new(input: usize, output: usize, kernel: usize, stride: usize, vb: &VarBuilder<'_>, n: usize) -> Result<Self> {
        let config = Conv2dConfig { stride, padding: kernel / 2, ..Conv2dConfig::default() };
        let conv = conv2d_no_bias(input, output, kernel, config, vb.pp(format!("conv{n}")))?;
        Ok(Self(conv, batch_norm(output, 1e-5, vb.pp(format!("bn{n}")))?))
    }
}

impl ModuleT for Pair {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.1.forward_t(&self.0.forward(x)?, train)
    }
}

struct Block {
    pairs: [Pair; 2],
    downsample: Option<Pair>,
}

impl Block {
    fn new(input: usize, output: usize, stride: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let pairs = [Pair::new(input, output, 3, stride, vb, 1)?, Pair::new(output, output, 3, 1, vb, 2)?];
        let changes = stride != 1 || input != output;
        let downsample = changes.then(|| Pair::new(input, output, 1, stride, vb, 3)).transpose()?;
        Ok(Self { pairs, downsample })
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.pairs[1].forward_t(&self.pairs[0].forward_t(x, train)?.relu()?, train)?;
        let skip = match &self.downsample {
            Some(pair) => pair.forward_t(x, train)?,
            None => x.clone(),
        };
        (y + skip)?.relu()
    }
}

struct ResNet20 {
    stem: Pair,
    blocks: Vec<Block>,
    head: Linear,
}

impl ResNet20 {
    fn new(classes: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let stem = Pair::new(3, WIDTH, 3, 1, &vb, 1)?;
        let (mut blocks, mut input) = (Vec::new(), WIDTH);
        for stage in 0..3 {
            for index in 0..3 {
                let (output, stride) = (WIDTH << stage, if stage > 0 && index == 0 { 2 } else { 1 });
                blocks.push(Block::new(input, output, stride, &vb.pp(format!("layer{stage}.{index}")))?);
                input = output;
            }
        }
        Ok(Self { stem, blocks, head: linear(input, classes, vb.pp("fc"))? })
    }
}

impl ModuleT for ResNet20 {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.stem.forward_t(x, train)?.relu()?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward_t(&x, train))?;
        self.head.forward(&x.mean((2, 3))?)
    }
}
