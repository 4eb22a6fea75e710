//! Minimal filtering along one axis, the parts of F(4x4, 3x3) (Winograd 1980; Lavin and Gray 2016), also with stride 2.
//!
//! Stride 1, with finite points p (0, ±√½, ±√2) and infinity, M(x) = Π(x - p) = x⁵ - 2.5 x³ + x: inputs are multiplied by the coefficients of
//! M(x) / (x - p), weights by powers of p over M'(p), outputs by powers of p. Six products for four outputs instead of twelve. These points keep
//! the error near that of the direct convolution; 0, ±1, ±2 lose three to four times as much.
//!
//! Stride 2: even inputs see the outer two weights, odd ones the middle. The even half is F(4, 2) with points ±√½, ±√2 and infinity,
//! M(x) = x⁴ - 2.5 x² + 1; the odd half stays as it is. Nine products for four outputs instead of twelve, 81 instead of 144 in two dimensions.
use super::simd::Simd;

/// √½ and √2.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;

/// A linear map of `I` values to `O`.
pub trait Axis<const I: usize, const O: usize> {
    /// # Safety
    /// Runs inside `dispatch`.
    unsafe fn apply<S: Simd>(d: [S::V; I]) -> [S::V; O];
}

/// Inputs, stride 1.
pub struct Input;

impl Axis<6, 6> for Input {
    #[inline(always)]
    unsafe fn apply<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
        let c = |x: f32| S::splat(x);
        let even_a = S::fma(c(-2.0), d[2], d[4]);
        let odd_a = S::fma(c(-2.0), d[1], d[3]);
        let even_b = S::fma(c(-0.5), d[2], d[4]);
        let odd_b = S::fma(c(-0.5), d[1], d[3]);
        [
            S::fma(c(-2.5), d[2], S::add(d[0], d[4])),
            S::fma(c(A), odd_a, even_a),
            S::fma(c(-A), odd_a, even_a),
            S::fma(c(B), odd_b, even_b),
            S::fma(c(-B), odd_b, even_b),
            S::fma(c(-2.5), d[3], S::add(d[1], d[5])),
        ]
    }
}

/// Products to outputs, stride 1.
pub struct Output;

impl Axis<6, 4> for Output {
    #[inline(always)]
    unsafe fn apply<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
        let c = |x: f32| S::splat(x);
        let (sum_a, diff_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (sum_b, diff_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(S::add(m[0], sum_a), sum_b),
            S::fma(c(B), diff_b, S::mul(c(A), diff_a)),
            S::fma(c(2.0), sum_b, S::mul(c(0.5), sum_a)),
            S::fma(c(2.0 * B), diff_b, S::fma(c(0.5 * A), diff_a, m[5])),
        ]
    }
}

/// Gradient of outputs to products, stride 1: the transpose of [`Output`].
pub struct GradOutput;

impl Axis<4, 6> for GradOutput {
    #[inline(always)]
    unsafe fn apply<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
        let c = |x: f32| S::splat(x);
        let even_a = S::fma(c(0.5), y[2], y[0]);
        let odd_a = S::fma(c(0.5), y[3], y[1]);
        let even_b = S::fma(c(2.0), y[2], y[0]);
        let odd_b = S::fma(c(2.0), y[3], y[1]);
        [
            y[0],
            S::fma(c(A), odd_a, even_a),
            S::fma(c(-A), odd_a, even_a),
            S::fma(c(B), odd_b, even_b),
            S::fma(c(-B), odd_b, even_b),
            y[3],
        ]
    }
}

/// Weights, stride 1: M'(0) = 1, M'(±√½) = -3/2, M'(±√2) = 6.
pub struct Weight;

impl Axis<3, 6> for Weight {
    #[inline(always)]
    unsafe fn apply<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
        let c = |x: f32| S::splat(x);
        let even_a = S::mul(c(-2.0 / 3.0), S::fma(c(0.5), g[2], g[0]));
        let odd_a = S::mul(c(-2.0 / 3.0 * A), g[1]);
        let even_b = S::mul(c(1.0 / 6.0), S::fma(c(2.0), g[2], g[0]));
        let odd_b = S::mul(c(B / 6.0), g[1]);
        [g[0], S::add(even_a, odd_a), S::sub(even_a, odd_a), S::add(even_b, odd_b), S::sub(even_b, odd_b), g[2]]
    }
}

/// Gradient of weights, stride 1: the transpose of [`Weight`].
pub struct GradWeight;

impl Axis<6, 3> for GradWeight {
    #[inline(always)]
    unsafe fn apply<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
        let c = |x: f32| S::splat(x);
        let (sum_a, diff_a) = (S::add(u[1], u[2]), S::sub(u[1], u[2]));
        let (sum_b, diff_b) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
        [
            S::fma(c(1.0 / 6.0), sum_b, S::fma(c(-2.0 / 3.0), sum_a, u[0])),
            S::fma(c(B / 6.0), diff_b, S::mul(c(-2.0 / 3.0 * A), diff_a)),
            S::fma(c(1.0 / 3.0), sum_b, S::fma(c(-1.0 / 3.0), sum_a, u[5])),
        ]
    }
}

