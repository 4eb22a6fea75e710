//! Sixteen `f32` lanes under one trait, so that every kernel body is written once.
//!
//! A body is an [`Op`]; [`dispatch`] inlines it into a function compiled for the instruction set.
use super::Isa;

/// Largest number of rows of a register tile of any instruction set.
pub const MAX_ROWS: usize = 12;
/// Lanes of [`Simd::V`], on every instruction set.
pub const LANES: usize = 16;

/// Sixteen lanes. All methods are unsafe because they may only run inside [`dispatch`].
pub trait Simd: Copy + 'static {
    /// Sixteen lanes.
    type V: Copy;
    /// Rows of the register tile.
    const ROWS: usize;
    /// Panels of sixteen columns in the widest register tile.
    const PANELS: usize;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// The first `n` lanes, 0 in the others; touches no memory behind them.
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V {
        let mut lanes = [0.0f32; LANES];
        std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n.min(LANES));
        Self::load(lanes.as_ptr())
    }
    /// Stores the first `n` lanes.
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: Self::V, n: usize) {
        let mut lanes = [0.0f32; LANES];
        Self::store(lanes.as_mut_ptr(), v);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n.min(LANES));
    }
    /// Store past the caches; `p` is aligned to 64 bytes.
    unsafe fn stream(p: *mut f32, v: Self::V);
    /// Asks for the cache line at `p`, which need not be valid memory.
    #[inline(always)]
    unsafe fn prefetch(_p: *const f32) {}
    /// Makes streamed stores visible to other threads.
    unsafe fn fence();
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `max(a, 0)` that keeps NaN, so that a broken value is seen and not hidden.
    unsafe fn relu(a: Self::V) -> Self::V;
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `x` where `mask > 0`, else 0.
    unsafe fn where_positive(mask: Self::V, x: Self::V) -> Self::V;
    /// Transposes 16 by 16 values, see [`super::transpose::plain`].
    #[inline(always)]
    unsafe fn transpose(from: *const f32, step: usize, to: *mut f32, step_to: usize) {
        super::transpose::plain(from, step, to, step_to)
    }
    /// The register tile of this instruction set, see [`super::tile`].
    unsafe fn tile(t: &super::tile::Tile, panels: usize);
    /// The product of blocked matrices, see [`super::tile::dense`].
    unsafe fn dense(t: &super::tile::Dense, panels: usize);
    /// The sum of outer products, see [`super::tile::outer`].
    unsafe fn outer(t: &super::tile::Outer);
}

/// A kernel body, generic over the instruction set.
pub trait Op {
    /// What it returns.
    type Out;
    /// # Safety
    /// Runs only inside [`dispatch`]; implementations are `#[inline(always)]`.
    unsafe fn run<S: Simd>(self) -> Self::Out;
}

