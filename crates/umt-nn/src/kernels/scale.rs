//! One factor per sample and channel.
use super::simd::{Op, Simd, dispatch};
use super::work::{Scratch, Shared, parallel};
use super::{Isa, isa, len};

/// Rows that are summed before they join the total, so that long sums lose few digits.
const BLOCK: usize = 64;

/// `y[g, r, c] = x[g, r, c] * gate[g, c]`
pub fn scale_channels(groups: usize, rows: usize, c: usize, x: &[f32], gate: &[f32], y: &mut [f32]) {
    len("x", x, groups * rows * c);
    len("gate", gate, groups * c);
    len("y", y, groups * rows * c);
    scale(isa(), [groups, rows, c], x, gate, y);
}

/// Gradient of [`scale_channels`] to the gate, `sum_r x[g, r, c] * dy[g, r, c]`; overwrites `dgate`. That to `x` is `scale_channels` of `dy`.
pub fn scale_channels_grad_gate(groups: usize, rows: usize, c: usize, x: &[f32], dy: &[f32], dgate: &mut [f32]) {
    len("x", x, groups * rows * c);
    len("dy", dy, groups * rows * c);
    len("dgate", dgate, groups * c);
    products(isa(), [groups, rows, c], x, dy, dgate);
}

pub(super) fn scale(isa: Isa, [groups, rows, c]: [usize; 3], x: &[f32], gate: &[f32], y: &mut [f32]) {
    let out = Shared::new(y);
    parallel(groups, groups * rows * c > 1 << 15, |g| {
        // SAFETY: each task writes its own group.
        let y = unsafe { out.part(g * rows * c, rows * c) };
        dispatch(isa, Scale { x: &x[g * rows * c..][..rows * c], gate: &gate[g * c..][..c], y });
    });
}

pub(super) fn products(isa: Isa, [groups, rows, c]: [usize; 3], x: &[f32], dy: &[f32], dgate: &mut [f32]) {
    let out = Shared::new(dgate);
    parallel(groups, groups * rows * c > 1 << 15, |g| {
        // SAFETY: each task writes its own group.
        let dgate = unsafe { out.part(g * c, c) };
        dispatch(isa, Products { x: &x[g * rows * c..][..rows * c], dy: &dy[g * rows * c..][..rows * c], dgate });
    });
}

struct Scale<'a> {
    x: &'a [f32],
    gate: &'a [f32],
    y: &'a mut [f32],
}

impl Op for Scale<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let c = self.gate.len().max(1);
        for (y, x) in self.y.chunks_exact_mut(c).zip(self.x.chunks_exact(c)) {
            y.iter_mut().zip(x).zip(self.gate).for_each(|((y, x), g)| *y = x * g);
        }
    }
}

struct Products<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dgate: &'a mut [f32],
}

impl Op for Products<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let c = self.dgate.len().max(1);
        let mut part = Scratch::new(self.dgate.len());
        self.dgate.fill(0.0);
        for (x, dy) in self.x.chunks(BLOCK * c).zip(self.dy.chunks(BLOCK * c)) {
            part.fill(0.0);
            for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
                part.iter_mut().zip(x).zip(dy).for_each(|((p, x), d)| *p += x * d);
            }
            self.dgate.iter_mut().zip(part.iter()).for_each(|(total, p)| *total += p);
        }
    }
}
