//! Every kernel on every instruction set against plain loops in f64, and on pools of 1, 2 and 4 threads against itself.
mod conv;
mod maps;
mod norm;
mod rest;
mod team;

use super::Isa;

/// Instruction sets of this processor, each once.
fn isas() -> Vec<Isa> {
    let mut all: Vec<Isa> = [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().map(Isa::usable).collect();
    all.dedup();
    all
}

/// Values in (-1, 1) from a small linear congruential generator.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((s >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Largest difference, relative to the largest expected value.
#[track_caller]
fn close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let scale = want.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*g) - w).abs() / scale;
        assert!(error <= tolerance, "{what}: element {i} is {g}, expected {w}, off by {error:e} of the largest");
    }
}

/// Runs `f` on pools of 1, 2 and 4 threads and requires the same bits.
#[track_caller]
fn same_on_all_pools(what: &str, f: impl Fn() -> Vec<f32> + Send + Sync) {
    let run = |threads: usize| -> Vec<u32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(&f).into_iter().map(f32::to_bits).collect()
    };
    let one = run(1);
    for threads in [2, 4] {
        assert!(run(threads) == one, "{what}: {threads} threads differ from one");
    }
}
