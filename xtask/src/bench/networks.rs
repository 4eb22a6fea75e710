//! The networks that are timed.

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
    encoder: fn() -> EncoderConfig,
    classes: usize,
    batch: usize,
    side: usize,
}

fn resnet18() -> EncoderConfig {
    EncoderConfig::Resnet18(ResNetConfig::default())
}

fn resnet20() -> EncoderConfig {
    EncoderConfig::Resnet20(ResNetConfig { width: 16, stem: Stem::Same, ..ResNetConfig::default() })
}

/// All of them.
pub const CASES: [Case; 4] = [
    Case { name: "resnet18-224-b8", work: Work::Train, encoder: resnet18, classes: 1000, batch: 8, side: 224 },
    Case { name: "resnet20-w16-64-b64", work: Work::Train, encoder: resnet20, classes: 10, batch: 64, side: 64 },
    Case { name: "resnet18-224-b1", work: Work::Infer, encoder: resnet18, classes: 1000, batch: 1, side: 224 },
    Case { name: "resnet18-224-b8", work: Work::Infer, encoder: resnet18, classes: 1000, batch: 8, side: 224 },
];

/// The case of a name.
pub fn case(work: Work, name: &str) -> anyhow::Result<&'static Case> {
    let known: Vec<&str> = CASES.iter().filter(|c| c.work == work).map(|c| c.name).collect();
    CASES
        .iter()
        .find(|case| case.work == work && case.name == name)
        .with_context(|| format!("unknown case `{name}`; known: {}", known.join(", ")))
}

impl Case {
    /// Something that does the work once each time it is called.
    pub fn prepare(&self) -> anyhow::Result<Box<dyn FnMut() -> anyhow::Result<()>>> {
        let config = NetworkConfig {
            encoders: BTreeMap::from([(Modality::Rgb, (self.encoder)())]),
            fusion: FusionConfig::Concat,
            classes: self.classes,
        };
        let network = Network::new(&config, 1)?;
        let shape = vec![self.batch, self.side, self.side, 3];
        let pixels = shape.iter().product();
        let mut random = umt_random::stream(1, "bench.input", 0, 0);
        let data = (0..pixels).map(|_| random.uniform() * 2.0 - 1.0).collect();
        let batch = Batch {
            ids: (0..self.batch).map(|i| i.to_string()).collect(),
            indices: (0..self.batch).collect(),
            labels: (0..self.batch).map(|i| (i * 7 % self.classes) as u32).collect(),
            inputs: BTreeMap::from([(Modality::Rgb, Array::new(shape, data)?)]),
            maps: None,
        };
        let mut task = NetworkTask::new(network, ObjectiveConfig::Task.build(), BTreeMap::new())?;
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
            let output = task.step(&batch, &StepContext { step, epoch: 0, seed: 1 })?;
            optimizer.step(task.params_mut(), &output.grads, 1e-3)?;
            step += 1;
            Ok(())
        }))
    }
}
