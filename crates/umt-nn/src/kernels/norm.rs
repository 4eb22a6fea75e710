//! Batch normalisation over the rows of `[rows, c]`: statistics in one pass, backward in two.
//!
//! Channels are repeated to a multiple of 32 ([`Channels`]), so that one vector body serves every channel count. Sums are f32 inside blocks whose
//! size depends on the shape alone, and f64 across blocks in order.
use super::Isa;
use super::simd::{LANES, Op, Simd, dispatch};
use super::work::{Scratch, Shared, parallel};

/// Channels handled together, as two vectors.
const GROUP: usize = 2 * LANES;
/// Floats in a block.
const BLOCK: usize = 16384;
/// Outputs above so many bytes are stored past the caches.
const STREAM_BYTES: usize = 6 << 20;

/// How `[rows, c]` is seen as `[wide_rows, wide]` with `wide` a multiple of 32, and a rest of fewer than 32 rows.
#[derive(Clone, Copy)]
pub(super) struct Channels {
    c: usize,
    pub wide: usize,
    wide_rows: usize,
    /// Rows of `c` that the wide rows hold.
    pub covered: usize,
    block: usize,
}

impl Channels {
    pub fn new(rows: usize, c: usize) -> Channels {
        let twos = GROUP.trailing_zeros().min(c.trailing_zeros());
        let repeat = GROUP >> twos;
        let (wide, wide_rows) = (c * repeat, rows / repeat);
        Channels { c, wide, wide_rows, covered: wide_rows * repeat, block: (BLOCK / wide).max(8) }
    }
    pub fn blocks(&self) -> usize {
        self.wide_rows.div_ceil(self.block)
    }
    /// First wide row and wide rows of block `i`.
    pub fn rows(&self, i: usize) -> (usize, usize) {
        let from = i * self.block;
        (from, self.block.min(self.wide_rows - from))
    }
    /// A per-channel vector repeated to the wide row.
    pub fn repeat(&self, v: &[f32]) -> Scratch {
        let mut s = Scratch::new(self.wide);
        s.chunks_exact_mut(self.c).for_each(|p| p.copy_from_slice(v));
        s
    }
}

/// Whether `y` is worth storing past the caches and aligned for it.
pub(super) fn streams(y: &[f32]) -> bool {
    y.len() * 4 >= STREAM_BYTES && (y.as_ptr() as usize).is_multiple_of(64)
}

/// Adds block sums `[blocks][2][wide]` and the rest of the rows, given by `rest(row, channel)`, in f64 and in order: `[2][c]`.
pub(super) fn fold(ch: &Channels, rows: usize, sums: &[f32], rest: impl Fn(usize, usize) -> (f32, f32)) -> Vec<f64> {
    let mut total = vec![0.0f64; 2 * ch.c];
    for block in sums.chunks_exact(2 * ch.wide) {
        for (half, part) in block.chunks_exact(ch.wide).enumerate() {
            for pixel in part.chunks_exact(ch.c) {
                for (t, v) in total[half * ch.c..].iter_mut().zip(pixel) {
                    *t += f64::from(*v);
                }
            }
        }
    }
    for row in ch.covered..rows {
        for i in 0..ch.c {
            let (a, b) = rest(row, i);
            total[i] += f64::from(a);
            total[ch.c + i] += f64::from(b);
        }
    }
    total
}

/// Mean and biased variance of each channel.
pub fn stats(isa: Isa, rows: usize, c: usize, z: &[f32], mean: &mut [f32], var: &mut [f32]) {
    if rows == 0 {
        mean.fill(0.0);
        var.fill(0.0);
        return;
    }
    let ch = Channels::new(rows, c);
    // Sums of differences from one sample, so that a large mean does not swallow a small variance.
    let pivot = &z[..c];
    let wide_pivot = ch.repeat(pivot);
    let mut sums = Scratch::new(ch.blocks() * 2 * ch.wide);
    let shared = Shared::new(&mut sums);
    parallel(ch.blocks(), rows * c > 1 << 15, |b| {
        let (from, n) = ch.rows(b);
        // SAFETY: each task writes its own block.
        let sums = unsafe { shared.part(b * 2 * ch.wide, 2 * ch.wide) };
        dispatch(isa, Sums { z: &z[from * ch.wide..], n, wide: ch.wide, pivot: &wide_pivot, sums });
    });
    let total = fold(&ch, rows, &sums, |row, i| {
        let d = z[row * c + i] - pivot[i];
        (d, d * d)
    });
    for i in 0..c {
        let m = total[i] / rows as f64;
        mean[i] = (f64::from(pivot[i]) + m) as f32;
        var[i] = (total[c + i] / rows as f64 - m * m).max(0.0) as f32;
        if total[c + i].is_nan() {
            var[i] = f32::NAN;
        }
    }
}

