//! CPU kernels for training convolutional networks, forward and backward, on plain `f32` slices.
//!
//! Activations are NHWC, convolution weights HWIO (`[kh][kw][c / groups][k]`), everything row-major and of any alignment. Work is spread over
//! threads by shape alone and sums have a fixed order, so no result depends on the number of threads, and a sample's forward result not
//! on its batch.
//!
//! The one decision: every product, from a 7x7 stem to a linear layer, is one register tile ([`tile`]) over rows given by pointers, written once
//! over sixteen lanes ([`simd`]) and compiled for each instruction set.
//!
//! Slices of wrong length are mistakes of the caller and panic.
#![allow(unsafe_code)] // The hot loops: raw pointers and processor instructions; everything else of the crate denies it.
#![allow(unsafe_op_in_unsafe_fn)] // Bodies of unsafe functions here are pointer arithmetic throughout; their contract stands on the function.

mod batch_norm;
mod conv;
mod cross_entropy;
mod direct;
mod elementwise;
mod gate;
mod machine;
mod maps;
mod norm;
mod norm_backward;
mod patch;
mod pool;
mod prepared;
mod sample;
mod shape;
mod simd;
mod tables;
mod team;
mod tile;
mod transpose;
mod weight;
mod winograd;
mod winograd_axis;
mod winograd_block;
mod winograd_conv;
mod winograd_filter;
mod winograd_line;
mod winograd_tiles;
mod winograd_weight;
mod work;

#[cfg(test)]
mod tests;

use crate::timing::{Work, timed};
pub use batch_norm::{
    batch_norm_backward, batch_norm_relu_backward, batch_norm_stats, bias_grad, scale_shift, scale_shift_in_place,
};
pub(crate) use elementwise::{AdamW as AdamWStep, Sgd as SgdStep};
pub use machine::{copy_bandwidth, fma_peak};
pub use maps::{
    CrossEntropy, Resize, add_rows, average_pool, average_pool_backward, conv2d_relu, cross_entropy, gated_sum,
    gated_sum_backward, relu_backward_in_place, relu_bias_backward_in_place, resize, resize_backward, sigmoid,
    sigmoid_backward, squared_distance, upsample, upsample_backward,
};
pub use prepared::Prepared;
pub use shape::{ConvShape, PoolShape, ShapeError};
use std::sync::OnceLock;
pub use tables::nearest_source;
#[cfg(feature = "cuda")]
pub(crate) use {maps::label_weight, tables::Factors};

/// Instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// The baseline of the target.
    Portable,
    /// Portable code on 64-bit Arm, whose baseline has NEON.
    Neon,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, VL, DQ.
    Avx512,
}

impl Isa {
    /// Its name, as the environment variable `UMT_ISA` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// The best that this processor has.
    fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            {
                let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                let wide = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq");
                if avx2 {
                    return if wide { Isa::Avx512 } else { Isa::Avx2 };
                }
            }
            if cfg!(target_arch = "aarch64") { Isa::Neon } else { Isa::Portable }
        })
    }

    /// This one if the processor has it, else the best below.
    fn usable(self) -> Isa {
        self.min(Isa::best())
    }
}

/// The instruction set in use: the best of this processor, capped by the environment variable `UMT_ISA` (portable, avx2 or avx512).
pub fn isa() -> Isa {
    static USED: OnceLock<Isa> = OnceLock::new();
    *USED.get_or_init(|| {
        let cap = std::env::var("UMT_ISA").ok().and_then(|name| {
            [Isa::Portable, Isa::Neon, Isa::Avx2, Isa::Avx512].into_iter().find(|i| i.as_str() == name)
        });
        cap.unwrap_or(Isa::Avx512).usable()
    })
}

#[track_caller]
fn len(what: &str, slice: &[f32], expected: usize) {
    assert_eq!(slice.len(), expected, "length of {what}");
}

#[track_caller]
fn checked(s: &ConvShape, x: &[f32], w: &[f32], y: &[f32]) {
    if let Err(e) = s.check() {
        panic!("{e}");
    }
    len("x", x, s.x_len());
    len("w", w, s.w_len());
    len("y", y, s.y_len());
}

/// A convolution for the record.
fn product(operator: &'static str, s: &ConvShape) -> Work {
    Work { operator, shape: s.to_string(), flops: s.flops(), floats: s.x_len() + s.w_len() + s.y_len() }
}

/// A pass over `floats` values for the record.
fn pass(operator: &'static str, shape: &[usize], floats: usize) -> Work {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    Work::pass(operator, sizes.join("x"), floats)
}

/// Convolution (cross-correlation): `y = x * w (+ bias)`.
pub fn conv2d(s: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    checked(s, x, w, y);
    if let Some(b) = bias {
        len("bias", b, s.k);
    }
    timed(|| product("convolution", s), || conv::forward(isa(), s, x, w, bias, false, y));
}

