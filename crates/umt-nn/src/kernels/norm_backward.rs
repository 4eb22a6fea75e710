//! Backward of batch normalisation (+ skip) (+ ReLU): one pass for the two sums per channel, one for the gradient.
//!
//! With g the gradient after the ReLU mask, x̂ = (z - mean) * inv_std and N rows (Ioffe and Szegedy 2015, section 3):
//! dbeta = Σg, dgamma = Σg·x̂, dz = gamma * inv_std * (g - dbeta / N - x̂ * dgamma / N).
use super::Isa;
use super::norm::{Channels, streams};
use super::simd::{LANES, Op, Simd, dispatch};
use super::work::{Scratch, Shared, parallel};

const GROUP: usize = 2 * LANES;

/// Arguments of [`backward`], see [`super::batch_norm_backward`].
pub struct Backward<'a> {
    pub rows: usize,
    pub c: usize,
    pub z: &'a [f32],
    pub y: Option<&'a [f32]>,
    pub dy: &'a [f32],
    pub gamma: &'a [f32],
    pub mean: &'a [f32],
    pub inv_std: &'a [f32],
}

/// Gradients of batch normalisation with explicit instruction set.
pub fn backward(isa: Isa, t: &Backward, dz: &mut [f32], dgamma: &mut [f32], dbeta: &mut [f32], dskip: Option<&mut [f32]>) {
    let (rows, c) = (t.rows, t.c);
    let ch = Channels::new(rows, c);
    let mean = ch.repeat(t.mean);
    let skip = dskip.map(|d| Shared::new(d));
    let mut sums = Scratch::new(ch.blocks() * 2 * ch.wide);
    let shared = Shared::new(&mut sums);
    parallel(ch.blocks(), rows * c > 1 << 15, |i| {
        let (from, n) = ch.rows(i);
        let at = from * ch.wide;
        // SAFETY: blocks are disjoint and in bounds.
        unsafe {
            let sums = shared.part(i * 2 * ch.wide, 2 * ch.wide);
            let y = t.y.map(|y| y[at..].as_ptr());
            let skip = skip.map(|s| s.ptr().add(at));
            dispatch(isa, Reduce { z: &t.z[at..], y, dy: &t.dy[at..], skip, n, wide: ch.wide, mean: &mean, sums });
        }
    });
    let masked = |i: usize| if t.y.is_some_and(|y| y[i] <= 0.0) { 0.0 } else { t.dy[i] };
    let total = super::norm::fold(&ch, rows, &sums, |row, i| {
        let g = masked(row * c + i);
        (g, g * (t.z[row * c + i] - t.mean[i]))
    });
    let count = rows.max(1) as f64;
    let mut a = vec![0.0f32; 3 * c];
    for i in 0..c {
        let (sum_g, inv) = (total[i], f64::from(t.inv_std[i]));
        let sum_gx = total[c + i] * inv;
        dbeta[i] = sum_g as f32;
        dgamma[i] = sum_gx as f32;
        let scale = f64::from(t.gamma[i]) * inv;
        a[i] = scale as f32;
        a[c + i] = (-scale * inv * sum_gx / count) as f32;
        a[2 * c + i] = (-scale * sum_g / count) as f32;
    }
    let (wa, wb, wc) = (ch.repeat(&a[..c]), ch.repeat(&a[c..2 * c]), ch.repeat(&a[2 * c..]));
    let stream = streams(dz);
    let out = Shared::new(dz);
    parallel(ch.blocks(), rows * c > 1 << 15, |i| {
        let (from, n) = ch.rows(i);
        let at = from * ch.wide;
        // SAFETY: blocks are disjoint and in bounds; the masked gradient was written by the first pass.
        unsafe {
            let (y, dy) = match skip {
                Some(s) => (None, s.ptr().add(at).cast_const()),
                None => (t.y.map(|y| y[at..].as_ptr()), t.dy[at..].as_ptr()),
            };
            let z = t.z[at..].as_ptr();
            dispatch(isa, Apply { z, y, dy, dz: out.ptr().add(at), n, wide: ch.wide, mean: &mean, a: &wa, b: &wb, c: &wc, stream });
        }
    });
    for i in ch.covered * c..rows * c {
        let (g, k) = (masked(i), i % c);
        // SAFETY: the rest of the rows, in bounds and written by this thread alone.
        unsafe {
            if let Some(s) = skip {
                *s.ptr().add(i) = g;
            }
            *out.ptr().add(i) = a[k] * g + (a[c + k] * (t.z[i] - t.mean[k]) + a[2 * c + k]);
        }
    }
}