struct Sums<'a> {
    z: &'a [f32],
    n: usize,
    wide: usize,
    pivot: &'a [f32],
    sums: &'a mut [f32],
}

impl Op for Sums<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for g in (0..self.wide).step_by(GROUP) {
            let p = [S::load(self.pivot.as_ptr().add(g)), S::load(self.pivot.as_ptr().add(g + LANES))];
            let mut s = [S::splat(0.0); 2];
            let mut q = [S::splat(0.0); 2];
            let mut z = self.z.as_ptr().add(g);
            for _ in 0..self.n {
                for j in 0..2 {
                    let d = S::sub(S::load(z.add(j * LANES)), p[j]);
                    s[j] = S::add(s[j], d);
                    q[j] = S::fma(d, d, q[j]);
                }
                z = z.wrapping_add(self.wide);
            }
            for j in 0..2 {
                S::store(self.sums.as_mut_ptr().add(g + j * LANES), s[j]);
                S::store(self.sums.as_mut_ptr().add(self.wide + g + j * LANES), q[j]);
            }
        }
    }
}

/// `a * b + c` as the lanes do it: one rounding where the processor fuses.
pub(super) fn fma(isa: Isa, a: f32, b: f32, c: f32) -> f32 {
    let fused = isa.usable() != Isa::Portable || cfg!(target_arch = "aarch64");
    if fused { a.mul_add(b, c) } else { a * b + c }
}

/// `y = relu?(a * z + b (+ skip))`; `z` may be `y`.
///
/// # Safety
/// `z` holds `rows * c` floats and is either the memory of `y` or apart from it.
pub unsafe fn scale_shift(
    isa: Isa,
    rows: usize,
    c: usize,
    z: *const f32,
    a: &[f32],
    b: &[f32],
    skip: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    let ch = Channels::new(rows, c);
    let (wa, wb) = (ch.repeat(a), ch.repeat(b));
    let stream = streams(y) && !std::ptr::eq(z, y.as_ptr());
    let out = Shared::new(y);
    let source = Shared::new(std::slice::from_raw_parts_mut(z.cast_mut(), 0));
    parallel(ch.blocks(), rows * c > 1 << 15, |i| {
        let (from, n) = ch.rows(i);
        let at = from * ch.wide;
        // SAFETY: blocks are disjoint and in bounds.
        unsafe {
            let z = source.ptr().add(at).cast_const();
            let skip = skip.map(|s| s[at..].as_ptr());
            dispatch(isa, Affine { z, skip, y: out.ptr().add(at), n, wide: ch.wide, a: &wa, b: &wb, relu, stream });
        }
    });
    for i in ch.covered * c..rows * c {
        let v = fma(isa, a[i % c], *source.ptr().add(i), b[i % c]) + skip.map_or(0.0, |s| s[i]);
        *out.ptr().add(i) = if relu && v < 0.0 { 0.0 } else { v };
    }
}

struct Affine<'a> {
    z: *const f32,
    skip: Option<*const f32>,
    y: *mut f32,
    n: usize,
    wide: usize,
    a: &'a [f32],
    b: &'a [f32],
    relu: bool,
    stream: bool,
}

impl Affine<'_> {
    #[inline(always)]
    unsafe fn body<S: Simd, const SKIP: bool, const RELU: bool, const STREAM: bool>(&self) {
        let skip = self.skip.unwrap_or(self.z);
        for g in (0..self.wide).step_by(GROUP) {
            let a = [S::load(self.a.as_ptr().add(g)), S::load(self.a.as_ptr().add(g + LANES))];
            let b = [S::load(self.b.as_ptr().add(g)), S::load(self.b.as_ptr().add(g + LANES))];
            for r in 0..self.n {
                for j in 0..2 {
                    let at = r * self.wide + g + j * LANES;
                    let mut v = S::fma(a[j], S::load(self.z.add(at)), b[j]);
                    if SKIP {
                        v = S::add(v, S::load(skip.add(at)));
                    }
                    if RELU {
                        v = S::relu(v);
                    }
                    if STREAM { S::stream(self.y.add(at), v) } else { S::store(self.y.add(at), v) }
                }
            }
        }
        if STREAM {
            S::fence();
        }
    }
}

