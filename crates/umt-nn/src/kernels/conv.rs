//! Which kernel computes a convolution: chosen by the shape of one sample and channels only, so that a sample's bits do not depend on its batch.
use super::sample::{self, Sample, Weights};
use super::shape::ConvShape;
use super::{Isa, direct, elementwise, maps, patch, weight, winograd_conv, winograd_weight};

/// [`super::conv2d`] with explicit instruction set, and with `relu` [`super::conv2d_relu`].
pub fn forward(isa: Isa, s: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>, relu: bool, y: &mut [f32]) {
    if depthwise(s) {
        let [rows, columns] = maps::depthwise(s);
        let s = Sample {
            n: s.n,
            source: [s.h, s.w],
            c: s.c,
            rows: &rows,
            columns: &columns,
            weights: Weights::ByChannel(w),
        };
        sample::forward(isa, &s, x, bias, None, y);
        if relu {
            elementwise::relu_in_place(isa, y);
        }
    } else if let Some(way) = winograd_conv::way(s) {
        winograd_conv::forward(isa, way, s, x, w, bias, relu, y);
    } else if patch::suits(s) {
        patch::forward(isa, s, x, w, bias, y);
        if relu {
            elementwise::relu_in_place(isa, y);
        }
    } else {
        direct::forward(isa, s, x, w, bias, relu, y);
    }
}

/// [`super::conv2d_grad_input`] with explicit instruction set.
pub fn grad_input(isa: Isa, s: &ConvShape, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    if depthwise(s) {
        let [rows, columns] = maps::depthwise(s);
        let (rows, columns) = (rows.transposed(s.h), columns.transposed(s.w));
        let source = [s.out_h(), s.out_w()];
        let s = Sample { n: s.n, source, c: s.c, rows: &rows, columns: &columns, weights: Weights::ByChannel(w) };
        sample::forward(isa, &s, dy, None, None, dx);
    } else if let Some(way) = winograd_conv::way(s) {
        winograd_conv::grad_input(isa, way, s, dy, w, dx);
    } else {
        direct::grad_input(isa, s, dy, w, dx);
    }
}

/// [`super::conv2d_grad_weight`] with explicit instruction set.
pub fn grad_weight(isa: Isa, s: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    if depthwise(s) {
        let [rows, columns] = maps::depthwise(s);
        let s = Sample {
            n: s.n,
            source: [s.h, s.w],
            c: s.c,
            rows: &rows,
            columns: &columns,
            weights: Weights::ByChannel(&[]),
        };
        sample::grad_weight(isa, &s, x, dy, dw);
    } else if let Some(way) = winograd_conv::way(s) {
        winograd_weight::grad_weight(isa, way, s, x, dy, dw);
    } else {
        weight::grad_weight(isa, s, x, dy, dw);
    }
}

/// Whether each channel has a filter of its own.
pub fn depthwise(s: &ConvShape) -> bool {
    s.groups > 1 && s.groups == s.c && s.c == s.k
}
