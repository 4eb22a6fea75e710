//! The timed segmentation networks: ESANet's training step, loss at four scales included.

use super::case::{Case, Prepared};
use std::collections::BTreeMap;
use umt_data::{Batch, LabelMaps};
use umt_distill::{NetworkTask, ObjectiveConfig, PixelLoss};
use umt_encoders::{Block, EncoderConfig, ResNetConfig};
use umt_fusion::{DecoderConfig, Network, NetworkConfig};
use umt_media::{Array, Modality};

/// ESANet on ResNet-18 with basic blocks.
pub fn esanet18(case: &Case) -> anyhow::Result<Prepared> {
    prepare(case, EncoderConfig::Resnet18, ResNetConfig { width: 32, ..ResNetConfig::default() })
}

/// ESANet on ResNet-34 with non-bottleneck-1D blocks, as published.
pub fn esanet34(case: &Case) -> anyhow::Result<Prepared> {
    let block = Block::NonBottleneck1d;
    prepare(case, EncoderConfig::Resnet34, ResNetConfig { block, ..ResNetConfig::default() })
}

fn prepare(case: &Case, encoder: fn(ResNetConfig) -> EncoderConfig, resnet: ResNetConfig) -> anyhow::Result<Prepared> {
    let both = [(Modality::Depth, 1), (Modality::Rgb, 3)];
    let encoders = both.map(|(m, channels)| (m, encoder(ResNetConfig { channels, ..resnet })));
    let encoders = BTreeMap::from(encoders);
    let head = DecoderConfig::scaled(&encoders).into();
    let network = Network::new(&NetworkConfig { encoders, head, classes: case.classes }, 1)?;
    let (n, [h, w]) = (case.batch, case.size);
    let mut inputs = BTreeMap::new();
    for (modality, channels) in both {
        let mut random = umt_random::stream(1, "bench.input", 0, channels as u64);
        let data = (0..n * h * w * channels).map(|_| random.uniform() * 2.0 - 1.0).collect();
        inputs.insert(modality, Array::new(vec![n, h, w, channels], data)?);
    }
    // Every ninth pixel is void.
    let label = |i: usize| if i.is_multiple_of(9) { LabelMaps::VOID } else { (i / 7 % case.classes) as u8 };
    let maps = LabelMaps { shape: [n, h, w], data: (0..n * h * w).map(label).collect() };
    let batch = Batch {
        ids: (0..n).map(|i| i.to_string()).collect(),
        indices: (0..n).collect(),
        labels: Vec::new(),
        inputs,
        maps: Some(maps),
    };
    let class_weights = Some((0..case.classes).map(|c| 0.5 + c as f32 / case.classes as f32).collect());
    let loss = PixelLoss { class_weights, ..PixelLoss::default() };
    let task = NetworkTask::new(network, ObjectiveConfig::Task.build(), Vec::new(), 1)?.with_pixel_loss(loss)?;
    Ok((Box::new(task), batch))
}
