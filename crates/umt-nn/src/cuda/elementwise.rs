//! Element by element, and copies of parts.

use super::launch::{lanes, launch, packs, wide};
use super::{Attempt, Gpu, Memory, Source};
use crate::{Array, NnError};

/// `a += b`
pub(crate) fn add_assign(gpu: &Gpu, a: &mut Array, b: &Array) -> Result<(), NnError> {
    let a = a.memory_mut(gpu)?;
    let b = gpu.take(b, a.kind())?;
    let n = a.len() as i64;
    launch!(gpu, Source::Elementwise, a.kind(), "add_assign", packs(a.kind(), a.len()), a.len(); [&mut a.bytes, &b.bytes, &n]);
    Ok(())
}

/// `d = 0` where the output `y` is not above 0.
pub(crate) fn relu_backward(gpu: &Gpu, y: &Array, d: &mut Array) -> Result<(), NnError> {
    let d = d.memory_mut(gpu)?;
    let y = gpu.take(y, d.kind())?;
    let n = d.len() as i64;
    launch!(gpu, Source::Elementwise, d.kind(), "relu_backward", packs(d.kind(), d.len()), d.len(); [&y.bytes, &mut d.bytes, &n]);
    Ok(())
}

/// `1 / (1 + e^-x)`
pub(crate) fn sigmoid(gpu: &Gpu, x: &Array) -> Result<Array, NnError> {
    let from = gpu.held(x)?;
    let mut y = Memory::uninit(gpu, from.len(), from.kind())?;
    let n = from.len() as i64;
    launch!(gpu, Source::Elementwise, from.kind(), "sigmoid", packs(from.kind(), from.len()), from.len(); [&from.bytes, &mut y.bytes, &n]);
    Ok(Array::on_device(x.shape(), y))
}

/// `dy y (1 - y)`
pub(crate) fn sigmoid_backward(gpu: &Gpu, y: &Array, dy: &Array) -> Result<Array, NnError> {
    let out = gpu.held(y)?;
    let d = gpu.take(dy, out.kind())?;
    let mut dx = Memory::uninit(gpu, out.len(), out.kind())?;
    let n = out.len() as i64;
    let kind = out.kind();
    launch!(gpu, Source::Elementwise, kind, "sigmoid_backward", packs(kind, out.len()), out.len(); [&out.bytes, &d.bytes, &mut dx.bytes, &n]);
    Ok(Array::on_device(y.shape(), dx))
}

/// `relu?(a z + b (+ skip))`, `a` and `b` by channel.
pub(crate) fn scale_shift(
    gpu: &Gpu,
    z: &Array,
    [a, b]: [&Array; 2],
    skip: Option<&Array>,
    relu: bool,
) -> Result<Array, NnError> {
    let from = gpu.held(z)?;
    let mut y = Memory::uninit(gpu, from.len(), from.kind())?;
    affine(gpu, &from, [a, b], skip, relu, &mut y)?;
    Ok(Array::on_device(z.shape(), y))
}

/// [`scale_shift`] for a map that nobody else holds. The result gets memory of its own, which costs nothing where freed memory is kept.
pub(crate) fn scale_shift_in_place(
    gpu: &Gpu,
    z: &mut Array,
    factors: [&Array; 2],
    skip: Option<&Array>,
    relu: bool,
) -> Result<(), NnError> {
    *z = scale_shift(gpu, z, factors, skip, relu)?;
    Ok(())
}

fn affine(
    gpu: &Gpu,
    z: &Memory,
    [a, b]: [&Array; 2],
    skip: Option<&Array>,
    relu: bool,
    y: &mut Memory,
) -> Result<(), NnError> {
    let (c, n, kind) = (a.len() as i64, z.len(), z.kind());
    let (a, b) = (gpu.parameter(a)?, gpu.parameter(b)?);
    let skip = skip.map(|skip| gpu.take(skip, kind)).transpose()?;
    let (with_skip, relu, count) = (i64::from(skip.is_some()), i64::from(relu), n as i64);
    let skip = skip.as_ref().map_or(&z.bytes, |skip| &skip.bytes);
    launch!(gpu, Source::Elementwise, kind, "scale_shift", packs(kind, n), n;
        [&z.bytes, &a.bytes, &b.bytes, skip, &with_skip, &mut y.bytes, &relu, &c, &count]);
    Ok(())
}

