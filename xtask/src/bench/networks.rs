//! The networks that are timed.

pub use super::case::{Case, Prepared, Work};
use super::rgbd;
use anyhow::Context;
use std::collections::BTreeMap;
use umt_data::Batch;
use umt_distill::{NetworkTask, ObjectiveConfig};
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{FusionConfig, Network, NetworkConfig};
use umt_media::{Array, Modality};
use umt_nn::{Device, optim::OptimizerConfig};
use umt_train::{Feed, StepContext, Task};

const NETWORKS: &str = include_str!("../../../tests/peers/networks.py");
const ESANET: &str = include_str!("../../../tests/peers/esanet_step.py");

fn resnet18(case: &Case) -> anyhow::Result<Prepared> {
    classifier(case, EncoderConfig::Resnet18(ResNetConfig::default()))
}

/// A late fusion of pictures of sound and of clips of two frames.
fn audio_video(case: &Case) -> anyhow::Result<Prepared> {
    let resnet = |channels| ResNetConfig { width: 16, channels, stem: Stem::Small, ..ResNetConfig::default() };
    let shapes = [(Modality::Audio, vec![case.batch, case.size[0], case.size[1], 1]), (Modality::Video, clip(case))];
    let encoders = BTreeMap::from([
        (Modality::Audio, EncoderConfig::Resnet18(resnet(1))),
        (Modality::Video, EncoderConfig::Resnet18(resnet(3))),
    ]);
    several(case, encoders, shapes.into())
}

fn clip(case: &Case) -> Vec<usize> {
    vec![case.batch, 2, case.size[0], case.size[1], 3]
}

fn resnet20(case: &Case) -> anyhow::Result<Prepared> {
    classifier(case, EncoderConfig::Resnet20(ResNetConfig { width: 16, stem: Stem::Same, ..ResNetConfig::default() }))
}

pub const RESNET18: Case = Case {
    name: "resnet18-224-b8",
    work: Work::Train,
    script: NETWORKS,
    prepare: resnet18,
    classes: 1000,
    batch: 8,
    size: [224, 224],
};

/// ResNet-20 of width 16.
pub const RESNET20: Case =
    Case { name: "resnet20-w16-64-b64", prepare: resnet20, classes: 10, batch: 64, size: [64, 64], ..RESNET18 };

/// The published segmentation network.
pub const ESANET34: Case = Case {
    name: "esanet34-480x640-b2",
    work: Work::Train,
    script: ESANET,
    prepare: rgbd::esanet34,
    classes: 40,
    batch: 2,
    size: [480, 640],
};

/// A smaller one.
pub const ESANET18: Case = Case {
    name: "esanet18-w32-240x320-b4",
    prepare: rgbd::esanet18,
    classes: 13,
    batch: 4,
    size: [240, 320],
    ..ESANET34
};

/// Spectrograms and clips in late fusion; no peer runs it.
pub const AUDIO_VIDEO: Case =
    Case { name: "audio-video-w16-32-b8", prepare: audio_video, classes: 10, batch: 8, size: [32, 32], ..RESNET18 };

/// Those that a peer runs in turn.
pub const CASES: [Case; 6] = [
    RESNET18,
    RESNET20,
    Case { name: "resnet18-224-b1", work: Work::Infer, batch: 1, ..RESNET18 },
    Case { work: Work::Infer, ..RESNET18 },
    ESANET18,
    ESANET34,
];

/// The case of a name.
pub fn case(work: Work, name: &str) -> anyhow::Result<&'static Case> {
    let known: Vec<&str> = CASES.iter().filter(|c| c.work == work).map(|c| c.name).collect();
    CASES
        .iter()
        .find(|case| case.work == work && case.name == name)
        .with_context(|| format!("unknown case `{name}`; known: {}", known.join(", ")))
}

/// A classifier of pictures, and a batch for it.
fn classifier(case: &Case, encoder: EncoderConfig) -> anyhow::Result<Prepared> {
    let shape = vec![case.batch, case.size[0], case.size[1], 3];
    several(case, BTreeMap::from([(Modality::Rgb, encoder)]), BTreeMap::from([(Modality::Rgb, shape)]))
}

/// A classifier of one modality or a late fusion of several, and a batch of the given shapes for it.
fn several(
    case: &Case,
    encoders: BTreeMap<Modality, EncoderConfig>,
    shapes: BTreeMap<Modality, Vec<usize>>,
) -> anyhow::Result<Prepared> {
    let config = NetworkConfig { encoders, head: FusionConfig::Concat.into(), classes: case.classes };
    let network = Network::new(&config, 1)?;
    let mut inputs = BTreeMap::new();
    for (i, (modality, shape)) in shapes.into_iter().enumerate() {
        let mut random = umt_random::stream(1, "bench.input", 0, i as u64);
        let data = (0..shape.iter().product()).map(|_| random.uniform() * 2.0 - 1.0).collect();
        inputs.insert(modality, Array::new(shape, data)?);
    }
    let batch = Batch {
        ids: (0..case.batch).map(|i| i.to_string()).collect(),
        indices: (0..case.batch).collect(),
        labels: (0..case.batch).map(|i| (i * 7 % case.classes) as u32).collect(),
        inputs,
        maps: None,
    };
    Ok((Box::new(NetworkTask::new(network, ObjectiveConfig::Task.build(), Vec::new(), 1)?), batch))
}

impl Case {
    /// The network as a task, and a batch for it, both at a device.
    pub fn at(&self, device: &Device) -> anyhow::Result<(Box<dyn Task>, Feed)> {
        let (mut task, batch) = (self.prepare)(self)?;
        task.params_mut().to_device(device)?;
        Ok((task, Feed::new(batch, device)?))
    }

    /// Something that does the work once each time it is called.
    pub fn prepare(&self) -> anyhow::Result<Box<dyn FnMut() -> anyhow::Result<()>>> {
        let (mut task, batch) = self.at(&Device::Cpu)?;
        if self.work == Work::Infer {
            return Ok(Box::new(move || {
                std::hint::black_box(task.evaluate(&batch)?);
                Ok(())
            }));
        }
        let sgd = OptimizerConfig::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        let mut optimizer = sgd.build()?;
        let mut step = 0;
        Ok(Box::new(move || {
            let output = task.step(&batch, &StepContext { step, total: u64::MAX, epoch: 0, seed: 1 })?;
            optimizer.step(task.params_mut(), &output.grads, 1e-3)?;
            step += 1;
            Ok(())
        }))
    }
}
