//! How long training steps take on the device: on a batch that is there already, and as in training, where a thread sends the next one while the
//! device computes. A step is what `train` does: the look at the inputs, forward and backward pass, squares of the gradients, the update.

use super::Case;
use crate::bench::networks::{AUDIO_VIDEO, ESANET34, RESNET18};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use umt_data::Batch;
use umt_nn::optim::{Optimizer, OptimizerConfig, Squares};
use umt_nn::{Device, DeviceCounts, Precision};
use umt_train::{BatchSource, Batches, Feed, StepContext, Task};

/// Steps before the clock starts: kernels are compiled, algorithms and memory are found.
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
    /// Of a step in a row: what the host does besides waiting for the device.
    pub host_seconds: f64,
    /// Of a step on a batch that lies there: from its first work on the device to its last.
    pub device_seconds: f64,
    /// Of a step in a row, by the program's own operators; those of candle are not counted.
    pub lookups_per_step: f64,
    pub copies_per_step: f64,
    pub launches_per_step: f64,
    pub allocations_per_step: f64,
    pub waits_per_step: f64,
    /// Convolutions that cuDNN has no algorithm for, depth-wise ones not counted.
    pub plain_convolutions: u64,
    /// Memory of the device in use at the end, kept memory included.
    pub bytes: Option<usize>,
}

impl Timing {
    /// What a step in a row asks of the device, in words.
    pub fn counts(&self) -> String {
        format!(
            "{:.0} algorithm look-ups, {:.0} copies, {:.0} launches, {:.0} allocations, {:.0} waits; {} convolutions without cuDNN",
            self.lookups_per_step,
            self.copies_per_step,
            self.launches_per_step,
            self.allocations_per_step,
            self.waits_per_step,
            self.plain_convolutions
        )
    }
}

/// Networks and precisions.
pub fn all() -> impl Iterator<Item = (Case, Precision)> {
    let cases = || {
        [
            Case { name: "resnet18-224-b64", batch: 64, ..RESNET18 },
            Case { name: "resnet18-224-b256", batch: 256, ..RESNET18 },
            Case { name: "esanet34-480x640-b4", batch: 4, ..ESANET34 },
            Case { name: "audio-video-w16-112-b32", batch: 32, size: [112, 112], ..AUDIO_VIDEO },
        ]
    };
    PRECISIONS.into_iter().flat_map(move |precision| cases().map(|case| (case, precision)))
}

pub fn name(case: &Case, precision: Precision) -> String {
    format!("{} {}", case.name, precision.as_str())
}

/// Batches that were copied before: a loader hands its own on without a copy.
struct Ready(Mutex<Vec<Batch>>);

impl BatchSource for Ready {
    fn batches_per_epoch(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn epoch(&self, _epoch: u64, _start: u64) -> Batches<'_> {
        let next = || self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().map(Ok);
        Box::new(std::iter::from_fn(next))
    }
}

/// What is trained.
struct Training {
    task: Box<dyn Task>,
    optimizer: Box<dyn Optimizer>,
    step: u64,
}

impl Training {
    fn step(&mut self, batch: &Feed) -> anyhow::Result<()> {
        let context = StepContext { step: self.step, total: u64::MAX, epoch: 0, seed: 1 };
        let mut output = self.task.step(batch, &context)?;
        let ask = || Squares::of(&output.grads, batch.inputs().values());
        let squares = output.squares.take().map_or_else(ask, Ok)?.read()?;
        anyhow::ensure!(squares.finite_inputs, "an input that is not finite");
        self.optimizer.step(self.task.params_mut(), &output.grads, 1e-3)?;
        self.step += 1;
        Ok(())
    }
}

/// Times a case; `fed_steps` in a row are fed.
pub fn run(case: &Case, device: &Device, precision: Precision, fed_steps: u64) -> anyhow::Result<Timing> {
    let (mut task, batch) = (case.prepare)(case)?;
    task.params_mut().to_device(device)?;
    let optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 }.build()?;
    let mut training = Training { task, optimizer, step: 0 };

    let held = Feed::new(batch.clone(), device)?;
    let (mut seconds, mut device_seconds) = (Vec::new(), Vec::new());
    for number in 0..WARM + ROUNDS {
        device.finish()?;
        let (started, span) = (Instant::now(), device.start()?);
        training.step(&held)?;
        let busy = span.end()?;
        if number >= WARM {
            seconds.push(started.elapsed().as_secs_f64());
            device_seconds.push(busy);
        }
    }
    drop(held);

    let ready = Ready(Mutex::new(vec![batch; (WARM + fed_steps) as usize]));
    let (mut number, mut started, mut before) = (0, Instant::now(), DeviceCounts::default());
    umt_train::each_batch(&ready, device, &|| false, |batch| {
        if number == WARM {
            device.finish()?;
            (started, before) = (Instant::now(), device.counts());
        }
        number += 1;
        training.step(&batch).map_err(|error| umt_train::TrainError::Batches { reason: format!("{error:#}") })
    })?;
    let after = device.counts();
    device.finish()?;
    let all = started.elapsed().as_secs_f64();
    let steps = fed_steps.max(1) as f64;
    let each = |count: fn(&DeviceCounts) -> u64| (count(&after) - count(&before)) as f64 / steps;
    let waited = (device.counts().waited - before.waited).as_secs_f64();
    Ok(Timing {
        name: case.name.into(),
        precision: precision.as_str(),
        seconds: median(seconds),
        fed_seconds: all / steps,
        samples_per_second: case.batch as f64 * steps / all,
        host_seconds: (all - waited).max(0.0) / steps,
        device_seconds: median(device_seconds),
        lookups_per_step: each(|counts| counts.lookups),
        copies_per_step: each(|counts| counts.copies),
        launches_per_step: each(|counts| counts.launches),
        allocations_per_step: each(|counts| counts.allocations),
        waits_per_step: each(|counts| counts.waits),
        plain_convolutions: after.plain_convolutions,
        bytes: device.memory_in_use()?,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
