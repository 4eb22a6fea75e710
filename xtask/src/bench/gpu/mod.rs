//! `bench gpu-check`: every operator, whole training steps and optimisers on a CUDA device against the host, and how fast the device is. One
//! command of the binary alone, so that it runs on a machine without Rust.

mod compile;
mod networks;
mod norms;
mod operators;
mod parity;
mod report;
mod timing;
mod training;

use super::networks::Case;
use crate::out::say;
use parity::{Check, Outcome};
use report::Report;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use umt_nn::{Device, Precision};
use umt_recipe::RecipeError;
use umt_store::Store;

/// Parity of a CUDA device with the host, and its timings.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask bench gpu-check --json gpu.json\n  \
    LD_LIBRARY_PATH=... ./xtask bench gpu-check --device cuda:1\n\
    Exit code 1 if a check fails. Beside the JSON file a report of the same name is written in Markdown.")]
pub struct Args {
    /// The device: cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cuda")]
    device: String,
    /// Where the report goes, with .md beside it.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only checks and timings whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Parity alone, without timings.
    #[arg(long)]
    no_timings: bool,
    /// Steps in a row of the timing that is fed.
    #[arg(long, value_name = "N", default_value = "20")]
    fed_steps: u64,
    /// Frees memory as soon as it is not needed instead of keeping it for later: slow, for a checker of the driver's memory.
    #[arg(long)]
    free_memory: bool,
    /// Compiles every kernel for these compute capabilities and does nothing else; needs no device.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    compile_only: Vec<String>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.compile_only.is_empty() {
        return compile::run(&args.compile_only);
    }
    let open = |precision| {
        Device::open(&args.device, precision).map_err(|error| RecipeError::Usage(format!("gpu-check: {error}")))
    };
    let device = open(Precision::F32)?;
    device.keep_freed_memory(!args.free_memory);
    let mut report = Report::new(&device)?;
    let wanted = |name: &str| name.contains(&args.only);
    for check in checks().iter().filter(|check| wanted(&check.name)) {
        report.add(check.compare(&device));
    }
    for check in networks::checks().iter().filter(|check| wanted(&check.name)) {
        report.add(check.repeat(&device));
    }
    for (precision, check) in training::reduced().iter().filter(|(_, check)| wanted(&check.name)) {
        report.add(check.compare(&open(*precision)?));
    }
    if !args.no_timings {
        for (case, precision) in timing::all().filter(|(case, precision)| wanted(&timing::name(case, *precision))) {
            report.time(timing::run(&case, &open(precision)?, precision, args.fed_steps)?);
        }
    }
    say!("{}", report.summary());
    if let Some(path) = &args.json {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let store = Store::open(folder)?;
        store.commit_json(path, &report)?;
        store.commit(&path.with_extension("md"), report.markdown().as_bytes())?;
    }
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All checks, cheap ones first.
fn checks() -> Vec<Check> {
    let mut all = operators::checks();
    all.extend(norms::checks());
    all.extend(networks::checks());
    all.extend(training::checks());
    all
}

#[cfg(test)]
mod tests {
    use super::parity::Distance;
    use super::*;

    /// What is checked on a device runs on the host, gives numbers that are not all alike, and the same ones twice: a check that compares nothing
    /// would pass everywhere.
    #[test]
    fn every_check_compares_something() {
        let checks = operators::checks().into_iter().chain(norms::checks());
        let mut names = std::collections::BTreeSet::new();
        for check in checks {
            let outcome = check.compare(&Device::Cpu);
            assert!(outcome.passed, "{}: {:?}", outcome.name, outcome.failure);
            assert_eq!(outcome.error, 0.0, "{}", outcome.name);
            assert!(outcome.values > 0, "{}", outcome.name);
            assert!(names.insert(outcome.name.clone()), "{} twice", outcome.name);
        }
        assert!(names.len() > 100, "{} checks", names.len());
    }

    /// Of many gradients a few may differ by much; one that is wrong as a whole is found out, however small it is.
    #[test]
    fn norms_tell_a_turned_relu_from_a_mistake() {
        let large: Vec<f32> = (0..10_000).map(|i| (i % 7) as f32 - 3.0).collect();
        let host = [("large".to_owned(), large.clone()), ("small".to_owned(), vec![0.01, -0.02])];
        let judged = |device: &[(String, Vec<f32>)]| {
            let mut outcome = Check::new("two", 2e-2, |_| Ok(vec![("y".into(), vec![1.0])])).compare(&Device::Cpu);
            outcome.judge(&host, device, Distance::Norm);
            outcome.passed
        };
        let mut turned = host.clone();
        turned[0].1[17] += 2.0;
        assert!(judged(&host) && judged(&turned));
        let mut wrong = host.clone();
        wrong[1].1 = vec![-0.01, 0.02];
        assert!(!judged(&wrong));
    }

    /// And a device that computed otherwise would be found out.
    #[test]
    fn a_difference_fails() {
        let check = Check::new("one", 1e-3, |device| {
            let wrong = if matches!(device, Device::Cpu) { 1.0 } else { 1.01 };
            Ok(vec![("y".into(), vec![2.0, wrong])])
        });
        let mut outcome = check.compare(&Device::Cpu);
        assert!(outcome.passed);
        outcome.judge(&[("y".into(), vec![2.0, 1.0])], &[("y".into(), vec![2.0, 1.01])], Distance::Largest);
        assert!(!outcome.passed && (outcome.error - 0.005).abs() < 1e-6, "{}", outcome.error);
        outcome.judge(&[("y".into(), vec![2.0])], &[("y".into(), vec![f32::NAN])], Distance::Largest);
        assert!(!outcome.passed);
    }
}
