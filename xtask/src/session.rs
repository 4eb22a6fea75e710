//! What every command that computes shares: threads, device, signals, exit codes.

use crate::out::alert;
use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use umt_nn::{Device, NnError, Precision};
use umt_recipe::RecipeError;
use umt_report::ReportError;
use umt_run::RunError;
use umt_store::hub::HubError;

/// How long work may take to store what it has done after a stop was asked for.
const GRACE: Duration = Duration::from_millis(4500);

/// Options of every command that computes.
#[derive(Debug, Clone, clap::Args)]
pub struct Compute {
    /// Where networks compute: cpu, or with a build for it (docs/GPU.md) cuda, cuda:1, ...
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: String,
    /// How a CUDA device rounds in convolutions and products: f32, tf32 or bf16.
    #[arg(long, default_value = "f32", value_name = "NAME")]
    precision: String,
    /// Threads of the kernels; all cores when left out. No result depends on it.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl Compute {
    /// Opens the device that was asked for.
    pub fn device(&self) -> anyhow::Result<Device> {
        let Some(precision) = Precision::of(&self.precision) else {
            let reason = format!("--precision {}: one of f32, tf32, bf16", self.precision);
            return Err(RecipeError::Usage(reason).into());
        };
        Device::open(&self.device, precision).map_err(|error| match error {
            NnError::Device(reason) => RecipeError::Usage(format!("--device {reason}")).into(),
            other => other.into(),
        })
    }

    /// Sets the kernels' threads up and returns how many there are.
    pub fn begin(&self) -> anyhow::Result<usize> {
        let threads = match self.threads {
            Some(0) => bail!(RecipeError::Usage("--threads 0: at least 1".into())),
            Some(n) => n,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting the threads")?;
        Ok(threads)
    }
}

/// Which seeds a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

impl std::str::FromStr for Seeds {
    type Err = String;

    /// One number is how many there are, 1 to N; with a comma they are named, also a single one: `7,`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| format!("`{text}` is no number"));
        match text.strip_suffix(',').unwrap_or(text) {
            one if one == text && !text.contains(',') => match number(one)? {
                count @ 1..=1000 => Ok(Self((1..=count).collect())),
                count => Err(format!("{count} seeds: 1 to 1000; the seed {count} itself is `{count},`")),
            },
            named => named.split(',').map(number).collect::<Result<_, _>>().map(Self),
        }
    }
}

/// The flag that SIGINT and SIGTERM raise, with the signal's number. A second signal ends the process at once, which is
/// safe: nothing is ever half-written under its final name.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicUsize>> {
    let stop = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        let again = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))?;
        signal_hook::flag::register(signal, again)?;
        signal_hook::flag::register_usize(signal, Arc::clone(&stop), usize::try_from(signal)?)?;
    }
    let asked = Arc::clone(&stop);
    std::thread::Builder::new().name("stop".into()).spawn(move || end_late(&asked))?;
    Ok(stop)
}

/// Work looks at the flag where it can, and stores what it has done. What cannot look, such as a read of a pipe that nobody
/// fills, is ended by force in time: as safe as a second signal, and the last checkpoint holds.
fn end_late(stop: &AtomicUsize) {
    let mut signal = 0;
    while signal == 0 {
        std::thread::sleep(Duration::from_millis(100));
        signal = stop.load(Ordering::Relaxed);
    }
    std::thread::sleep(GRACE);
    alert!("stopped by signal {signal}; the same command goes on from the last checkpoint");
    signal_hook::low_level::exit(128 + i32::try_from(signal).unwrap_or(0));
}

/// Whether it is an error of a recipe, its run or its report, whose messages hold their causes.
pub fn is_own(error: &anyhow::Error) -> bool {
    error.is::<RecipeError>() || error.is::<RunError>() || error.is::<ReportError>()
}

/// The exit code that an error stands for.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(1)
}

fn code_of(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    let recipe = error.downcast_ref::<RecipeError>().map(RecipeError::exit_code);
    let run = || error.downcast_ref::<RunError>().map(RunError::exit_code);
    let report = || error.downcast_ref::<ReportError>().map(ReportError::exit_code);
    let data = || error.downcast_ref::<umt_data::DataError>().map(umt_data::DataError::exit_code);
    let hub = || error.downcast_ref::<HubError>().map(HubError::exit_code);
    let store = || error.downcast_ref::<umt_store::StoreError>().map(umt_store::StoreError::exit_code);
    let io = || error.downcast_ref::<std::io::Error>().map(|_| 5);
    let arrays = || error.downcast_ref::<umt_arrays::ArrayError>().map(umt_arrays::ArrayError::exit_code);
    recipe.or_else(run).or_else(report).or_else(arrays).or_else(data).or_else(hub).or_else(store).or_else(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_how_many_seeds() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(seeds("3"), Ok(vec![1, 2, 3]));
        assert_eq!(seeds("1,2,5"), Ok(vec![1, 2, 5]));
        assert_eq!(seeds("7,"), Ok(vec![7]));
        for wrong in ["0", "20240101", "x", "1,,2", ""] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
        assert!(seeds("42000").is_err_and(|error| error.contains("`42000,`")));
    }

    fn device_of(device: &str, precision: &str) -> Result<String, String> {
        let compute = Compute { device: device.into(), precision: precision.into(), threads: None };
        compute.device().map(|device| device.name()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error_that_says_what_to_do() {
        assert_eq!(device_of("cpu", "f32"), Ok("cpu".into()));
        for (device, precision, expected) in [
            ("tpu", "f32", "known are cpu, cuda and cuda:N"),
            ("cuda:x", "f32", "known are cpu, cuda and cuda:N"),
            ("cpu", "bf16", "needs a CUDA device"),
            ("cpu", "f8", "one of f32, tf32, bf16"),
            #[cfg(not(feature = "cuda"))]
            ("cuda:1", "f32", "--features cudnn"),
        ] {
            let error = device_of(device, precision).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let usage: anyhow::Error = RecipeError::Usage("x".into()).into();
        assert_eq!(exit_code(&usage), 2);
    }
}