impl Op for Affine<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match (self.skip.is_some(), self.relu, self.stream) {
            (false, false, false) => self.body::<S, false, false, false>(),
            (false, false, true) => self.body::<S, false, false, true>(),
            (false, true, false) => self.body::<S, false, true, false>(),
            (false, true, true) => self.body::<S, false, true, true>(),
            (true, false, false) => self.body::<S, true, false, false>(),
            (true, false, true) => self.body::<S, true, false, true>(),
            (true, true, false) => self.body::<S, true, true, false>(),
            (true, true, true) => self.body::<S, true, true, true>(),
        }
    }
}

/// `d = 0` where not `y > 0`, in place, and the sum over rows of each channel of what is left.
pub fn masked_row_sums(isa: Isa, rows: usize, c: usize, y: &[f32], d: &mut [f32], out: &mut [f32]) {
    let ch = Channels::new(rows, c);
    let mut sums = Scratch::new(ch.blocks() * 2 * ch.wide);
    let (shared, all) = (Shared::new(&mut sums), Shared::new(d));
    parallel(ch.blocks(), rows * c > 1 << 15, |b| {
        let (from, n) = ch.rows(b);
        let at = from * ch.wide;
        // SAFETY: each task has its own block of rows and of sums.
        let (d, sums) = unsafe { (all.part(at, n * ch.wide), shared.part(b * 2 * ch.wide, 2 * ch.wide)) };
        dispatch(isa, Masked { y: &y[at..], d, n, wide: ch.wide, sums });
    });
    for i in ch.covered * c..rows * c {
        // Not `<= 0`: a NaN does not pass either.
        let passes = y[i] > 0.0;
        d[i] = if passes { d[i] } else { 0.0 };
    }
    let total = fold(&ch, rows, &sums, |row, i| (d[row * c + i], 0.0));
    out.iter_mut().zip(&total).for_each(|(o, t)| *o = *t as f32);
}

struct Masked<'a> {
    y: &'a [f32],
    d: &'a mut [f32],
    n: usize,
    wide: usize,
    sums: &'a mut [f32],
}

impl Op for Masked<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        self.sums[self.wide..].fill(0.0);
        for g in (0..self.wide).step_by(GROUP) {
            let mut s = [S::splat(0.0); 2];
            for r in 0..self.n {
                for j in 0..2 {
                    let at = r * self.wide + g + j * LANES;
                    let p = self.d.as_mut_ptr().add(at);
                    let v = S::where_positive(S::load(self.y.as_ptr().add(at)), S::load(p));
                    S::store(p, v);
                    s[j] = S::add(s[j], v);
                }
            }
            for j in 0..2 {
                S::store(self.sums.as_mut_ptr().add(g + j * LANES), s[j]);
            }
        }
    }
}

/// Sum over rows of each channel.
pub fn row_sums(isa: Isa, rows: usize, c: usize, x: &[f32], out: &mut [f32]) {
    let ch = Channels::new(rows, c);
    let pivot = Scratch::zeros(ch.wide);
    let mut sums = Scratch::new(ch.blocks() * 2 * ch.wide);
    let shared = Shared::new(&mut sums);
    parallel(ch.blocks(), rows * c > 1 << 15, |b| {
        let (from, n) = ch.rows(b);
        // SAFETY: each task writes its own block.
        let sums = unsafe { shared.part(b * 2 * ch.wide, 2 * ch.wide) };
        dispatch(isa, Sums { z: &x[from * ch.wide..], n, wide: ch.wide, pivot: &pivot, sums });
    });
    let total = fold(&ch, rows, &sums, |row, i| (x[row * c + i], 0.0));
    out.iter_mut().zip(&total).for_each(|(o, t)| *o = *t as f32);
}
