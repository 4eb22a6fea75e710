//! What the machine can do at best: what a kernel's speed is judged against.
//!
//! # Safety
//! Callers of the unsafe functions owe one thing: the processor has the instructions of `S`, which `dispatch` sees to.
use super::Isa;
use super::simd::{LANES, Op, Simd, dispatch};
use super::work::{Shared, cut, parallel};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Rounds of the loop; some milliseconds, so that waking a thread does not count.
const ROUNDS: usize = 16_000_000;

struct Fma;

impl Op for Fma {
    /// Operations done, and a value that keeps them from being removed.
    type Out = (usize, f32);
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Self::Out {
        // As many chains as hide the latency and still fit the registers.
        if S::ROWS >= 12 { chains::<S, 12>() } else { chains::<S, 5>() }
    }
}

#[inline(always)]
unsafe fn chains<S: Simd, const N: usize>() -> (usize, f32) {
    let mut acc = [S::splat(0.0); N];
    let (a, b) = (S::splat(std::hint::black_box(0.5)), S::splat(std::hint::black_box(0.25)));
    for _ in 0..ROUNDS / N {
        for v in &mut acc {
            *v = S::fma(a, *v, b);
        }
    }
    let mut out = [0.0f32; LANES];
    let mut sum = 0.0;
    for v in acc {
        S::store(out.as_mut_ptr(), v);
        sum += out[0];
    }
    (ROUNDS / N * N * LANES * 2, sum)
}

/// Multiplications and additions per second of a bare loop of fused multiply-adds in registers, on `threads` of the current pool's threads; the
/// best of five.
pub fn fma_peak(isa: Isa, threads: usize) -> f64 {
    let done = AtomicUsize::new(0);
    let once = || {
        done.store(0, Ordering::Relaxed);
        let started = Instant::now();
        parallel(threads, true, |_| {
            let (operations, value) = dispatch(isa, Fma);
            std::hint::black_box(value);
            done.fetch_add(operations, Ordering::Relaxed);
        });
        done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
    };
    (0..5).map(|_| once()).fold(0.0, f64::max)
}

/// Bytes read and written per second when 64 MiB are copied, on `threads` of the current pool's threads; the best of five.
pub fn copy_bandwidth(threads: usize) -> f64 {
    const FLOATS: usize = 1 << 24;
    let from = vec![1.0f32; FLOATS];
    let mut to = vec![0.0f32; FLOATS];
    let mut once = || {
        let started = Instant::now();
        let out = Shared::new(&mut to);
        parallel(threads, true, |i| {
            let range = cut(FLOATS, threads, LANES, i);
            // SAFETY: ranges are disjoint.
            let to = unsafe { out.part(range.start, range.len()) };
            to.copy_from_slice(&from[range]);
        });
        std::hint::black_box(&mut to);
        (2 * FLOATS * size_of::<f32>()) as f64 / started.elapsed().as_secs_f64()
    };
    (0..5).map(|_| once()).fold(0.0, f64::max)
}