/// `relu?(y + bias)`, bias by channel, in place.
pub(super) fn bias_relu(gpu: &Gpu, y: &mut Memory, bias: Option<&Array>, c: usize, relu: bool) -> Result<(), NnError> {
    if bias.is_none() && !relu {
        return Ok(());
    }
    let held = bias.map(|bias| gpu.parameter(bias)).transpose()?;
    let (with_bias, relu, c, n) = (i64::from(held.is_some()), i64::from(relu), c as i64, y.len() as i64);
    // Not read where there is none.
    let values = held.as_ref().map_or(&y.bytes, |bias| &bias.bytes);
    launch!(gpu, Source::Elementwise, y.kind(), "bias_relu", packs(y.kind(), y.len()), y.len(); [&y.bytes, values, &with_bias, &relu, &c, &n]);
    Ok(())
}

/// Arrays with their last axes side by side.
pub(crate) fn join_columns(gpu: &Gpu, parts: &[&Array], shape: &[usize]) -> Result<Array, NnError> {
    let Some(first) = parts.first() else {
        return Err(NnError::Unsupported("there is nothing to put side by side".into()));
    };
    let kind = gpu.held(first)?.kind();
    let mut y = Memory::uninit(gpu, shape.iter().product(), kind)?;
    let (all, mut at) = (last(shape), 0);
    for part in parts {
        let (x, width) = (gpu.take(part, kind)?, last(part.shape()));
        copy_columns(gpu, &x, [width, 0], &mut y, [all, at], width)?;
        at += width;
    }
    Ok(Array::on_device(shape, y))
}

/// Columns from `at` of an array as one of `shape`.
pub(crate) fn split_columns(gpu: &Gpu, x: &Array, at: usize, shape: &[usize]) -> Result<Array, NnError> {
    let held = gpu.held(x)?;
    let mut y = Memory::uninit(gpu, shape.iter().product(), held.kind())?;
    copy_columns(gpu, &held, [last(x.shape()), at], &mut y, [last(shape), 0], last(shape))?;
    Ok(Array::on_device(shape, y))
}

fn last(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1)
}

/// `width` columns between arrays, each given with the width of its rows and its first column.
fn copy_columns(
    gpu: &Gpu,
    x: &Memory,
    [x_width, x_at]: [usize; 2],
    y: &mut Memory,
    [y_width, y_at]: [usize; 2],
    width: usize,
) -> Result<(), NnError> {
    // Whole accesses, where every row and every part of one begins at a multiple of their width.
    let all_wide = [x_width, x_at, y_width, y_at].iter().all(|size| size.is_multiple_of(wide(y.kind())));
    let lanes = if all_wide { lanes(y.kind(), width) } else { 1 };
    let n = x.len() / x_width.max(1) * width / lanes;
    let [xw, xa, yw, ya, w, l, all] = [x_width, x_at, y_width, y_at, width, lanes, n].map(|size| size as i64);
    launch!(gpu, Source::Elementwise, y.kind(), "copy_columns", n, x.len().max(y.len());
        [&x.bytes, &xw, &xa, &mut y.bytes, &yw, &ya, &w, &l, &all]);
    Ok(())
}

/// Every `stride`-th of `all` slices of `slice` values, of which `kept` remain.
pub(crate) fn take_slices(
    gpu: &Gpu,
    x: &Array,
    shape: &[usize],
    [all, kept, stride, slice]: [usize; 4],
) -> Result<Array, NnError> {
    let from = gpu.held(x)?;
    let n: usize = shape.iter().product();
    let mut y = Memory::uninit(gpu, n, from.kind())?;
    let lanes = lanes(from.kind(), slice);
    let [a, k, s, l, wide, count] = [all, kept, stride, slice, lanes, n / lanes].map(|size| size as i64);
    launch!(gpu, Source::Elementwise, from.kind(), "take_slices", n / lanes, from.len();
        [&from.bytes, &mut y.bytes, &a, &k, &s, &l, &wide, &count]);
    Ok(Array::on_device(shape, y))
}

/// The way back of [`take_slices`].
pub(crate) fn put_slices(
    gpu: &Gpu,
    dy: &Array,
    shape: &[usize],
    [all, kept, stride, slice]: [usize; 4],
) -> Result<Array, NnError> {
    let from = gpu.held(dy)?;
    let n: usize = shape.iter().product();
    let mut dx = Memory::uninit(gpu, n, from.kind())?;
    let lanes = lanes(from.kind(), slice);
    let [a, k, s, l, wide, count] = [all, kept, stride, slice, lanes, n / lanes].map(|size| size as i64);
    launch!(gpu, Source::Elementwise, from.kind(), "put_slices", n / lanes, n;
        [&from.bytes, &mut dx.bytes, &a, &k, &s, &l, &wide, &count]);
    Ok(Array::on_device(shape, dx))
}
