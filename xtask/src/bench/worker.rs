//! One side of a comparison, in a process of its own: its peak memory is then its own, and both sides are timed alike.
//!
//! Protocol, also that of the peer's scripts: a line `ready`; then for each line with a number of rounds one line with the
//! seconds of each; at the end of the input one line with the peak memory in bytes.

use super::networks::{self, Work};
use anyhow::Context;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

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
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting the threads")?;
    }
    let mut once = networks::case(args.work, &args.name)?.prepare()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let rounds: usize = line?.trim().parse().context("the number of rounds")?;
        let mut seconds = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let started = Instant::now();
            once()?;
            seconds.push(format!("{:.9}", started.elapsed().as_secs_f64()));
        }
        writeln!(out, "{}", seconds.join(" "))?;
        out.flush()?;
    }
    writeln!(out, "{}", umt_store::memory::peak().unwrap_or(0))?;
    Ok(ExitCode::SUCCESS)
}
