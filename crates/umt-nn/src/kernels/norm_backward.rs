//! Backward of batch normalisation (+ skip) (+ ReLU): one pass for the two sums per channel, one for the gradient.
//!
//! With g the gradient after the ReLU mask, x̂ = (z - mean) * inv_std and N rows (Ioffe and Szegedy 2015, section 3):
//! dbeta = Σg, dgamma = Σg·x̂, dz = gamma * inv_std * (g - dbeta / N - x̂ * dgamma / N).
use super::Isa;
use super::norm::{Channels, fma, fold, streams};
use super::simd::{LANES, Op, Simd, dispatch};
use super::work::{Scratch, Shared, parallel};

const GROUP: usize = 2 * LANES;

/// Where the ReLU let the gradient through.
#[derive(Clone, Copy)]
pub enum Mask<'a> {
    /// There is no ReLU.
    All,
    /// Where the output is positive.
    Output(&'a [f32]),
    /// Where `a * z + b` is positive, which is the output again without reading it.
    Affine(&'a [f32], &'a [f32]),
}

/// Arguments of [`backward`], see [`super::batch_norm_backward`].
pub struct Backward<'a> {
    pub rows: usize,
    pub c: usize,
    pub z: &'a [f32],
    pub mask: Mask<'a>,
    pub dy: &'a [f32],
    pub gamma: &'a [f32],
    pub mean: &'a [f32],
    pub inv_std: &'a [f32],
}

/// [`Mask`] of a block, with per-channel values repeated to the wide row.
#[derive(Clone, Copy)]
struct WideMask<'a> {
    output: Option<*const f32>,
    affine: Option<(&'a [f32], &'a [f32])>,
}

