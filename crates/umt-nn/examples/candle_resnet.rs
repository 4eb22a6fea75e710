//! candle's own definition of ResNet-18, trained with this crate's operators: only the `use` line differs.
//!
//! `cargo run --release --example candle_resnet -p umt-nn`

#![expect(
    clippy::disallowed_types,
    reason = "candle models as their users write them hold their variables in a VarMap"
)]

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Conv2dConfig, Linear, Module, ModuleT, Optimizer, SGD, VarBuilder, VarMap, linear, loss};
use umt_nn::PoolOptions;
use umt_nn::candle::{BatchNorm, Conv2d, batch_norm, conv2d_no_bias, ops}; // instead of candle_nn's

/// A convolution without bias and its batch-norm, under these names.
fn pair(i: usize, o: usize, k: usize, s: usize, vb: &VarBuilder<'_>, names: [&str; 2]) -> Result<(Conv2d, BatchNorm)> {
    let config = Conv2dConfig { stride: s, padding: k / 2, ..Default::default() };
    Ok((conv2d_no_bias(i, o, k, config, vb.pp(names[0]))?, batch_norm(o, 1e-5, vb.pp(names[1]))?))
}

struct Block(Conv2d, BatchNorm, Conv2d, BatchNorm, Option<(Conv2d, BatchNorm)>);
impl Block {
    fn new(i: usize, o: usize, s: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let (conv1, bn1) = pair(i, o, 3, s, &vb, ["conv1", "bn1"])?;
        let (conv2, bn2) = pair(o, o, 3, 1, &vb, ["conv2", "bn2"])?;
        let down = (s != 1 || i != o).then(|| pair(i, o, 1, s, &vb, ["downsample.0", "downsample.1"]));
        Ok(Self(conv1, bn1.with_relu(), conv2, bn2, down.transpose()?))
    }
}
impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.3.forward_t(&self.2.forward(&self.1.forward_t(&self.0.forward(x)?, train)?)?, train)?;
        Ok(match &self.4 {
            Some((conv, bn)) => ops::add_relu(&y, &bn.forward_t(&conv.forward(x)?, train)?)?,
            None => ops::add_relu(&y, x)?,
        })
    }
}
struct ResNet18(Conv2d, BatchNorm, Vec<Block>, Linear);
impl ResNet18 {
    fn new(classes: usize, width: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let ((stem, bn), mut blocks) = (pair(3, width, 7, 2, &vb, ["conv1", "bn1"])?, Vec::new());
        for (n, (i, o)) in [(1, 1), (1, 2), (2, 4), (4, 8)].into_iter().enumerate() {
            let vb = vb.pp(format!("layer{}", n + 1));
            blocks.push(Block::new(width * i, width * o, if n == 0 { 1 } else { 2 }, vb.pp(0))?);
            blocks.push(Block::new(width * o, width * o, 1, vb.pp(1))?);
        }
        Ok(Self(stem, bn.with_relu(), blocks, linear(8 * width, classes, vb.pp("fc"))?))
    }
}
impl ModuleT for ResNet18 {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.1.forward_t(&self.0.forward(x)?, train)?;
        let x = ops::max_pool2d(&x, PoolOptions { kernel: 3, stride: 2, pad: 1 })?; // candle itself cannot train this
        let x = self.2.iter().try_fold(x, |x, block| block.forward_t(&x, train))?;
        self.3.forward(&x.mean((2, 3))?)
    }
}

/// Trains on generated images, then saves and loads the weights.
pub fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut rng = umt_random::stream(1, "example", 0, 0);
    // Images of class k are brighter in row k of a 4x4 grid.
    let value = |p: usize, noise: f32| noise + f32::from(u8::from(p % 1024 / 256 == p / 3072 % 4));
    let pixels: Vec<f32> = (0..16 * 3072).map(|p| value(p, rng.normal())).collect();
    let x = Tensor::from_vec(pixels, (16, 3, 32, 32), &Device::Cpu)?;
    let y = Tensor::from_vec((0..16u32).map(|i| i % 4).collect(), 16, &Device::Cpu)?;
    let vars = VarMap::new();
    let network = ResNet18::new(4, 16, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
    let (mut sgd, mut losses) = (SGD::new(vars.all_vars(), 0.05)?, Vec::new());
    for step in 0..20 {
        let loss = loss::cross_entropy(&network.forward_t(&x, true)?, &y)?;
        sgd.backward_step(&loss)?;
        losses.push(loss.to_scalar::<f32>()?);
        println!("step {step}: loss {:.4}", losses[step]);
    }
    assert!(losses[19] < losses[0] / 4.0);
    let file = std::env::temp_dir().join(format!("candle-resnet-{}.safetensors", std::process::id()));
    vars.save(&file)?; // running statistics included
    let loaded =
        ResNet18::new(4, 16, VarBuilder::from_buffered_safetensors(std::fs::read(&file)?, DType::F32, &Device::Cpu)?)?;
    std::fs::remove_file(&file)?;
    assert_eq!(network.forward_t(&x, false)?.to_vec2::<f32>()?, loaded.forward_t(&x, false)?.to_vec2::<f32>()?);
    Ok(())
}
