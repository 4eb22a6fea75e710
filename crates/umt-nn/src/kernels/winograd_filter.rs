//! Filters of nine or three elements on their way into panels of sixteen outputs, as they are or turned for the gradient to the input.
//!
//! # Safety
//! Callers of the unsafe functions owe two things: each pointer is valid for all elements that its sizes and steps
//! reach, and the processor has the instructions of `S`, which `dispatch` sees to.
use super::simd::{LANES, Op, Simd};
use super::winograd::Form;

/// How weights lie, and what they are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `[taps][c][k]`
    Stored,
    /// The same, turned by 180 degrees and from k channels to c.
    Turned,
    /// `[k / 16][c][taps][16]`, so that a panel's filters are read in one stretch.
    Packed,
}

/// Weights of a convolution.
pub struct Filter<'a> {
    pub w: &'a [f32],
    pub c: usize,
    pub k: usize,
    pub order: Order,
}

impl Filter<'_> {
    /// Channels that are read and written.
    pub fn channels(&self) -> [usize; 2] {
        if self.order == Order::Turned { [self.k, self.c] } else { [self.c, self.k] }
    }

    /// Stored weights in the packed order; channels beyond the last are 0.
    pub fn pack(&self, taps: usize, packed: &mut [f32]) {
        let lines = packed.chunks_exact_mut(LANES);
        for (i, line) in lines.enumerate() {
            let (tap, c, first) = (i % taps, i / taps % self.c, i / taps / self.c * LANES);
            let lanes = (self.k - first).min(LANES);
            line[..lanes].copy_from_slice(&self.w[(tap * self.c + c) * self.k + first..][..lanes]);
            line[lanes..].fill(0.0);
        }
    }
}

/// Floats from point to point of transformed filters of `depth` channels: one line more than they take, so that points do not share cache sets.
pub fn step(depth: usize) -> usize {
    depth * LANES + LANES
}

/// Transforms the filters of a part of the depth to `panels` times sixteen outputs, `[panels][weights][depth][16]` with a line behind each depth.
pub struct Panel<'a, F> {
    pub form: F,
    pub f: &'a Filter<'a>,
    pub panel: usize,
    pub panels: usize,
    pub depth: std::ops::Range<usize>,
    pub out: &'a mut [f32],
}

impl<F: Form> Op for Panel<'_, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (f, _) = (self.f, self.form);
        let [c, outputs] = f.channels();
        let (start, depth) = (self.depth.start, self.depth.len());
        let end = self.depth.end.min(c);
        let size = F::WEIGHTS * step(depth);
        let mut g = [0.0f32; 9 * LANES * LANES];
        for d in (start..end).step_by(LANES) {
            let n = (end - d).min(LANES);
            for i in 0..self.panels {
                let first = (self.panel + i) * LANES;
                let lanes = (outputs - first).min(LANES);
                let to = self.out.as_mut_ptr().add(i * size + (d - start) * LANES);
                let (from, step_d, step_g) = match f.order {
                    Order::Turned => {
                        turn::<S>(f, F::TAPS, first, lanes, d, n, &mut g);
                        (g.as_ptr(), F::TAPS * LANES, LANES)
                    }
                    Order::Stored => (f.w.as_ptr().add(d * f.k + first), f.k, f.c * f.k),
                    Order::Packed => {
                        (f.w.as_ptr().add(((self.panel + i) * f.c + d) * F::TAPS * LANES), F::TAPS * LANES, LANES)
                    }
                };
                for l in 0..n {
                    let from = from.add(l * step_d);
                    if f.order != Order::Turned {
                        // Rows of the weights lie apart, and a transform is too long for the processor to look ahead by itself.
                        for tap in 0..F::TAPS {
                            S::prefetch(from.wrapping_add(tap * step_g + LANES * step_d));
                        }
                    }
                    F::weight::<S>(from, step_g, lanes, to.add(l * LANES), step(depth));
                }
            }
        }
        for point in self.out.chunks_exact_mut(step(depth)) {
            point[(end - start) * LANES..].fill(0.0);
        }
    }
}

/// Sixteen input channels of sixteen filters, turned by 180 degrees and transposed: `[16][taps][16]`.
#[inline(always)]
unsafe fn turn<S: Simd>(f: &Filter, taps: usize, first: usize, lanes: usize, d: usize, n: usize, g: &mut [f32]) {
    for tap in 0..taps {
        let at = ((taps - 1 - tap) * f.c + first) * f.k + d;
        if n == LANES && lanes == LANES {
            for l in 0..LANES {
                S::prefetch(f.w.as_ptr().wrapping_add(at + l * f.k + LANES));
            }
            S::transpose(f.w.as_ptr().add(at), f.k, g.as_mut_ptr().add(tap * LANES), taps * LANES);
            continue;
        }
        for l in 0..lanes {
            for (i, v) in f.w[at + l * f.k..][..n].iter().enumerate() {
                g[(i * taps + tap) * LANES + l] = *v;
            }
        }
    }
}
