//! The networks that are timed.

use super::rgbd;
use anyhow::Context;
use clap::ValueEnum;
use std::collections::BTreeMap;
use umt_data::Batch;
use umt_distill::{NetworkTask, ObjectiveConfig};
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{FusionConfig, Network, NetworkConfig};
use umt_media::{Array, Modality};
use umt_nn::optim::OptimizerConfig;
use umt_train::{StepContext, Task};

/// What is done with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Forward, cross-entropy, backward, SGD with momentum.
    Train,
    /// Logits in evaluation mode.
    Infer,
}

/// A network, its input and what is done with it.
pub struct Case {
    /// Name in tables, results and the peer's script.
    pub name: &'static str,
    pub work: Work,
    /// The peer's script, under `tests/peers`.
    pub script: &'static str,
    prepare: fn(&Case) -> anyhow::Result<Prepared>,
    pub classes: usize,
    pub batch: usize,
    /// Height and width.
    pub size: [usize; 2],
}

/// What is trained, and on which batch.
pub type Prepared = (Box<dyn Task>, Batch);

const NETWORKS: &str = include_str!("../../../tests/peers/networks.py");
const ESANET: &str = include_str!("../../../tests/peers/esanet_step.py");

fn resnet18(case: &Case) -> anyhow::Result<Prepared> {
    classifier(case, EncoderConfig::Resnet18(ResNetConfig::default()))
}

fn resnet20(case: &Case) -> anyhow::Result<Prepared> {
    classifier(case, EncoderConfig::Resnet20(ResNetConfig { width: 16, stem: Stem::Same, ..ResNetConfig::default() }))
}

const RESNET18: Case = Case {
    name: "resnet18-224-b8",
    work: Work::Train,
    script: NETWORKS,
    prepare: resnet18,
    classes: 1000,
    batch: 8,
    size: [224, 224],
};

const ESANET34: Case = Case {
    name: "esanet34-480x640-b2",
    work: Work::Train,
    script: ESANET,
    prepare: rgbd::esanet34,
    classes: 40,
    batch: 2,
    size: [480, 640],
};

/// All of them.
pub const CASES: [Case; 6] = [
    RESNET18,
    Case { name: "resnet20-w16-64-b64", prepare: resnet20, classes: 10, batch: 64, size: [64, 64], ..RESNET18 },
    Case { name: "resnet18-224-b1", work: Work::Infer, batch: 1, ..RESNET18 },
    Case { work: Work::Infer, ..RESNET18 },
    Case {
        name: "esanet18-w32-240x320-b4",
        prepare: rgbd::esanet18,
        classes: 13,
        batch: 4,
        size: [240, 320],
        ..ESANET34
    },
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
    let encoders = BTreeMap::from([(Modality::Rgb, encoder)]);
    let config = NetworkConfig { encoders, fusion: FusionConfig::Concat, classes: case.classes };
    let network = Network::new(&config, 1)?;
    let shape = vec![case.batch, case.size[0], case.size[1], 3];
    let pixels = shape.iter().product();
    let mut random = umt_random::stream(1, "bench.input", 0, 0);
    let data = (0..pixels).map(|_| random.uniform() * 2.0 - 1.0).collect();
    let batch = Batch {
        ids: (0..case.batch).map(|i| i.to_string()).collect(),
        indices: (0..case.batch).collect(),
        labels: (0..case.batch).map(|i| (i * 7 % case.classes) as u32).collect(),
        inputs: BTreeMap::from([(Modality::Rgb, Array::new(shape, data)?)]),
        maps: None,
    };
    Ok((Box::new(NetworkTask::new(network, ObjectiveConfig::Task.build(), Vec::new(), 1)?), batch))
}

impl Case {
    /// Something that does the work once each time it is called.
    pub fn prepare(&self) -> anyhow::Result<Box<dyn FnMut() -> anyhow::Result<()>>> {
        let (mut task, batch) = (self.prepare)(self)?;
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