/// Gradient of [`conv2d`] to its input; overwrites `dx`.
pub fn conv2d_grad_input(s: &ConvShape, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    checked(s, dx, w, dy);
    timed(|| product("convolution, gradient to input", s), || conv::grad_input(isa(), s, dy, w, dx));
}

/// Gradient of [`conv2d`] to its weights; overwrites `dw`.
pub fn conv2d_grad_weight(s: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    checked(s, x, dw, dy);
    timed(|| product("convolution, gradient to weights", s), || conv::grad_weight(isa(), s, x, dy, dw));
}

#[track_caller]
fn checked_pool(s: &PoolShape, x: &[f32], y: &[f32], argmax: Option<usize>) {
    if let Err(e) = s.check() {
        panic!("{e}");
    }
    len("x", x, s.x_len());
    len("y", y, s.y_len());
    assert_eq!(argmax.unwrap_or(s.y_len()), s.y_len(), "length of argmax");
}

/// Max-pooling; `argmax` receives the position `row * w + column` of the first largest element in its image.
pub fn max_pool(s: &PoolShape, x: &[f32], y: &mut [f32], argmax: Option<&mut [u32]>) {
    checked_pool(s, x, y, argmax.as_ref().map(|a| a.len()));
    timed(
        || pass("max-pool", &[s.n, s.h, s.w, s.c], s.x_len() + 2 * s.y_len()),
        || pool::max_pool(isa(), s, x, y, argmax),
    );
}

/// Gradient of [`max_pool`] to its input; overwrites `dx`.
pub fn max_pool_backward(s: &PoolShape, argmax: &[u32], dy: &[f32], dx: &mut [f32]) {
    checked_pool(s, dx, dy, Some(argmax.len()));
    timed(
        || pass("max-pool, backward", &[s.n, s.h, s.w, s.c], s.x_len() + 2 * s.y_len()),
        || pool::max_pool_backward(isa(), s, argmax, dy, dx),
    );
}

/// Mean over the middle axis of `[groups, rows, c]`.
pub fn mean_rows(groups: usize, rows: usize, c: usize, x: &[f32], y: &mut [f32]) {
    len("x", x, groups * rows * c);
    len("y", y, groups * c);
    timed(|| pass("mean", &[groups, rows, c], x.len()), || pool::mean_rows(isa(), groups, rows, c, x, y));
}

/// Backward of [`mean_rows`]; overwrites `dx`.
pub fn mean_rows_backward(groups: usize, rows: usize, c: usize, dy: &[f32], dx: &mut [f32]) {
    len("dy", dy, groups * c);
    len("dx", dx, groups * rows * c);
    timed(
        || pass("mean, backward", &[groups, rows, c], groups * rows * c),
        || pool::mean_rows_backward(groups, rows, c, dy, dx),
    );
}

/// `a += b`
pub fn add_assign(a: &mut [f32], b: &[f32]) {
    len("b", b, a.len());
    timed(|| pass("sum", &[], 3 * b.len()), || elementwise::add_assign(isa(), a, b));
}

/// `a = relu?(a + b)`; NaN stays NaN.
pub fn add_relu(a: &mut [f32], b: &[f32], relu: bool) {
    len("b", b, a.len());
    timed(|| pass("sum, ReLU", &[], 3 * b.len()), || elementwise::add_relu(isa(), a, b, relu));
}

/// One step of SGD: `d = g + weight_decay * p`, `m = momentum * m + d`, `p -= lr * (nesterov ? d + momentum * m : m)`.
pub fn sgd_step(p: &mut [f32], g: &[f32], m: &mut [f32], lr: f32, momentum: f32, nesterov: bool, weight_decay: f32) {
    len("g", g, p.len());
    len("m", m, p.len());
    let sgd = elementwise::Sgd { lr, momentum, nesterov, weight_decay };
    timed(|| pass("optimiser", &[], 5 * g.len()), || elementwise::sgd_step(isa(), p, g, m, sgd));
}

/// One step of AdamW; `step` counts from 1.
pub fn adamw_step(
    p: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    lr: f32,
    betas: [f32; 2],
    eps: f32,
    weight_decay: f32,
    step: u64,
) {
    len("g", g, p.len());
    len("m", m, p.len());
    len("v", v, p.len());
    let [beta1, beta2] = betas;
    let adamw = elementwise::AdamW { lr, beta1, beta2, eps, weight_decay, step };
    timed(|| pass("optimiser", &[], 7 * g.len()), || elementwise::adamw_step(isa(), p, g, m, v, adamw));
}

/// Σx² in f64, in a fixed order.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    timed(|| pass("norm of gradients", &[], x.len()), || elementwise::sum_of_squares(isa(), x))
}

/// Whether no element is NaN or infinite.
pub fn all_finite(x: &[f32]) -> bool {
    timed(|| pass("test for finite values", &[], x.len()), || elementwise::all_finite(isa(), x))
}
