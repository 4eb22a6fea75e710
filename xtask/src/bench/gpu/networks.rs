//! Checks of whole networks: loss, every gradient and the running statistics of one training step.

use super::Case;
use super::parity::{Check, Values, named};
use crate::bench::networks::{ESANET18, RESNET18, RESNET20};
use umt_nn::Device;
use umt_train::StepContext;

/// Some twenty layers of sums in another order, and the few ReLUs that they turn: on the host, weights moved by one part in ten million change the
/// gradient of the ESANet below by 2.7 %, that of the ResNet-20 by 1.3 %. What an operator does is checked far more closely by itself.
const WHOLE: f64 = 1e-1;

pub fn checks() -> Vec<Check> {
    let small = [
        Case { name: "ResNet-18", classes: 10, batch: 4, size: [64, 64], ..RESNET18 },
        Case { name: "ResNet-20", classes: 10, batch: 8, size: [32, 32], ..RESNET20 },
        Case { name: "ESANet", classes: 13, batch: 2, size: [96, 128], ..ESANET18 },
    ];
    small
        .into_iter()
        .map(|case| Check::new(format!("training step of {}", case.name), WHOLE, move |p| step(&case, p)).by_norm())
        .collect()
}

/// Loss, gradients and running statistics of one step.
fn step(case: &Case, device: &Device) -> anyhow::Result<Values> {
    let (mut task, batch) = case.at(device)?;
    let output = task.step(&batch, &StepContext { step: 0, total: 10, epoch: 0, seed: 1 })?;
    let mut values = vec![("loss".to_owned(), vec![output.loss])];
    values.extend(output.grads.iter().map(|(name, grad)| named(name, grad)));
    let statistics = task.params().iter().filter(|(name, _)| name.contains("running_"));
    values.extend(statistics.map(|(name, param)| named(name, &param.value)));
    Ok(values)
}
