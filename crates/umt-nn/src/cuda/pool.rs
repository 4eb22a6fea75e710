//! Max-pooling, and means over rows.

use super::allocator::Block;
use super::launch::{lanes, launch, plain_arguments};
use super::{Attempt, Gpu, Memory, Source};
use crate::kernels::PoolShape;
use crate::{Array, NnError};

/// `Pool` of `kernels/pool.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Shape([i64; 12]);

plain_arguments!(Shape);

impl Shape {
    fn new(s: &PoolShape) -> Self {
        let [kh, kw] = s.window;
        let sizes = [s.n, s.h, s.w, s.c, s.out_h(), s.out_w(), kh, kw, s.stride[0], s.stride[1], s.pad[0], s.pad[1]];
        Self(sizes.map(|size| size as i64))
    }
}

/// Where each maximum came from.
pub(crate) struct Places {
    gpu: Gpu,
    values: Block,
}

impl Places {
    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }
}

/// Maximum over windows, and where each came from.
pub(crate) fn max_pool(gpu: &Gpu, s: &PoolShape, x: &Array) -> Result<(Array, Places), NnError> {
    let x = gpu.held(x)?;
    let mut y = Memory::uninit(gpu, s.y_len(), x.kind())?;
    if s.window[0] * s.window[1] > 1 << 16 {
        return Err(NnError::Unsupported(format!(
            "max-pooling over {:?} on a device, which numbers up to 65536 places",
            s.window
        )));
    }
    let mut places = gpu.block(2 * s.y_len())?;
    let lanes = lanes(x.kind(), s.c);
    let (shape, wide, n) = (Shape::new(s), lanes as i64, (s.y_len() / lanes) as i64);
    launch!(gpu, Source::Pool, x.kind(), "max_pool", s.y_len() / lanes, s.x_len().max(s.y_len());
        [&x.bytes, &mut y.bytes, &mut places, &shape, &wide, &n]);
    Ok((Array::on_device(&[s.n, s.out_h(), s.out_w(), s.c], y), Places { gpu: gpu.clone(), values: places }))
}

/// Gradient of [`max_pool`] to its input.
pub(crate) fn max_pool_backward(gpu: &Gpu, s: &PoolShape, places: &Places, dy: &Array) -> Result<Array, NnError> {
    let dy = gpu.held(dy)?;
    let mut dx = Memory::uninit(gpu, s.x_len(), dy.kind())?;
    let lanes = lanes(dy.kind(), s.c);
    let (shape, wide, n) = (Shape::new(s), lanes as i64, (s.x_len() / lanes) as i64);
    launch!(gpu, Source::Pool, dy.kind(), "max_pool_backward", s.x_len() / lanes, s.x_len().max(s.y_len());
        [&places.values, &dy.bytes, &mut dx.bytes, &shape, &wide, &n]);
    Ok(Array::on_device(&[s.n, s.h, s.w, s.c], dx))
}

/// Parts that the rows of a group are summed in: (rows of a part, parts).
pub(super) fn parts(rows: usize) -> (usize, usize) {
    let chunk = rows.div_ceil(64).max(16);
    (chunk, rows.div_ceil(chunk).max(1))
}

/// Mean over the middle axis of `[groups, rows, c]`.
pub(crate) fn mean_rows(gpu: &Gpu, groups: usize, rows: usize, c: usize, x: &Array) -> Result<Array, NnError> {
    let x = gpu.held(x)?;
    let (chunk, count) = parts(rows);
    let lanes = lanes(x.kind(), c);
    let n = groups * count * c / lanes;
    let mut sums = gpu.block(8 * groups * count * c)?;
    let [r, k, p, l, wide, all] = [rows, c, count, chunk, lanes, n].map(|size| size as i64);
    launch!(gpu, Source::Reduce, x.kind(), "group_sums", n, x.len(); [&x.bytes, &mut sums, &r, &k, &p, &l, &wide, &all]);
    let mut y = Memory::uninit(gpu, groups * c, x.kind())?;
    let (scale, outputs) = (1.0 / rows.max(1) as f32, (groups * c) as i64);
    launch!(gpu, Source::Reduce, x.kind(), "finish_groups", groups * c; [&sums, &mut y.bytes, &scale, &p, &k, &outputs]);
    Ok(Array::on_device(&[groups, c], y))
}

/// Gradient of [`mean_rows`], as an array of `shape` `[groups, ..., c]`.
pub(crate) fn mean_rows_backward(gpu: &Gpu, rows: usize, dy: &Array, shape: &[usize]) -> Result<Array, NnError> {
    let dy = gpu.held(dy)?;
    let len = shape.iter().product();
    let mut dx = Memory::uninit(gpu, len, dy.kind())?;
    spread(gpu, &dy, 1.0 / rows.max(1) as f32, &mut dx, false, rows, shape.last().copied().unwrap_or(1))?;
    Ok(Array::on_device(shape, dx))
}

/// Adds `scale` times `row` `[n, c]` to each of the rows of `x` `[n, rows, c]`.
pub(crate) fn add_rows(
    gpu: &Gpu,
    rows: usize,
    c: usize,
    row: &Array,
    scale: f32,
    x: &mut Array,
) -> Result<(), NnError> {
    let x = x.memory_mut(gpu)?;
    let row = gpu.take(row, x.kind())?;
    spread(gpu, &row, scale, x, true, rows, c)
}

fn spread(
    gpu: &Gpu,
    row: &Memory,
    scale: f32,
    x: &mut Memory,
    add: bool,
    rows: usize,
    c: usize,
) -> Result<(), NnError> {
    let lanes = lanes(row.kind(), c);
    let [add, r, k, wide, n] = [usize::from(add), rows, c, lanes, x.len() / lanes].map(|size| size as i64);
    launch!(gpu, Source::Reduce, row.kind(), "spread_rows", x.len() / lanes, x.len();
        [&row.bytes, &scale, &mut x.bytes, &add, &r, &k, &wide, &n]);
    Ok(())
}
