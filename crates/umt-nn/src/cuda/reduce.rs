//! Sums of whole arrays and over rows, in an order that shapes alone fix.

use super::cudarc::driver::CudaSlice;
use super::launch::launch;
use super::{Attempt, Gpu, Kind, Memory, Source};
use crate::{Array, NnError};

/// Partial sums that a last kernel adds in one thread per column.
const FEW: usize = 32;
/// Threads that a sum is spread over at most; enough for any device.
const MANY: usize = 1 << 17;
/// Rows that are summed in `f32` at most before a `f64` takes over.
const MOST_ROWS: usize = 1024;

/// How `rows` are cut into blocks where each block has `width` threads: (rows of a block, blocks).
pub(super) fn blocks(rows: usize, width: usize) -> (usize, usize) {
    let chunk = rows.div_ceil((MANY / width.max(1)).max(1)).clamp(16, MOST_ROWS);
    (chunk, rows.div_ceil(chunk).max(1))
}

/// Sums `[rows][width]`.
pub(super) struct Sums {
    pub(super) values: CudaSlice<f64>,
    pub(super) rows: usize,
    pub(super) width: usize,
}

impl Sums {
    pub(super) fn uninit(gpu: &Gpu, rows: usize, width: usize) -> Result<Self, NnError> {
        // SAFETY: the kernel that it is made for writes all of it before another reads it.
        let values = unsafe { gpu.stream().alloc::<f64>((rows * width).max(1)) }.attempt("memory for sums")?;
        Ok(Self { values, rows, width })
    }

    /// Few enough rows for a last kernel.
    pub(super) fn folded(mut self, gpu: &Gpu) -> Result<Self, NnError> {
        while self.rows > FEW {
            let chunk = self.rows.div_ceil(FEW).min(64);
            let mut to = Self::uninit(gpu, self.rows.div_ceil(chunk), self.width)?;
            let n = to.rows * to.width;
            let (rows, width, part, count) = (self.rows as i64, self.width as i64, chunk as i64, n as i64);
            launch!(gpu, Source::Reduce, Kind::F32, "fold", n; [&self.values, &mut to.values, &rows, &width, &part, &count]);
            self = to;
        }
        Ok(self)
    }

    /// The sums over rows as an array of `shape`.
    pub(super) fn finish(self, gpu: &Gpu, shape: &[usize]) -> Result<Array, NnError> {
        let sums = self.folded(gpu)?;
        let mut out = Memory::uninit(gpu, sums.width, Kind::F32)?;
        let (one, rows, width) = (1.0f32, sums.rows as i64, sums.width as i64);
        launch!(gpu, Source::Reduce, Kind::F32, "finish", sums.width; [&sums.values, &mut out.bytes, &one, &rows, &width]);
        Ok(Array::on_device(shape, out))
    }

    /// The one sum, fetched.
    pub(super) fn total(self, gpu: &Gpu) -> Result<f64, NnError> {
        let sums = self.folded(gpu)?;
        let fetched = gpu.stream().clone_dtoh(&sums.values).attempt("copy from the device")?;
        gpu.finish()?;
        Ok(fetched.iter().take(sums.rows * sums.width).sum())
    }
}

/// Threads that share a sum of `n` values.
pub(super) fn share(n: usize) -> usize {
    n.div_ceil(16).clamp(1, 1 << 14)
}

/// Σx² of each array in f64, with one wait for all of them.
pub(crate) fn sums_of_squares(gpu: &Gpu, arrays: &[&Array]) -> Result<Vec<f64>, NnError> {
    totals(gpu, arrays, |x, sums| {
        let (n, threads) = (x.len() as i64, sums.rows as i64);
        launch!(gpu, Source::Reduce, x.kind(), "squares", sums.rows; [&x.bytes, &mut sums.values, &n, &threads]);
        Ok(())
    })
}

/// Whether each array has neither NaN nor infinity, with one wait for all of them.
pub(crate) fn all_finite(gpu: &Gpu, arrays: &[&Array]) -> Result<Vec<bool>, NnError> {
    let bad = totals(gpu, arrays, |x, sums| {
        let (n, threads) = (x.len() as i64, sums.rows as i64);
        launch!(gpu, Source::Reduce, x.kind(), "not_finite", sums.rows; [&x.bytes, &mut sums.values, &n, &threads]);
        Ok(())
    })?;
    Ok(bad.into_iter().map(|bad| bad == 0.0).collect())
}

/// One sum for each array: `first` makes the shares of its threads.
fn totals(
    gpu: &Gpu,
    arrays: &[&Array],
    first: impl Fn(&Memory, &mut Sums) -> Result<(), NnError>,
) -> Result<Vec<f64>, NnError> {
    let all = (arrays.len() * FEW).max(1);
    let mut together = gpu.stream().alloc_zeros::<f64>(all).attempt("memory for sums")?;
    for (i, array) in arrays.iter().enumerate() {
        let x = gpu.held(array)?;
        let mut sums = Sums::uninit(gpu, share(x.len()), 1)?;
        first(&x, &mut sums)?;
        let sums = sums.folded(gpu)?;
        let mut own = together.slice_mut(i * FEW..i * FEW + sums.rows);
        gpu.stream().memcpy_dtod(&sums.values, &mut own).attempt("copy on the device")?;
    }
    let fetched = gpu.stream().clone_dtoh(&together).attempt("copy from the device")?;
    gpu.finish()?;
    Ok(fetched.chunks_exact(FEW).take(arrays.len()).map(|parts| parts.iter().sum()).collect())
}

/// Sum over the rows of `[rows, c]`.
pub(crate) fn bias_grad(gpu: &Gpu, dy: &Array, c: usize) -> Result<Array, NnError> {
    let dy = gpu.held(dy)?;
    let rows = dy.len() / c.max(1);
    let (chunk, count) = blocks(rows, c);
    let mut sums = Sums::uninit(gpu, count, c)?;
    let n = count * c;
    let (r, k, part, all) = (rows as i64, c as i64, chunk as i64, n as i64);
    launch!(gpu, Source::Reduce, dy.kind(), "column_sums", n; [&dy.bytes, &mut sums.values, &r, &k, &part, &all]);
    sums.finish(gpu, &[c])
}

/// `d = 0` where not `y > 0`, and the sum over rows of what is left.
pub(crate) fn relu_bias_backward(gpu: &Gpu, y: &Array, d: &mut Array, c: usize) -> Result<Array, NnError> {
    let d = d.memory_mut(gpu)?;
    let y = gpu.take(y, d.kind())?;
    let rows = d.len() / c.max(1);
    let (chunk, count) = blocks(rows, c);
    let mut sums = Sums::uninit(gpu, count, c)?;
    let n = count * c;
    let (r, k, part, all) = (rows as i64, c as i64, chunk as i64, n as i64);
    launch!(gpu, Source::Reduce, d.kind(), "masked_column_sums", n;
        [&y.bytes, &mut d.bytes, &mut sums.values, &r, &k, &part, &all]);
    sums.finish(gpu, &[c])
}