/// Runs `op` compiled for `isa`.
#[inline]
pub fn dispatch<O: Op>(isa: Isa, op: O) -> O::Out {
    // SAFETY: `Isa::usable` is checked, so the processor has the instructions.
    unsafe {
        match isa.usable() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512(op),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(op),
            _ => op.run::<Portable>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512<O: Op>(op: O) -> O::Out {
    op.run::<x86::Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<O: Op>(op: O) -> O::Out {
    op.run::<x86::Avx2>()
}

/// Plain Rust; the compiler vectorises it for the baseline of the target (SSE2, NEON).
#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn map2(a: [f32; 16], b: [f32; 16], f: impl Fn(f32, f32) -> f32) -> [f32; 16] {
    let mut o = [0.0; 16];
    for i in 0..16 {
        o[i] = f(a[i], b[i]);
    }
    o
}

impl Simd for Portable {
    type V = [f32; 16];
    const ROWS: usize = 3;
    const PANELS: usize = 1;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; 16]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        p.cast::<Self::V>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        p.cast::<Self::V>().write_unaligned(v)
    }
    #[inline(always)]
    unsafe fn stream(p: *mut f32, v: Self::V) {
        Self::store(p, v)
    }
    #[inline(always)]
    unsafe fn fence() {}
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn relu(a: Self::V) -> Self::V {
        map2(a, a, |a, _| if a < 0.0 { 0.0 } else { a })
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let mut o = c;
        for i in 0..16 {
            // A fused multiply-add without hardware support is a slow library call.
            o[i] = if cfg!(target_arch = "aarch64") { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] };
        }
        o
    }
    #[inline(always)]
    unsafe fn where_positive(mask: Self::V, x: Self::V) -> Self::V {
        map2(mask, x, |m, x| if m > 0.0 { x } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn tile(t: &super::tile::Tile, _panels: usize) {
        super::tile::body::<Self, 3, 1>(t)
    }
    #[inline(always)]
    unsafe fn dense(t: &super::tile::Dense, _panels: usize) {
        super::tile::dense::<Self, 3, 1>(t)
    }
    #[inline(always)]
    unsafe fn outer(t: &super::tile::Outer) {
        super::tile::outer::<Self, 2>(t)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::tile::{Dense, Outer, Tile, body, dense, outer};
    use super::Simd;
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub struct Avx512;

    impl Simd for Avx512 {
        type V = __m512;
        const ROWS: usize = 12;
        const PANELS: usize = 2;
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            _mm512_set1_ps(x)
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m512 {
            _mm512_loadu_ps(p)
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: __m512) {
            _mm512_storeu_ps(p, v)
        }
        #[inline(always)]
        unsafe fn stream(p: *mut f32, v: __m512) {
            _mm512_stream_ps(p, v)
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const f32) {
            _mm_prefetch::<_MM_HINT_T1>(p.cast())
        }
        #[inline(always)]
        unsafe fn fence() {
            _mm_sfence()
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(a, b)
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            _mm512_sub_ps(a, b)
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            _mm512_mul_ps(a, b)
        }
        #[inline(always)]
        unsafe fn relu(a: __m512) -> __m512 {
            // The second operand comes through when either is NaN.
            _mm512_max_ps(_mm512_setzero_ps(), a)
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            _mm512_fmadd_ps(a, b, c)
        }
        #[inline(always)]
        unsafe fn where_positive(mask: __m512, x: __m512) -> __m512 {
            let m = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(mask, _mm512_setzero_ps());
            _mm512_maskz_mov_ps(m, x)
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, step: usize, to: *mut f32, step_to: usize) {
            super::super::transpose::avx512(from, step, to, step_to)
        }
        #[inline(always)]
        unsafe fn tile(t: &Tile, panels: usize) {
            match (panels, t.count) {
                (2, _) => body::<Self, 12, 2>(t),
                // A third of the 27 elements of a 3 by 3 filter of colours.
                (_, 0..=9) => body::<Self, 9, 1>(t),
                _ => body::<Self, 12, 1>(t),
            }
        }
        #[inline(always)]
        unsafe fn dense(t: &Dense, panels: usize) {
            match (panels, t.rows) {
                // The last rows, and all of a small image.
                (2, 0..=4) => dense::<Self, 4, 2>(t),
                (2, _) => dense::<Self, 12, 2>(t),
                _ => dense::<Self, 12, 1>(t),
            }
        }
        #[inline(always)]
        unsafe fn outer(t: &Outer) {
            outer::<Self, 16>(t)
        }
        #[inline(always)]
        unsafe fn load_part(p: *const f32, n: usize) -> __m512 {
            _mm512_maskz_loadu_ps(((1u32 << n.min(16)) - 1) as u16, p)
        }
        #[inline(always)]
        unsafe fn store_part(p: *mut f32, v: __m512, n: usize) {
            _mm512_mask_storeu_ps(p, ((1u32 << n.min(16)) - 1) as u16, v)
        }
    }

    #[derive(Clone, Copy)]
    pub struct Avx2;

    /// Applies an intrinsic to both halves.
    macro_rules! halves {
        ($f:ident, $($x:expr),+) => { ($f($($x.0),+), $f($($x.1),+)) };
    }

    impl Simd for Avx2 {
        type V = (__m256, __m256);
        const ROWS: usize = 6;
        const PANELS: usize = 1;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            (_mm256_set1_ps(x), _mm256_set1_ps(x))
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            (_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8)))
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            _mm256_storeu_ps(p, v.0);
            _mm256_storeu_ps(p.add(8), v.1)
        }
        #[inline(always)]
        unsafe fn stream(p: *mut f32, v: Self::V) {
            _mm256_stream_ps(p, v.0);
            _mm256_stream_ps(p.add(8), v.1)
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const f32) {
            _mm_prefetch::<_MM_HINT_T1>(p.cast())
        }
        #[inline(always)]
        unsafe fn fence() {
            _mm_sfence()
        }
        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            halves!(_mm256_add_ps, a, b)
        }
        #[inline(always)]
        unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
            halves!(_mm256_sub_ps, a, b)
        }
        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            halves!(_mm256_mul_ps, a, b)
        }
        #[inline(always)]
        unsafe fn relu(a: Self::V) -> Self::V {
            let z = _mm256_setzero_ps();
            (_mm256_max_ps(z, a.0), _mm256_max_ps(z, a.1))
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            halves!(_mm256_fmadd_ps, a, b, c)
        }
        #[inline(always)]
        unsafe fn where_positive(m: Self::V, x: Self::V) -> Self::V {
            let z = _mm256_setzero_ps();
            (
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(m.0, z), x.0),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(m.1, z), x.1),
            )
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, step: usize, to: *mut f32, step_to: usize) {
            super::super::transpose::avx2(from, step, to, step_to)
        }
        #[inline(always)]
        unsafe fn tile(t: &Tile, _panels: usize) {
            body::<Self, 6, 1>(t)
        }
        #[inline(always)]
        unsafe fn dense(t: &Dense, _panels: usize) {
            if t.rows <= 4 { dense::<Self, 4, 1>(t) } else { dense::<Self, 6, 1>(t) }
        }
        #[inline(always)]
        unsafe fn outer(t: &Outer) {
            outer::<Self, 4>(t)
        }
    }
}
