//! Convolution: cuDNN where the build has it and it knows a deterministic way, plain kernels elsewhere and for depth-wise ones.

use super::elementwise::bias_relu;
use super::launch::{launch, plain_arguments};
use super::reduce::{Sums, blocks};
use super::{Attempt, Gpu, Kind, Memory, Source};
use crate::kernels::ConvShape;
use crate::{Array, NnError, Precision};

/// `Conv` of `kernels/conv.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Shape([i64; 16]);

plain_arguments!(Shape);

impl Shape {
    fn new(s: &ConvShape) -> Self {
        let ([sh, sw], [ph, pw], [dh, dw]) = (s.stride, s.pad, s.dilation);
        let sizes = [s.n, s.h, s.w, s.c, s.k, s.kh, s.kw, sh, sw, ph, pw, dh, dw, s.groups, s.out_h(), s.out_w()];
        Self(sizes.map(|size| size as i64))
    }
}

/// How activations behind a convolution are stored.
fn kind(gpu: &Gpu) -> Kind {
    if gpu.precision() == Precision::Bf16 { Kind::Bf16 } else { Kind::F32 }
}

/// cuDNN has no fast deterministic way for convolutions of one channel per group.
#[cfg(feature = "cudnn")]
fn depthwise(s: &ConvShape) -> bool {
    s.groups > 1 && s.groups == s.c
}

/// `y = relu?(x * w (+ bias))`.
pub(crate) fn conv2d(
    gpu: &Gpu,
    s: &ConvShape,
    x: &Array,
    w: &Array,
    bias: Option<&Array>,
    relu: bool,
) -> Result<Array, NnError> {
    let kind = kind(gpu);
    let (x, w) = (gpu.take(x, kind)?, gpu.parameter(w)?);
    let mut y = Memory::uninit(gpu, s.y_len(), kind)?;
    if s.y_len() > 0 && !by_cudnn(s, || library::forward(gpu, s, &x, &w, &mut y))? {
        let (shape, n) = (Shape::new(s), s.y_len() as i64);
        launch!(gpu, Source::Conv, kind, "conv_forward", s.y_len(), s.x_len().max(s.y_len()); [&x.bytes, &w.bytes, &mut y.bytes, &shape, &n]);
    }
    bias_relu(gpu, &mut y, bias, s.k, relu)?;
    Ok(Array::on_device(&[s.n, s.out_h(), s.out_w(), s.k], y))
}

/// Gradient of [`conv2d`] to its input.
pub(crate) fn conv2d_grad_input(gpu: &Gpu, s: &ConvShape, dy: &Array, w: &Array) -> Result<Array, NnError> {
    let kind = kind(gpu);
    let (dy, w) = (gpu.take(dy, kind)?, gpu.parameter(w)?);
    let mut dx = Memory::uninit(gpu, s.x_len(), kind)?;
    if s.y_len() > 0 && !by_cudnn(s, || library::grad_input(gpu, s, &dy, &w, &mut dx))? {
        let (shape, n) = (Shape::new(s), s.x_len() as i64);
        launch!(gpu, Source::Conv, kind, "conv_grad_input", s.x_len(), s.x_len().max(s.y_len()); [&dy.bytes, &w.bytes, &mut dx.bytes, &shape, &n]);
    }
    Ok(Array::on_device(&[s.n, s.h, s.w, s.c], dx))
}

/// Gradient of [`conv2d`] to its weights, `[kh, kw, c / groups, k]`.
pub(crate) fn conv2d_grad_weight(gpu: &Gpu, s: &ConvShape, x: &Array, dy: &Array) -> Result<Array, NnError> {
    let kind = kind(gpu);
    let shape = [s.kh, s.kw, s.c / s.groups, s.k];
    if s.y_len() == 0 {
        return gpu.zeros(&shape);
    }
    let (x, dy) = (gpu.take(x, kind)?, gpu.take(dy, kind)?);
    let mut dw = Memory::uninit(gpu, s.w_len(), Kind::F32)?;
    if by_cudnn(s, || library::grad_weight(gpu, s, &x, &dy, &mut dw))? {
        return Ok(Array::on_device(&shape, dw));
    }
    let pixels = s.n * s.out_h() * s.out_w();
    let (chunk, count) = blocks(pixels, s.w_len(), 1);
    let mut sums = Sums::uninit(gpu, count, s.w_len())?;
    let n = count * s.w_len();
    let (conv, rows, part, all) = (Shape::new(s), pixels as i64, chunk as i64, n as i64);
    launch!(gpu, Source::Conv, kind, "conv_grad_weight", n, n.max(s.x_len()).max(s.y_len());
        [&x.bytes, &dy.bytes, &mut sums.values, &conv, &rows, &part, &all]);
    sums.finish(gpu, &shape)
}

/// Whether cuDNN did it.
#[cfg(feature = "cudnn")]
fn by_cudnn(s: &ConvShape, run: impl FnOnce() -> Result<bool, NnError>) -> Result<bool, NnError> {
    if depthwise(s) { Ok(false) } else { run() }
}

#[cfg(not(feature = "cudnn"))]
fn by_cudnn(_: &ConvShape, run: impl FnOnce() -> Result<bool, NnError>) -> Result<bool, NnError> {
    run()
}

#[cfg(feature = "cudnn")]
use super::cudnn as library;

/// A build without cuDNN: nothing is done by it.
#[cfg(not(feature = "cudnn"))]
mod library {
    use super::{ConvShape, Gpu, Memory, NnError};

    pub(super) fn forward(_: &Gpu, _: &ConvShape, _: &Memory, _: &Memory, _: &mut Memory) -> Result<bool, NnError> {
        Ok(false)
    }

    pub(super) fn grad_input(_: &Gpu, _: &ConvShape, _: &Memory, _: &Memory, _: &mut Memory) -> Result<bool, NnError> {
        Ok(false)
    }

    pub(super) fn grad_weight(_: &Gpu, _: &ConvShape, _: &Memory, _: &Memory, _: &mut Memory) -> Result<bool, NnError> {
        Ok(false)
    }
}