/// Five values to the five points of the even half.
#[inline(always)]
unsafe fn even5<S: Simd>(d: [S::V; 5]) -> [S::V; 5] {
    let c = |x: f32| S::splat(x);
    let (even_a, odd_a) = (S::fma(c(-2.0), d[1], d[3]), S::fma(c(-2.0), d[0], d[2]));
    let (even_b, odd_b) = (S::fma(c(-0.5), d[1], d[3]), S::fma(c(-0.5), d[0], d[2]));
    [
        S::fma(c(A), odd_a, even_a),
        S::fma(c(-A), odd_a, even_a),
        S::fma(c(B), odd_b, even_b),
        S::fma(c(-B), odd_b, even_b),
        S::fma(c(-2.5), d[2], S::add(d[0], d[4])),
    ]
}

/// The five products of the even half to four values.
#[inline(always)]
unsafe fn even4<S: Simd>(m: [S::V; 5]) -> [S::V; 4] {
    let c = |x: f32| S::splat(x);
    let (sum_a, diff_a) = (S::add(m[0], m[1]), S::sub(m[0], m[1]));
    let (sum_b, diff_b) = (S::add(m[2], m[3]), S::sub(m[2], m[3]));
    [
        S::add(sum_a, sum_b),
        S::fma(c(B), diff_b, S::mul(c(A), diff_a)),
        S::fma(c(2.0), sum_b, S::mul(c(0.5), sum_a)),
        S::fma(c(2.0 * B), diff_b, S::fma(c(0.5 * A), diff_a, m[4])),
    ]
}

/// Inputs, stride 2.
pub struct HalvingInput;

impl Axis<9, 9> for HalvingInput {
    #[inline(always)]
    unsafe fn apply<S: Simd>(x: [S::V; 9]) -> [S::V; 9] {
        let [a, b, c, d, e] = even5::<S>([x[0], x[2], x[4], x[6], x[8]]);
        [a, b, c, d, e, x[1], x[3], x[5], x[7]]
    }
}

/// Products to outputs, stride 2.
pub struct HalvingOutput;

impl Axis<9, 4> for HalvingOutput {
    #[inline(always)]
    unsafe fn apply<S: Simd>(m: [S::V; 9]) -> [S::V; 4] {
        let e = even4::<S>([m[0], m[1], m[2], m[3], m[4]]);
        [S::add(e[0], m[5]), S::add(e[1], m[6]), S::add(e[2], m[7]), S::add(e[3], m[8])]
    }
}

/// Gradient of outputs to products, stride 2: the transpose of [`HalvingOutput`].
pub struct HalvingGradOutput;

impl Axis<4, 9> for HalvingGradOutput {
    #[inline(always)]
    unsafe fn apply<S: Simd>(y: [S::V; 4]) -> [S::V; 9] {
        let c = |x: f32| S::splat(x);
        let (even_a, odd_a) = (S::fma(c(0.5), y[2], y[0]), S::fma(c(0.5), y[3], y[1]));
        let (even_b, odd_b) = (S::fma(c(2.0), y[2], y[0]), S::fma(c(2.0), y[3], y[1]));
        [
            S::fma(c(A), odd_a, even_a),
            S::fma(c(-A), odd_a, even_a),
            S::fma(c(B), odd_b, even_b),
            S::fma(c(-B), odd_b, even_b),
            y[3],
            y[0],
            y[1],
            y[2],
            y[3],
        ]
    }
}

/// Gradient of outputs to products of the gradient to the input, stride 2 and padding 1: even positions see two outputs, odd ones one.
pub struct DoublingInput;

impl Axis<5, 9> for DoublingInput {
    #[inline(always)]
    unsafe fn apply<S: Simd>(d: [S::V; 5]) -> [S::V; 9] {
        let e = even5::<S>(d);
        [e[0], e[1], e[2], e[3], e[4], d[0], d[1], d[2], d[3]]
    }
}

/// Products to eight gradients of inputs, stride 2 and padding 1.
pub struct DoublingOutput;

impl Axis<9, 8> for DoublingOutput {
    #[inline(always)]
    unsafe fn apply<S: Simd>(m: [S::V; 9]) -> [S::V; 8] {
        let e = even4::<S>([m[0], m[1], m[2], m[3], m[4]]);
        [m[5], e[0], m[6], e[1], m[7], e[2], m[8], e[3]]
    }
}

/// Weights, stride 2: M'(±√½) = ∓3√½, M'(±√2) = ±3√2; the middle weight last, for all four odd points.
pub struct HalvingWeight;

impl Axis<3, 6> for HalvingWeight {
    #[inline(always)]
    unsafe fn apply<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
        let c = |x: f32| S::splat(x);
        let (low, mid) = (g[0], S::mul(c(1.0 / 3.0), g[2]));
        let minus = S::sub(S::splat(0.0), mid);
        [
            S::fma(c(-B / 3.0), low, minus),
            S::fma(c(B / 3.0), low, minus),
            S::fma(c(A / 3.0), low, mid),
            S::fma(c(-A / 3.0), low, mid),
            g[2],
            g[1],
        ]
    }
}

/// Gradient of weights, stride 2: the transpose of [`HalvingWeight`].
pub struct HalvingGradWeight;

impl Axis<6, 3> for HalvingGradWeight {
    #[inline(always)]
    unsafe fn apply<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
        let c = |x: f32| S::splat(x);
        let (sum_a, diff_a) = (S::add(u[0], u[1]), S::sub(u[0], u[1]));
        let (sum_b, diff_b) = (S::add(u[2], u[3]), S::sub(u[2], u[3]));
        [
            S::fma(c(A / 3.0), diff_b, S::mul(c(-B / 3.0), diff_a)),
            u[5],
            S::fma(c(1.0 / 3.0), S::sub(sum_b, sum_a), u[4]),
        ]
    }
}
