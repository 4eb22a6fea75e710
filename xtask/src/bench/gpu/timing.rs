//! How long training steps take on the device: copy of the batch, forward, backward, optimiser.

use super::Case;
use crate::bench::networks::{ESANET34, RESNET18};
use serde::Serialize;
use std::time::Instant;
use umt_nn::optim::OptimizerConfig;
use umt_nn::{Place, Precision};
use umt_train::StepContext;

/// Steps before the clock starts: kernels are compiled and memory is found.
const WARM: u64 = 5;
const ROUNDS: u64 = 20;

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Timing {
    pub name: String,
    pub precision: &'static str,
    /// Median of the steps.
    pub seconds: f64,
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

pub fn run(case: &Case, place: &Place, precision: Precision) -> anyhow::Result<Timing> {
    let (mut task, batch) = case.parts()?;
    task.params_mut().to_place(place)?;
    let mut optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 }.build()?;
    let mut seconds = Vec::new();
    for step in 0..WARM + ROUNDS {
        place.finish()?;
        let started = Instant::now();
        let output = task.step(&batch, &StepContext { step, total: WARM + ROUNDS, epoch: 0, seed: 1 })?;
        optimizer.step(task.params_mut(), &output.grads, 1e-3)?;
        drop(output);
        place.finish()?;
        if step >= WARM {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    Ok(Timing {
        name: case.name.into(),
        precision: precision.as_str(),
        seconds: median,
        samples_per_second: case.batch as f64 / median,
        bytes: place.memory_in_use()?,
    })
}
