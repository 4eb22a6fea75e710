//! Element by element: sums, ReLU, optimiser steps, and two reductions over whole arrays.
//!
//! Bodies are plain loops that the compiler vectorises for the instruction set they are dispatched to.
use super::Isa;
use super::simd::{LANES, Op, Simd, dispatch};
use super::work::{Shared, parallel};

/// Floats in a task.
const CHUNK: usize = 32768;

/// Calls `f(from, to)` for chunks of `len`.
fn chunks(len: usize, f: impl Fn(usize, usize) + Sync + Send) {
    parallel(len.div_ceil(CHUNK), len > CHUNK, |i| f(i * CHUNK, ((i + 1) * CHUNK).min(len)));
}

struct Loop<F: FnOnce()>(F);

impl<F: FnOnce()> Op for Loop<F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        (self.0)()
    }
}

/// `a += b`
pub fn add_assign(isa: Isa, a: &mut [f32], b: &[f32]) {
    let out = Shared::new(a);
    chunks(b.len(), |from, to| {
        // SAFETY: chunks are disjoint.
        let a = unsafe { out.part(from, to - from) };
        let b = &b[from..to];
        dispatch(
            isa,
            Loop(
                #[inline(always)]
                || a.iter_mut().zip(b).for_each(|(a, b)| *a += b),
            ),
        );
    });
}

/// `a = relu?(a + b)`, NaN kept.
pub fn add_relu(isa: Isa, a: &mut [f32], b: &[f32], relu: bool) {
    let out = Shared::new(a);
    chunks(b.len(), |from, to| {
        // SAFETY: chunks are disjoint.
        let a = unsafe { out.part(from, to - from) };
        let b = &b[from..to];
        dispatch(
            isa,
            Loop(
                #[inline(always)]
                || {
                    let least = if relu { 0.0 } else { f32::NEG_INFINITY };
                    a.iter_mut().zip(b).for_each(|(a, b)| {
                        let sum = *a + b;
                        *a = if sum < least { least } else { sum };
                    });
                },
            ),
        );
    });
}

/// `x = max(x, 0)`, NaN kept.
pub fn relu_in_place(isa: Isa, x: &mut [f32]) {
    let len = x.len();
    let out = Shared::new(x);
    chunks(len, |from, to| {
        // SAFETY: chunks are disjoint.
        let x = unsafe { out.part(from, to - from) };
        dispatch(
            isa,
            Loop(
                #[inline(always)]
                || x.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
            ),
        );
    });
}

/// `d = 0` where not `y > 0`.
pub fn relu_backward_in_place(isa: Isa, y: &[f32], d: &mut [f32]) {
    let out = Shared::new(d);
    chunks(y.len(), |from, to| {
        // SAFETY: chunks are disjoint.
        let d = unsafe { out.part(from, to - from) };
        let y = &y[from..to];
        dispatch(
            isa,
            Loop(
                #[inline(always)]
                || d.iter_mut().zip(y).for_each(|(d, y)| *d = if *y > 0.0 { *d } else { 0.0 }),
            ),
        );
    });
}

/// `grad = scale (a - b)`, and the sum of `(a - b)²`: in f32 by sixteen lanes within 4096 values, in f64 across them.
pub fn squared_distance(isa: Isa, a: &[f32], b: &[f32], scale: f32, grad: &mut [f32]) -> f64 {
    const BLOCK: usize = 4096;
    let blocks = a.len().div_ceil(BLOCK);
    let mut sums = vec![0.0f32; blocks];
    let (out, shared) = (Shared::new(grad), Shared::new(&mut sums));
    parallel(blocks, a.len() > CHUNK, |i| {
        let (from, to) = (i * BLOCK, ((i + 1) * BLOCK).min(a.len()));
        // SAFETY: each task writes its own block and its own sum.
        let (grad, sum) = unsafe { (out.part(from, to - from), shared.part(i, 1)) };
        let (a, b) = (&a[from..to], &b[from..to]);
        dispatch(
            isa,
            Loop(
                #[inline(always)]
                || {
                    let mut lanes = [0.0f32; LANES];
                    for ((g, a), b) in grad.chunks_mut(LANES).zip(a.chunks(LANES)).zip(b.chunks(LANES)) {
                        for (((s, g), a), b) in lanes.iter_mut().zip(g).zip(a).zip(b) {
                            let d = a - b;
                            *s += d * d;
                            *g = scale * d;
                        }
                    }
                    sum[0] = lanes.iter().sum();
                },
            ),
        );
    });
    sums.iter().map(|s| f64::from(*s)).sum()
}

/// Constants of [`sgd_step`].
#[derive(Clone, Copy)]
pub struct Sgd {
    pub lr: f32,
    pub momentum: f32,
    pub nesterov: bool,
    pub weight_decay: f32,
}

