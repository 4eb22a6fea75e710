//! Sums of whole arrays and over rows, in an order that shapes alone fix.

use super::allocator::Block;
use super::launch::{lanes, launch};
use super::{Attempt, Gpu, Kind, Memory, Source};
use crate::{Array, NnError};

/// Partial sums that a last kernel adds in one thread per column.
const FEW: usize = 32;
/// Threads that a sum is spread over at most, enough for any device: fewer where each has more under way at once.
const MANY: usize = 1 << 17;
/// Rows that are summed in `f32` at most before a `f64` takes over.
const MOST_ROWS: usize = 1024;

/// How `rows` are cut into blocks of `c` sums, where a thread takes `lanes` of them: (rows of a block, blocks). One block of no rows when there
/// are none.
pub(super) fn blocks(rows: usize, c: usize, lanes: usize) -> (usize, usize) {
    let (threads, width) = (if lanes > 1 { MANY / 4 } else { MANY }, c / lanes);
    let chunk = rows.div_ceil((threads / width.max(1)).max(1)).clamp(16, MOST_ROWS);
    (chunk, rows.div_ceil(chunk).max(1))
}

/// Sums `[rows][width]`.
pub(super) struct Sums {
    pub(super) values: Block,
    pub(super) rows: usize,
    pub(super) width: usize,
}

impl Sums {
    pub(super) fn uninit(gpu: &Gpu, rows: usize, width: usize) -> Result<Self, NnError> {
        Ok(Self { values: gpu.block(8 * rows * width)?, rows, width })
    }

    /// Few enough rows for a last kernel.
    pub(super) fn folded(mut self, gpu: &Gpu) -> Result<Self, NnError> {
        while self.rows > FEW {
            let chunk = self.rows.div_ceil(FEW).min(256);
            let mut to = Self::uninit(gpu, self.rows.div_ceil(chunk), self.width)?;
            let n = to.rows * to.width;
            let (rows, width, part, count) = (self.rows as i64, self.width as i64, chunk as i64, n as i64);
            launch!(gpu, Source::Reduce, Kind::F32, "fold", n, self.rows * self.width; [&self.values, &mut to.values, &rows, &width, &part, &count]);
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
        let mut fetched = vec![0u8; 8 * sums.rows * sums.width];
        gpu.copy_out(&sums.values, &mut fetched)?;
        Ok(numbers(&fetched).sum())
    }
}

/// Threads that share a sum of `n` values.
pub(super) fn share(n: usize) -> usize {
    n.div_ceil(16).clamp(1, 1 << 14)
}

/// The numbers that bytes are.
pub(super) fn numbers(bytes: &[u8]) -> impl Iterator<Item = f64> {
    let of = |eight: &[u8]| eight.try_into().map_or(f64::NAN, f64::from_ne_bytes);
    bytes.chunks_exact(8).map(of)
}

/// Sum over the rows of `[rows, c]`.
pub(crate) fn bias_grad(gpu: &Gpu, dy: &Array, c: usize) -> Result<Array, NnError> {
    let dy = gpu.held(dy)?;
    let rows = dy.len() / c.max(1);
    let lanes = lanes(dy.kind(), c);
    let (chunk, count) = blocks(rows, c, lanes);
    let mut sums = Sums::uninit(gpu, count, c)?;
    let [r, k, parts, part, wide, n] = [rows, c, count, chunk, lanes, count * c / lanes].map(|size| size as i64);
    launch!(gpu, Source::Reduce, dy.kind(), "group_sums", count * c / lanes, dy.len();
        [&dy.bytes, &mut sums.values, &r, &k, &parts, &part, &wide, &n]);
    sums.finish(gpu, &[c])
}

/// `d = 0` where not `y > 0`, and the sum over rows of what is left.
pub(crate) fn relu_bias_backward(gpu: &Gpu, y: &Array, d: &mut Array, c: usize) -> Result<Array, NnError> {
    let d = d.memory_mut(gpu)?;
    let y = gpu.take(y, d.kind())?;
    let rows = d.len() / c.max(1);
    let lanes = lanes(d.kind(), c);
    let (chunk, count) = blocks(rows, c, lanes);
    let mut sums = Sums::uninit(gpu, count, c)?;
    let [r, k, parts, part, wide, n] = [rows, c, count, chunk, lanes, count * c / lanes].map(|size| size as i64);
    launch!(gpu, Source::Reduce, d.kind(), "masked_sums", count * c / lanes, d.len();
        [&y.bytes, &mut d.bytes, &mut sums.values, &r, &k, &parts, &part, &wide, &n]);
    sums.finish(gpu, &[c])
}
