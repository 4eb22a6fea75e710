//! What a step does with the machine: where its time goes, and what a second thread gives it. In processes apart from those that are compared, so
//! that their peak memory stays their own.

use super::networks::Case;
use super::side::{Side, median};
use super::worker::{Kernel, Limits};
use crate::out::say;
use serde::Serialize;

/// What is known of a case beside its time.
#[derive(Serialize)]
pub struct Probe {
    pub scaling: Option<Scaling>,
    #[serde(rename = "where")]
    pub shares: Shares,
}

/// One thread against all, beside a loop that does nothing but multiply and add.
#[derive(Serialize)]
pub struct Scaling {
    pub threads: usize,
    one_thread_seconds: f64,
    seconds: f64,
    /// One thread's time over that of all.
    gain: f64,
    /// The same for the bare loop.
    fma_gain: f64,
    /// The first over the second: the median over turns, as the others.
    share: f64,
}

/// Where the time of a step goes.
#[derive(Serialize)]
pub struct Shares {
    limits: Limits,
    step_seconds: f64,
    kernels: Vec<Share>,
    /// What is no kernel: heads and losses in candle, copies, bookkeeping.
    rest_seconds: f64,
}

#[derive(Serialize)]
struct Share {
    #[serde(flatten)]
    kernel: Kernel,
    share: f64,
    gflops: f64,
    share_of_peak: f64,
    bytes_per_second: f64,
    share_of_bandwidth: f64,
}

/// Turns of each side; the medians count.
const TURNS: usize = 5;

pub fn probe(case: &Case, isa: &str, threads: usize) -> anyhow::Result<Probe> {
    let mut all = Side::ours(case, isa, Some(threads))?;
    all.turn(2)?;
    let once = median(all.turn(1)?);
    let rounds = (0.5 / once).clamp(1.0, 64.0) as usize;
    let scaling = if threads > 1 {
        let mut one = Side::ours(case, isa, Some(1))?;
        one.turn(2)?;
        let mut turns = [const { Vec::new() }; 5];
        for _ in 0..TURNS {
            let (slow, slow_loop) = (median(one.turn(rounds)?), one.answer::<f64>("fma")?);
            let (fast, fast_loop) = (median(all.turn(rounds)?), all.answer::<f64>("fma")?);
            let (gain, fma_gain) = (slow / fast, fast_loop / slow_loop);
            let values = [slow, fast, gain, fma_gain, gain / fma_gain];
            turns.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
        }
        one.end()?;
        let [one_thread_seconds, seconds, gain, fma_gain, share] = turns.map(median);
        Some(Scaling { threads, one_thread_seconds, seconds, gain, fma_gain, share })
    } else {
        None
    };
    let (step_seconds, kernels): (f64, Vec<Kernel>) = all.answer("where")?;
    let limits: Limits = all.answer("limits")?;
    all.end()?;
    let rest_seconds = step_seconds - kernels.iter().map(|k| k.seconds).sum::<f64>();
    let share = |kernel: Kernel| Share {
        share: kernel.seconds / step_seconds,
        gflops: kernel.flops / kernel.seconds / 1e9,
        share_of_peak: kernel.flops / kernel.seconds / limits.flops_per_second,
        bytes_per_second: kernel.bytes / kernel.seconds,
        share_of_bandwidth: kernel.bytes / kernel.seconds / limits.bytes_per_second,
        kernel,
    };
    let kernels = kernels.into_iter().map(share).collect();
    Ok(Probe { scaling, shares: Shares { limits, step_seconds, kernels, rest_seconds } })
}

impl Probe {
    pub fn print(&self) {
        if let Some(s) = &self.scaling {
            say!(
                "  one thread to {}: {:.2} ms to {:.2} ms, {:.2} times as fast; a bare FMA loop {:.2}: {:.2} of it",
                s.threads,
                s.one_thread_seconds * 1e3,
                s.seconds * 1e3,
                s.gain,
                s.fma_gain,
                s.share
            );
        }
        let Shares { limits, step_seconds, kernels, rest_seconds } = &self.shares;
        say!(
            "  a bare FMA loop gives {:.0} GFLOP/s, a copy {:.1} GB/s; of {:.2} ms go to",
            limits.flops_per_second / 1e9,
            limits.bytes_per_second / 1e9,
            step_seconds * 1e3
        );
        say!(
            "  {:>6} {:>9} {:>5}  {:<34}{:<34}{:>8}{:>7}{:>7}{:>7}",
            "share",
            "ms",
            "calls",
            "kernel",
            "shape",
            "GFLOP/s",
            "% peak",
            "GB/s",
            "% copy"
        );
        // Lines of less than half a percent are told in one.
        let (shown, small): (Vec<&Share>, Vec<&Share>) = kernels.iter().partition(|s| s.share >= 0.005);
        for s in shown {
            let compute = match s.kernel.flops > 0.0 {
                true => format!("{:>8.0}{:>7.0}", s.gflops, s.share_of_peak * 100.0),
                false => format!("{:>8}{:>7}", "", ""),
            };
            say!(
                "  {:>5.1}% {:>9.3} {:>5}  {:<34}{:<34}{compute}{:>7.1}{:>7.0}",
                s.share * 100.0,
                s.kernel.seconds * 1e3,
                s.kernel.calls,
                s.kernel.operator,
                s.kernel.shape,
                s.bytes_per_second / 1e9,
                s.share_of_bandwidth * 100.0
            );
        }
        let small_seconds = small.iter().map(|s| s.kernel.seconds).sum::<f64>();
        for (seconds, what) in [(small_seconds, "further kernels"), (*rest_seconds, "no kernel")] {
            say!("  {:>5.1}% {:>9.3} {:>5}  {what}", seconds / step_seconds * 100.0, seconds * 1e3, "");
        }
    }
}
