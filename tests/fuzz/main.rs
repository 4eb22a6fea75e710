//! R20 to R22: every parser of untrusted bytes, in this process, with a cap on its memory and its time.
//!
//! `cargo xtask check fuzz --inputs N` tries more. Inputs are a function of target and number, so a
//! finding is repeated by its line alone; it then becomes a seed in [`targets`].

mod bombs;
mod data;
mod mutate;
mod stored;
mod targets;

use data::DATA;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use stored::STORED;
use targets::{TARGETS, Target};

#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// What one input may take.
const MOST_TIME: Duration = Duration::from_secs(1);
const MOST_BYTES: usize = 64 << 20;

/// One measurement at a time: memory is that of the process.
static TURN: Mutex<()> = Mutex::new(());

/// What `run` took: time, and bytes at its peak above those before.
fn measured<T>(run: impl FnOnce() -> T) -> (T, Duration, usize) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let began = Instant::now();
    let result = run();
    (result, began.elapsed(), MEMORY.peak_usage().saturating_sub(before))
}

fn inputs() -> u64 {
    std::env::var("UMT_FUZZ_INPUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

struct Worst {
    time: (Duration, u64),
    bytes: (usize, u64),
}

/// All inputs of a target; what was found, and the worst of the others.
fn fuzz(target: &Target, inputs: u64) -> (Vec<String>, Worst) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let mut worst = Worst { time: (Duration::ZERO, 0), bytes: (0, 0) };
    let mut findings = Vec::new();
    for number in 0..inputs {
        let bytes = mutate::input(target.name, number, &seeds);
        let run = || catch_unwind(AssertUnwindSafe(|| (target.read)(&bytes))).is_ok();
        let (whole, mut time, peak) = measured(run);
        if time > MOST_TIME {
            // A busy machine is no finding: the second try counts.
            time = time.min(measured(run).1);
        }
        if !whole || time > MOST_TIME || peak > MOST_BYTES {
            let end = if whole { "" } else { ", a panic" };
            findings.push(format!("{} input {number}: {time:?}, {peak} bytes{end}", target.name));
        }
        worst.time = worst.time.max((time, number));
        worst.bytes = worst.bytes.max((peak, number));
    }
    (findings, worst)
}

#[test]
fn no_input_panics_hangs_or_takes_more_than_its_cap() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let inputs = inputs();
    let mut findings = Vec::new();
    for target in TARGETS.iter().chain(STORED).chain(DATA) {
        let began = Instant::now();
        let (found, worst) = fuzz(target, inputs);
        let Worst { time: (time, slow), bytes: (bytes, large) } = worst;
        println!(
            "{:10} {inputs} inputs in {:.1} s: {} findings; slowest {:.0} ms (input {slow}), most memory {:.1} MiB (input {large})",
            target.name,
            began.elapsed().as_secs_f64(),
            found.len(),
            time.as_secs_f64() * 1e3,
            bytes as f64 / f64::from(1 << 20),
        );
        findings.extend(found);
    }
    assert!(findings.is_empty(), "{} findings\n  {}", findings.len(), findings.join("\n  "));
}

#[test]
fn seeds_are_read_as_they_are() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut unread = Vec::new();
    for target in TARGETS.iter().chain(STORED).chain(DATA) {
        let seeds = (target.seeds)().into_iter().filter(|(_, bytes)| !(target.read)(bytes));
        unread.extend(seeds.map(|(name, _)| format!("{}: the seed {name}", target.name)));
    }
    assert!(unread.is_empty(), "not read: {}", unread.join(", "));
}