/// Gradients of batch normalisation with explicit instruction set.
pub fn backward(
    isa: Isa,
    t: &Backward,
    dz: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    dskip: Option<&mut [f32]>,
) {
    let (rows, c) = (t.rows, t.c);
    let ch = Channels::new(rows, c);
    let mean = ch.repeat(t.mean);
    let affine = if let Mask::Affine(a, b) = t.mask { Some((ch.repeat(a), ch.repeat(b))) } else { None };
    let mask_at = |at: usize| WideMask {
        output: if let Mask::Output(y) = t.mask { Some(y[at..].as_ptr()) } else { None },
        affine: affine.as_ref().map(|(a, b)| (&a[..], &b[..])),
    };
    let skip = dskip.map(Shared::new);
    let mut sums = Scratch::new(ch.blocks() * 2 * ch.wide);
    let shared = Shared::new(&mut sums);
    parallel(ch.blocks(), rows * c > 1 << 15, |i| {
        let (from, n) = ch.rows(i);
        let at = from * ch.wide;
        // SAFETY: blocks are disjoint and in bounds.
        unsafe {
            let sums = shared.part(i * 2 * ch.wide, 2 * ch.wide);
            let skip = skip.map(|s| s.ptr().add(at));
            dispatch(
                isa,
                Reduce { z: &t.z[at..], mask: mask_at(at), dy: &t.dy[at..], skip, n, wide: ch.wide, mean: &mean, sums },
            );
        }
    });
    let passes = |i: usize| match t.mask {
        Mask::All => true,
        Mask::Output(y) => y[i] > 0.0,
        Mask::Affine(a, b) => fma(isa, a[i % c], t.z[i], b[i % c]) > 0.0,
    };
    let masked = |i: usize| if passes(i) { t.dy[i] } else { 0.0 };
    let total = fold(&ch, rows, &sums, |row, i| {
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
        // From the end, which the first pass left in the caches.
        let (from, n) = ch.rows(ch.blocks() - 1 - i);
        let at = from * ch.wide;
        // SAFETY: blocks are disjoint and in bounds; the masked gradient was written by the first pass.
        unsafe {
            let (mask, dy) = match skip {
                Some(s) => (WideMask { output: None, affine: None }, s.ptr().add(at).cast_const()),
                None => (mask_at(at), t.dy[at..].as_ptr()),
            };
            let z = t.z[at..].as_ptr();
            dispatch(
                isa,
                Apply {
                    z,
                    mask,
                    dy,
                    dz: out.ptr().add(at),
                    n,
                    wide: ch.wide,
                    mean: &mean,
                    a: &wa,
                    b: &wb,
                    c: &wc,
                    stream,
                },
            );
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

/// No mask, by the output, by the input.
const ALL: u8 = 0;
const OUTPUT: u8 = 1;
const AFFINE: u8 = 2;

impl WideMask<'_> {
    fn kind(&self) -> u8 {
        if self.output.is_some() {
            OUTPUT
        } else if self.affine.is_some() {
            AFFINE
        } else {
            ALL
        }
    }
    /// The mask's factor and offset for sixteen channels.
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, g: usize) -> [S::V; 2] {
        self.affine.map_or([S::splat(0.0); 2], |(a, b)| [S::load(a.as_ptr().add(g)), S::load(b.as_ptr().add(g))])
    }
    /// The gradient `d` where it passes.
    #[inline(always)]
    unsafe fn apply<S: Simd, const MASK: u8>(&self, m: [S::V; 2], at: usize, z: S::V, d: S::V) -> S::V {
        match (MASK, self.output) {
            (OUTPUT, Some(y)) => S::where_positive(S::load(y.add(at)), d),
            (AFFINE, _) => S::where_positive(S::fma(m[0], z, m[1]), d),
            _ => d,
        }
    }
}

struct Reduce<'a> {
    z: &'a [f32],
    mask: WideMask<'a>,
    dy: &'a [f32],
    skip: Option<*mut f32>,
    n: usize,
    wide: usize,
    mean: &'a [f32],
    sums: &'a mut [f32],
}

impl Reduce<'_> {
    #[inline(always)]
    unsafe fn body<S: Simd, const MASK: u8, const SKIP: bool>(&mut self) {
        let (z, dy) = (self.z.as_ptr(), self.dy.as_ptr());
        let skip = self.skip.unwrap_or(std::ptr::null_mut());
        for g in (0..self.wide).step_by(GROUP) {
            let m = [S::load(self.mean.as_ptr().add(g)), S::load(self.mean.as_ptr().add(g + LANES))];
            let k = [self.mask.load::<S>(g), self.mask.load::<S>(g + LANES)];
            let mut s = [S::splat(0.0); 2];
            let mut q = [S::splat(0.0); 2];
            for r in 0..self.n {
                for j in 0..2 {
                    let at = r * self.wide + g + j * LANES;
                    let x = S::load(z.add(at));
                    let d = self.mask.apply::<S, MASK>(k[j], at, x, S::load(dy.add(at)));
                    if SKIP {
                        S::store(skip.add(at), d);
                    }
                    s[j] = S::add(s[j], d);
                    q[j] = S::fma(d, S::sub(x, m[j]), q[j]);
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
        match (self.mask.kind(), self.skip.is_some()) {
            (OUTPUT, false) => self.body::<S, OUTPUT, false>(),
            (OUTPUT, true) => self.body::<S, OUTPUT, true>(),
            (AFFINE, false) => self.body::<S, AFFINE, false>(),
            (AFFINE, true) => self.body::<S, AFFINE, true>(),
            (_, false) => self.body::<S, ALL, false>(),
            (_, true) => self.body::<S, ALL, true>(),
        }
    }
}

struct Apply<'a> {
    z: *const f32,
    mask: WideMask<'a>,
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
    unsafe fn body<S: Simd, const MASK: u8, const STREAM: bool>(&self) {
        for g in (0..self.wide).step_by(GROUP) {
            let load = |v: &[f32]| [S::load(v.as_ptr().add(g)), S::load(v.as_ptr().add(g + LANES))];
            let (m, a, b, c) = (load(self.mean), load(self.a), load(self.b), load(self.c));
            let k = [self.mask.load::<S>(g), self.mask.load::<S>(g + LANES)];
            for r in 0..self.n {
                for j in 0..2 {
                    let at = r * self.wide + g + j * LANES;
                    let x = S::load(self.z.add(at));
                    let d = self.mask.apply::<S, MASK>(k[j], at, x, S::load(self.dy.add(at)));
                    let v = S::fma(a[j], d, S::fma(b[j], S::sub(x, m[j]), c[j]));
                    if STREAM { S::stream(self.dz.add(at), v) } else { S::store(self.dz.add(at), v) }
                }
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
        match (self.mask.kind(), self.stream) {
            (OUTPUT, false) => self.body::<S, OUTPUT, false>(),
            (OUTPUT, true) => self.body::<S, OUTPUT, true>(),
            (AFFINE, false) => self.body::<S, AFFINE, false>(),
            (AFFINE, true) => self.body::<S, AFFINE, true>(),
            (_, false) => self.body::<S, ALL, false>(),
            (_, true) => self.body::<S, ALL, true>(),
        }
    }
}