/// One step of stochastic gradient descent (Sutskever et al. 2013 in the form every framework uses).
pub fn sgd_step(isa: Isa, p: &mut [f32], g: &[f32], m: &mut [f32], o: Sgd) {
    let (p, m) = (Shared::new(p), Shared::new(m));
    chunks(g.len(), |from, to| {
        // SAFETY: chunks are disjoint.
        let (p, m) = unsafe { (p.part(from, to - from), m.part(from, to - from)) };
        let g = &g[from..to];
        dispatch(
            isa,
            Loop(
                #[inline(always)]
                || {
                    for ((p, m), g) in p.iter_mut().zip(m).zip(g) {
                        let d = g + o.weight_decay * *p;
                        *m = o.momentum * *m + d;
                        let d = if o.nesterov { d + o.momentum * *m } else { *m };
                        *p -= o.lr * d;
                    }
                },
            ),
        );
    });
}

/// Constants of [`adamw_step`].
#[derive(Clone, Copy)]
pub struct AdamW {
    pub lr: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub weight_decay: f32,
    pub step: u64,
}

impl AdamW {
    /// What the weight keeps, the rate for the first moment and the factor for the root of the second, both corrected for their start at zero.
    pub fn factors(&self) -> (f32, f32, f32) {
        let step = i32::try_from(self.step).unwrap_or(i32::MAX);
        let rate = (f64::from(self.lr) / (1.0 - f64::from(self.beta1).powi(step))) as f32;
        let root = (1.0 / (1.0 - f64::from(self.beta2).powi(step)).sqrt()) as f32;
        (1.0 - self.lr * self.weight_decay, rate, root)
    }
}

/// One step of Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2); `step` counts from 1.
pub fn adamw_step(isa: Isa, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], o: AdamW) {
    let (p, m, v) = (Shared::new(p), Shared::new(m), Shared::new(v));
    let (keep, rate, root) = o.factors();
    chunks(g.len(), |from, to| {
        let n = to - from;
        // SAFETY: chunks are disjoint.
        let (p, m, v) = unsafe { (p.part(from, n), m.part(from, n), v.part(from, n)) };
        let g = &g[from..to];
        dispatch(
            isa,
            Loop(
                #[inline(always)]
                || {
                    for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
                        *m = o.beta1 * *m + (1.0 - o.beta1) * g;
                        *v = o.beta2 * *v + (1.0 - o.beta2) * g * g;
                        *p = *p * keep - rate * *m / (v.sqrt() * root + o.eps);
                    }
                },
            ),
        );
    });
}

struct Squares<'a>(&'a [f32]);

impl Op for Squares<'_> {
    type Out = f64;
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f64 {
        let mut lanes = [0.0f64; LANES];
        let mut parts = self.0.chunks_exact(LANES);
        for part in &mut parts {
            for (l, &x) in lanes.iter_mut().zip(part) {
                *l += f64::from(x) * f64::from(x);
            }
        }
        let rest: f64 = parts.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        lanes.iter().sum::<f64>() + rest
    }
}

/// Σx² in f64: sixteen lanes in chunks of fixed length, chunks in order.
pub fn sum_of_squares(isa: Isa, x: &[f32]) -> f64 {
    let mut parts = vec![0.0f32; 2 * x.len().div_ceil(CHUNK)];
    let out = Shared::new(&mut parts);
    chunks(x.len(), |from, to| {
        let sum = dispatch(isa, Squares(&x[from..to]));
        // SAFETY: two floats per chunk hold the bits of one f64.
        let part = unsafe { out.part(2 * (from / CHUNK), 2) };
        let bits = sum.to_bits();
        part[0] = f32::from_bits(bits as u32);
        part[1] = f32::from_bits((bits >> 32) as u32);
    });
    let sum = |p: &[f32]| f64::from_bits(u64::from(p[0].to_bits()) | u64::from(p[1].to_bits()) << 32);
    parts.chunks_exact(2).map(sum).sum()
}

struct Finite<'a>(&'a [f32]);

impl Op for Finite<'_> {
    type Out = bool;
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> bool {
        // x * 0 is 0 for finite x and NaN otherwise, and NaN stays in the sum.
        let mut lanes = [0.0f32; LANES];
        let mut parts = self.0.chunks_exact(LANES);
        for part in &mut parts {
            for (l, &x) in lanes.iter_mut().zip(part) {
                *l += x * 0.0;
            }
        }
        lanes.iter().chain(parts.remainder()).all(|x| x.is_finite())
    }
}

/// Whether no element is NaN or infinite.
pub fn all_finite(isa: Isa, x: &[f32]) -> bool {
    let broken = std::sync::atomic::AtomicBool::new(false);
    chunks(x.len(), |from, to| {
        if !dispatch(isa, Finite(&x[from..to])) {
            broken.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    !broken.into_inner()
}
