//! Checks of tiny training runs: losses of the same steps stay close, for audio and video and for rooms with depth.

use super::Case;
use super::parity::{Check, Values};
use crate::bench::networks::{AUDIO_VIDEO, ESANET18};
use umt_nn::optim::OptimizerConfig;
use umt_nn::{Device, Precision};
use umt_train::StepContext;

const STEPS: u64 = 10;
/// Rounding grows from step to step; a wrong gradient is off by far more.
const CLOSE: f64 = 2e-2;

/// As [`CLOSE`], where factors are rounded to ten or seven bits.
const REDUCED: [(Precision, f64); 2] = [(Precision::Tf32, 5e-2), (Precision::Bf16, 2e-1)];

/// The same runs where the device may round, each with the precision it is for.
pub fn reduced() -> Vec<(Precision, Check)> {
    let runs = |(precision, tolerance): (Precision, f64)| {
        let named = format!(" in {}", precision.as_str());
        checks_within(tolerance, &named).into_iter().map(move |check| (precision, check)).collect::<Vec<_>>()
    };
    REDUCED.into_iter().flat_map(runs).collect()
}

pub fn checks() -> Vec<Check> {
    checks_within(CLOSE, "")
}

fn checks_within(tolerance: f64, suffix: &str) -> Vec<Check> {
    let runs = [
        (tolerance, Case { name: "audio and video", batch: 8, ..AUDIO_VIDEO }),
        // Its gradient changes by per cents when weights do by one part in ten million, see the checks of networks.
        (tolerance.max(1e-1), Case { name: "rooms", classes: 13, batch: 2, size: [96, 128], ..ESANET18 }),
    ];
    let name = |case: &Case| format!("{STEPS} training steps of {}{suffix}", case.name);
    let check =
        |(tolerance, case): (f64, Case)| Check::new(name(&case), tolerance, move |device| losses(&case, device));
    runs.into_iter().map(check).collect()
}

/// The loss before each of some steps on one batch, which it learns by heart.
fn losses(case: &Case, device: &Device) -> anyhow::Result<Values> {
    let (mut task, batch) = case.at(device)?;
    let config = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-4 };
    let (mut optimizer, mut losses) = (config.build()?, Vec::new());
    for step in 0..STEPS {
        let output = task.step(&batch, &StepContext { step, total: STEPS, epoch: 0, seed: 1 })?;
        optimizer.step(task.params_mut(), &output.grads, 0.01)?;
        losses.push(output.loss);
    }
    Ok(vec![("losses".into(), losses)])
}