struct Reduce<'a> {
    z: &'a [f32],
    y: Option<*const f32>,
    dy: &'a [f32],
    skip: Option<*mut f32>,
    n: usize,
    wide: usize,
    mean: &'a [f32],
    sums: &'a mut [f32],
}

impl Reduce<'_> {
    #[inline(always)]
    unsafe fn body<S: Simd, const RELU: bool, const SKIP: bool>(&mut self) {
        let (z, dy) = (self.z.as_ptr(), self.dy.as_ptr());
        let y = self.y.unwrap_or(z);
        let skip = self.skip.unwrap_or(std::ptr::null_mut());
        for g in (0..self.wide).step_by(GROUP) {
            let m = [S::load(self.mean.as_ptr().add(g)), S::load(self.mean.as_ptr().add(g + LANES))];
            let mut s = [S::splat(0.0); 2];
            let mut q = [S::splat(0.0); 2];
            for r in 0..self.n {
                for j in 0..2 {
                    let at = r * self.wide + g + j * LANES;
                    let mut d = S::load(dy.add(at));
                    if RELU {
                        d = S::where_positive(S::load(y.add(at)), d);
                    }
                    if SKIP {
                        S::store(skip.add(at), d);
                    }
                    s[j] = S::add(s[j], d);
                    q[j] = S::fma(d, S::sub(S::load(z.add(at)), m[j]), q[j]);
                }
            }
            for j in 0..2 {
                S::store(self.sums.as_mut_ptr().add(g + j * LANES), s[j]);
                S::store(self.sums.as_mut_ptr().add(self.wide + g + j * LANES), q[j]);
            }
        }
    }
}

impl Op for Reduce<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        match (self.y.is_some(), self.skip.is_some()) {
            (false, false) => self.body::<S, false, false>(),
            (false, true) => self.body::<S, false, true>(),
            (true, false) => self.body::<S, true, false>(),
            (true, true) => self.body::<S, true, true>(),
        }
    }
}

struct Apply<'a> {
    z: *const f32,
    y: Option<*const f32>,
    dy: *const f32,
    dz: *mut f32,
    n: usize,
    wide: usize,
    mean: &'a [f32],
    a: &'a [f32],
    b: &'a [f32],
    c: &'a [f32],
    stream: bool,
}

impl Apply<'_> {
    #[inline(always)]
    unsafe fn body<S: Simd, const RELU: bool, const STREAM: bool>(&self) {
        let y = self.y.unwrap_or(self.z);
        for g in (0..self.wide).step_by(LANES) {
            let load = |v: &[f32]| S::load(v.as_ptr().add(g));
            let (m, a, b, c) = (load(self.mean), load(self.a), load(self.b), load(self.c));
            for r in 0..self.n {
                let at = r * self.wide + g;
                let mut d = S::load(self.dy.add(at));
                if RELU {
                    d = S::where_positive(S::load(y.add(at)), d);
                }
                let v = S::fma(a, d, S::fma(b, S::sub(S::load(self.z.add(at)), m), c));
                if STREAM { S::stream(self.dz.add(at), v) } else { S::store(self.dz.add(at), v) }
            }
        }
        if STREAM {
            S::fence();
        }
    }
}

impl Op for Apply<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match (self.y.is_some(), self.stream) {
            (false, false) => self.body::<S, false, false>(),
            (false, true) => self.body::<S, false, true>(),
            (true, false) => self.body::<S, true, false>(),
            (true, true) => self.body::<S, true, true>(),
        }
    }
}
