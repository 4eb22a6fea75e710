//! Which kernel computes a convolution: chosen by the shape of one sample and channels only, so that a sample's bits do not depend on its batch.
use super::shape::ConvShape;
use super::{Isa, direct, patch, weight, winograd_conv, winograd_weight};

/// [`super::conv2d`] with explicit instruction set.
pub fn forward(isa: Isa, s: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    if winograd_conv::suits(s) {
        winograd_conv::forward(isa, s, x, w, bias, y);
    } else if patch::suits(s) {
        patch::forward(isa, s, x, w, bias, y);
    } else {
        direct::forward(isa, s, x, w, bias, y);
    }
}

/// [`super::conv2d_grad_input`] with explicit instruction set.
pub fn grad_input(isa: Isa, s: &ConvShape, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    if winograd_conv::suits(s) {
        winograd_conv::grad_input(isa, s, dy, w, dx);
    } else {
        direct::grad_input(isa, s, dy, w, dx);
    }
}

/// [`super::conv2d_grad_weight`] with explicit instruction set.
pub fn grad_weight(isa: Isa, s: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    if winograd_conv::suits(s) {
        winograd_weight::grad_weight(isa, s, x, dy, dw);
    } else {
        weight::grad_weight(isa, s, x, dy, dw);
    }
}
