//! Transposition of 16 by 16 values: gradients to the input see the weights with input and output channels exchanged.
use super::simd::LANES;

/// Row i of `from` (at `from + i * step`) becomes lane i; lane i becomes row i of `to` (at `to + i * step_to`).
///
/// # Safety
/// Sixteen values are valid at each row.
#[inline(always)]
pub unsafe fn plain(from: *const f32, step: usize, to: *mut f32, step_to: usize) {
    for i in 0..LANES {
        for l in 0..LANES {
            *to.add(l * step_to + i) = *from.add(i * step + l);
        }
    }
}

/// The same with AVX-512.
///
/// # Safety
/// As [`plain`], and inside `dispatch`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub unsafe fn avx512(from: *const f32, step: usize, to: *mut f32, step_to: usize) {
    use std::arch::x86_64::*;
    let mut r = [_mm512_setzero_ps(); LANES];
    // Rows 4g..4g+4: afterwards quarter q of r[4g + j] is column 4q + j.
    for g in 0..4 {
        let row = |i: usize| _mm512_loadu_ps(from.add((4 * g + i) * step));
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        let pd = |x| _mm512_castps_pd(x);
        let ps = |x| _mm512_castpd_ps(x);
        let (t0, t1) = (pd(_mm512_unpacklo_ps(a, b)), pd(_mm512_unpackhi_ps(a, b)));
        let (t2, t3) = (pd(_mm512_unpacklo_ps(c, d)), pd(_mm512_unpackhi_ps(c, d)));
        r[4 * g] = ps(_mm512_unpacklo_pd(t0, t2));
        r[4 * g + 1] = ps(_mm512_unpackhi_pd(t0, t2));
        r[4 * g + 2] = ps(_mm512_unpacklo_pd(t1, t3));
        r[4 * g + 3] = ps(_mm512_unpackhi_pd(t1, t3));
    }
    for j in 0..4 {
        let (a, b, c, d) = (r[j], r[4 + j], r[8 + j], r[12 + j]);
        let (even_ab, odd_ab) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
        let (even_cd, odd_cd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
        _mm512_storeu_ps(to.add(j * step_to), _mm512_shuffle_f32x4::<0x88>(even_ab, even_cd));
        _mm512_storeu_ps(to.add((8 + j) * step_to), _mm512_shuffle_f32x4::<0xdd>(even_ab, even_cd));
        _mm512_storeu_ps(to.add((4 + j) * step_to), _mm512_shuffle_f32x4::<0x88>(odd_ab, odd_cd));
        _mm512_storeu_ps(to.add((12 + j) * step_to), _mm512_shuffle_f32x4::<0xdd>(odd_ab, odd_cd));
    }
}

/// The same with AVX2, in four 8 by 8 blocks.
///
/// # Safety
/// As [`plain`], and inside `dispatch`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub unsafe fn avx2(from: *const f32, step: usize, to: *mut f32, step_to: usize) {
    use std::arch::x86_64::*;
    for (i, j) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
        let (from, to) = (from.add(i * step + j), to.add(j * step_to + i));
        let mut r = [_mm256_setzero_ps(); 8];
        // Half h of r[4g + q] is column 4h + q of rows 4g..4g+4.
        for g in 0..2 {
            let row = |i: usize| _mm256_loadu_ps(from.add((4 * g + i) * step));
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (t0, t1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (t2, t3) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            r[4 * g] = _mm256_shuffle_ps::<0x44>(t0, t2);
            r[4 * g + 1] = _mm256_shuffle_ps::<0xee>(t0, t2);
            r[4 * g + 2] = _mm256_shuffle_ps::<0x44>(t1, t3);
            r[4 * g + 3] = _mm256_shuffle_ps::<0xee>(t1, t3);
        }
        for q in 0..4 {
            _mm256_storeu_ps(to.add(q * step_to), _mm256_permute2f128_ps::<0x20>(r[q], r[4 + q]));
            _mm256_storeu_ps(to.add((4 + q) * step_to), _mm256_permute2f128_ps::<0x31>(r[q], r[4 + q]));
        }
    }
}
