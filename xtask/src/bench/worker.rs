//! One side of a comparison, in a process of its own: its peak memory is then its own, and both sides are timed alike.
//!
//! Protocol, also that of the peer's scripts: a line `ready`; then for each line with a number of rounds one line with the
//! seconds of each; at the end of the input one line with the peak memory in bytes. Ours alone answers three words more, each
//! with a line of JSON: `fma`, `limits` and `where`.

use super::networks::{self, Work};
use super::stock_candle;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;
use umt_nn::{kernels, timing};

#[derive(clap::Args)]
pub struct Args {
    /// What is done.
    #[arg(value_enum)]
    work: Work,
    /// The case.
    name: String,
    /// Threads; all cores when left out.
    #[arg(long)]
    threads: Option<usize>,
    /// The case with candle and candle-nn alone.
    #[arg(long)]
    candle: bool,
}

/// What the machine can do at best on the threads in use.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Limits {
    pub flops_per_second: f64,
    pub bytes_per_second: f64,
}

/// All calls of a kernel at one shape in a step.
#[derive(Serialize, Deserialize)]
pub struct Kernel {
    pub operator: String,
    pub shape: String,
    pub calls: u64,
    pub seconds: f64,
    pub flops: f64,
    pub bytes: f64,
}

type Once = Box<dyn FnMut() -> anyhow::Result<()>>;

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting the threads")?;
    }
    let threads = args.threads.unwrap_or(std::thread::available_parallelism().map_or(1, usize::from));
    let case = networks::case(args.work, &args.name)?;
    let mut once = if args.candle { stock_candle::prepare(case)? } else { case.prepare()? };
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let isa = kernels::isa();
        let answer = match line?.trim() {
            "fma" => serde_json::to_string(&kernels::fma_peak(isa, threads))?,
            "limits" => serde_json::to_string(&Limits {
                flops_per_second: kernels::fma_peak(isa, threads),
                bytes_per_second: kernels::copy_bandwidth(threads),
            })?,
            "where" => serde_json::to_string(&shares(&mut once)?)?,
            rounds => turn(&mut once, rounds.parse().context("the number of rounds")?)?,
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    writeln!(out, "{}", umt_run::memory::peak().unwrap_or(0))?;
    Ok(ExitCode::SUCCESS)
}

fn turn(once: &mut Once, rounds: usize) -> anyhow::Result<String> {
    let mut seconds = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let started = Instant::now();
        once()?;
        seconds.push(format!("{:.9}", started.elapsed().as_secs_f64()));
    }
    Ok(seconds.join(" "))
}

/// Seconds of a round on the record, and its kernels: of nine rounds the one of median length, so that the parts add up.
fn shares(once: &mut Once) -> anyhow::Result<(f64, Vec<Kernel>)> {
    let mut rounds = Vec::new();
    for _ in 0..9 {
        let started = Instant::now();
        let (result, kernels) = timing::record(&mut *once);
        result?;
        rounds.push((started.elapsed().as_secs_f64(), kernels));
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, kernels) = rounds.swap_remove(rounds.len() / 2);
    let kernel = |t: timing::Timed| Kernel {
        operator: t.operator.to_owned(),
        shape: t.shape,
        calls: t.calls,
        seconds: t.time.as_secs_f64(),
        flops: t.flops,
        bytes: t.bytes,
    };
    Ok((seconds, kernels.into_iter().map(kernel).collect()))
}
