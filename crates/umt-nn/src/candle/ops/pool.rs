//! Pooling and resizing.

use super::host::{read, values};
#[cfg(feature = "cuda")]
use super::tape;
use super::{elsewhere, nhwc, shown};
use crate::kernels::{self, PoolShape, Resize};
use crate::{NnError, PoolOptions};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::sync::OnceLock;

/// Maximum over windows of `x` `[n, c, h, w]`, of any kernel, stride and padding, overlapping ones too; padding never wins.
///
/// # Errors
/// Shapes that do not fit; another dtype than `f32`; a device that this build has no operators for.
pub fn max_pool2d(x: &Tensor, options: PoolOptions) -> std::result::Result<Tensor, NnError> {
    elsewhere!(&[x], tape::max_pool(&nhwc(x)?, options));
    let x = nhwc(x)?;
    let shape = pool_shape(&x, options)?;
    shown(&x.apply_op1(MaxPool { shape, argmax: OnceLock::new() })?)
}

/// Average over windows of `x` `[n, c, h, w]`, of any kernel, stride and padding; padding counts as zeros.
///
/// # Errors
/// As [`max_pool2d`].
pub fn avg_pool2d(x: &Tensor, options: PoolOptions) -> std::result::Result<Tensor, NnError> {
    elsewhere!(&[x], tape::average_pool(&nhwc(x)?, options));
    let x = nhwc(x)?;
    let shape = pool_shape(&x, options)?;
    shown(&x.apply_op1(AveragePool { shape })?)
}

/// `x` `[n, c, h, w]` at another size `[h', w']`: nearest, bilinear, or averages (adaptive pooling).
///
/// # Errors
/// A size of 0; as [`max_pool2d`].
pub fn resize2d(x: &Tensor, to: [usize; 2], how: Resize) -> std::result::Result<Tensor, NnError> {
    elsewhere!(&[x], tape::resize(&nhwc(x)?, to, how));
    let x = nhwc(x)?;
    let &[n, h, w, c] = x.dims() else { return Err(NnError::shape("resize", "[n, c, h, w]", x.dims())) };
    if to.contains(&0) || h * w == 0 {
        return Err(NnError::shape("resize", format!("a map that {to:?} can be made from"), &[n, c, h, w]));
    }
    shown(&x.apply_op1(Resizing { n, c, from: [h, w], to, how })?)
}

fn pool_shape(x: &Tensor, PoolOptions { kernel, stride, pad }: PoolOptions) -> std::result::Result<PoolShape, NnError> {
    let &[n, h, w, c] = x.dims() else { return Err(NnError::shape("pool", "[n, c, h, w]", x.dims())) };
    let shape = PoolShape { n, h, w, c, window: [kernel; 2], stride: [stride; 2], pad: [pad; 2] };
    shape.check()?;
    Ok(shape)
}

/// The gradient of an input of as many values as `x`, which `fill` writes from the values of `dy`.
fn gradient(x: &Tensor, dy: &Tensor, fill: impl FnOnce(&[f32], &mut [f32])) -> Result<Option<Tensor>> {
    let (dy, mut dx) = (dy.contiguous()?, vec![0.0; x.elem_count()]);
    read(&dy, |dy| {
        fill(dy, &mut dx);
        Ok(())
    })?;
    Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
}

struct MaxPool {
    shape: PoolShape,
    argmax: OnceLock<Vec<u32>>,
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "umt-nn max-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let s = &self.shape;
        let (mut y, mut argmax) = (vec![0.0; s.y_len()], vec![0; s.y_len()]);
        kernels::max_pool(s, values(x, layout)?, &mut y, Some(&mut argmax));
        // Forward runs once.
        let _ = self.argmax.set(argmax);
        Ok((CpuStorage::F32(y), (s.n, s.out_h(), s.out_w(), s.c).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let Some(argmax) = self.argmax.get() else { candle_core::bail!("a max-pool without a forward pass") };
        gradient(x, dy, |dy, dx| kernels::max_pool_backward(&self.shape, argmax, dy, dx))
    }
}

struct AveragePool {
    shape: PoolShape,
}

impl CustomOp1 for AveragePool {
    fn name(&self) -> &'static str {
        "umt-nn average-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let s = &self.shape;
        let mut y = vec![0.0; s.y_len()];
        kernels::average_pool(s, values(x, layout)?, &mut y);
        Ok((CpuStorage::F32(y), (s.n, s.out_h(), s.out_w(), s.c).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        gradient(x, dy, |dy, dx| kernels::average_pool_backward(&self.shape, dy, dx))
    }
}

struct Resizing {
    n: usize,
    c: usize,
    from: [usize; 2],
    to: [usize; 2],
    how: Resize,
}

impl CustomOp1 for Resizing {
    fn name(&self) -> &'static str {
        "umt-nn resize"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let &Self { n, c, from, to, how } = self;
        let mut y = vec![0.0; n * to[0] * to[1] * c];
        kernels::resize(how, n, from, to, c, values(x, layout)?, &mut y);
        Ok((CpuStorage::F32(y), (n, to[0], to[1], c).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let &Self { n, c, from, to, how } = self;
        gradient(x, dy, |dy, dx| kernels::resize_backward(how, n, from, to, c, dy, dx))
    }
}
