//! How long training steps take on the device (forward, backward, optimiser): on a batch that is there already, and as in training, where a thread
//! sends the next one while the device computes.

use super::Case;
use crate::bench::networks::{ESANET34, RESNET18};
use serde::Serialize;
use std::time::Instant;
use umt_data::Batch;
use umt_nn::optim::OptimizerConfig;
use umt_nn::{Device, Precision};
use umt_train::{BatchSource, Batches, Feed, StepContext, TrainError};

/// Steps before the clock starts: kernels are compiled and memory is found.
const WARM: u64 = 5;
const ROUNDS: u64 = 20;

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Timing {
    pub name: String,
    pub precision: &'static str,
    /// Median of the steps on a batch that lies there.
    pub seconds: f64,
    /// Mean of as many steps in a row, each on a batch that a thread sends while the device computes.
    pub fed_seconds: f64,
    pub samples_per_second: f64,
    /// Memory of the device in use at the end, kept memory included.
    pub bytes: Option<usize>,
}

/// Networks and precisions.
pub fn all() -> impl Iterator<Item = (Case, Precision)> {
    let cases = || {
        [
            Case { name: "resnet18-224-b64", batch: 64, ..RESNET18 },
            Case { name: "resnet18-224-b256", batch: 256, ..RESNET18 },
            Case { name: "esanet34-480x640-b4", batch: 4, ..ESANET34 },
        ]
    };
    PRECISIONS.into_iter().flat_map(move |precision| cases().map(|case| (case, precision)))
}

pub fn name(case: &Case, precision: Precision) -> String {
    format!("{} {}", case.name, precision.as_str())
}

/// One batch again and again, as a loader would give others.
struct Repeated(Batch);

impl BatchSource for Repeated {
    fn batches_per_epoch(&self) -> u64 {
        WARM + ROUNDS
    }

    fn epoch(&self, _epoch: u64, start: u64) -> Batches<'_> {
        Box::new((start..self.batches_per_epoch()).map(|_| Ok(self.0.clone())))
    }
}

pub fn run(case: &Case, device: &Device, precision: Precision) -> anyhow::Result<Timing> {
    let (mut task, batch) = case.at(device)?;
    let mut optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 }.build()?;
    let mut step = |step: u64, batch: &Feed| {
        let output = task.step(batch, &StepContext { step, total: WARM + ROUNDS, epoch: 0, seed: 1 })?;
        Ok::<_, TrainError>(optimizer.step(task.params_mut(), &output.grads, 1e-3)?)
    };
    let mut seconds = Vec::new();
    for number in 0..WARM + ROUNDS {
        device.finish()?;
        let started = Instant::now();
        step(number, &batch)?;
        device.finish()?;
        if number >= WARM {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let (mut number, mut started) = (0, Instant::now());
    umt_train::each_batch(&Repeated((*batch).clone()), device, &|| false, |batch| {
        if number == WARM {
            device.finish()?;
            started = Instant::now();
        }
        step(number, &batch)?;
        number += 1;
        Ok(())
    })?;
    device.finish()?;
    let fed = started.elapsed().as_secs_f64() / ROUNDS as f64;
    Ok(Timing {
        name: case.name.into(),
        precision: precision.as_str(),
        seconds: median,
        fed_seconds: fed,
        samples_per_second: case.batch as f64 / fed,
        bytes: device.memory_in_use()?,
    })
}
