//! Resizing, average pooling, learned upsampling.

use super::allocator::Block;
use super::launch::{lanes, launch};
use super::reduce::{Sums, blocks};
use super::{Attempt, Gpu, Memory, Source, lock};
use crate::kernels::{Factors, PoolShape, Resize};
use crate::{Array, NnError};
use std::sync::Arc;

/// What a table along one axis is made of, forward or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TableKey {
    Resize { how: Resize, sources: usize, outputs: usize, back: bool },
    Average { sources: usize, window: usize, stride: usize, pad: usize, back: bool },
}

/// The host's table ([`Factors`]) on the device: for each output its sources and their factors.
pub(super) struct Table {
    first: Block,
    source: Block,
    factor: Block,
    outputs: usize,
}

impl Table {
    fn new(gpu: &Gpu, key: TableKey) -> Result<Self, NnError> {
        let (factors, sources, back) = match key {
            TableKey::Resize { how, sources, outputs, back } => (how.axis(sources, outputs), sources, back),
            TableKey::Average { sources, window, stride, pad, back } => {
                (Factors::average(sources, window, stride, pad), sources, back)
            }
        };
        let factors = if back { factors.transposed(sources) } else { factors };
        let (mut first, mut source, mut factor) = (vec![0i32], Vec::new(), Vec::new());
        for output in 0..factors.taps.outputs() {
            for &(from, weight) in factors.taps.of(output) {
                source.push(from as i32);
                factor.push(factors.factors[weight]);
            }
            first.push(source.len() as i32);
        }
        if source.is_empty() {
            // Never read, but memory has a size.
            (source, factor) = (vec![0], vec![0.0]);
        }
        let outputs = first.len() - 1;
        let [first, source] = [first, source].map(|numbers| gpu.upload(&bytes(&numbers, i32::to_ne_bytes)));
        let factor = gpu.upload(&bytes(&factor, f32::to_ne_bytes))?;
        Ok(Self { first: first?, source: source?, factor, outputs })
    }
}

fn bytes<T: Copy>(values: &[T], of: impl Fn(T) -> [u8; 4]) -> Vec<u8> {
    values.iter().flat_map(|&value| of(value)).collect()
}

impl Gpu {
    fn table(&self, key: TableKey) -> Result<Arc<Table>, NnError> {
        if let Some(table) = lock(&self.loaded.tables).get(&key) {
            return Ok(table.clone());
        }
        let table = Arc::new(Table::new(self, key)?);
        lock(&self.loaded.tables).insert(key, table.clone());
        Ok(table)
    }
}

fn sample(gpu: &Gpu, x: &Array, shape: [usize; 4], keys: [TableKey; 2]) -> Result<Array, NnError> {
    let [n, h, w, c] = shape;
    let (rows, columns) = (gpu.table(keys[0])?, gpu.table(keys[1])?);
    let x = gpu.held(x)?;
    let len = n * rows.outputs * columns.outputs * c;
    let mut y = Memory::uninit(gpu, len, x.kind())?;
    let lanes = lanes(x.kind(), c);
    let [h, w, oh, ow, k, wide, all] =
        [h, w, rows.outputs, columns.outputs, c, lanes, len / lanes].map(|size| size as i64);
    launch!(gpu, Source::Sample, x.kind(), "sample", len / lanes, len.max(x.len());
        [&x.bytes, &mut y.bytes, &rows.first, &rows.source, &rows.factor, &columns.first, &columns.source, &columns.factor,
         &h, &w, &oh, &ow, &k, &wide, &all]);
    Ok(Array::on_device(&[n, rows.outputs, columns.outputs, c], y))
}

/// See [`crate::kernels::resize`].
pub(crate) fn resize(
    gpu: &Gpu,
    how: Resize,
    n: usize,
    from: [usize; 2],
    to: [usize; 2],
    c: usize,
    x: &Array,
) -> Result<Array, NnError> {
    let key = |i: usize| TableKey::Resize { how, sources: from[i], outputs: to[i], back: false };
    sample(gpu, x, [n, from[0], from[1], c], [key(0), key(1)])
}

/// See [`crate::kernels::resize_backward`].
pub(crate) fn resize_backward(
    gpu: &Gpu,
    how: Resize,
    n: usize,
    from: [usize; 2],
    to: [usize; 2],
    c: usize,
    dy: &Array,
) -> Result<Array, NnError> {
    let key = |i: usize| TableKey::Resize { how, sources: from[i], outputs: to[i], back: true };
    sample(gpu, dy, [n, to[0], to[1], c], [key(0), key(1)])
}

fn windows(s: &PoolShape, back: bool) -> [TableKey; 2] {
    [0, 1].map(|i| {
        let sources = [s.h, s.w][i];
        TableKey::Average { sources, window: s.window[i], stride: s.stride[i], pad: s.pad[i], back }
    })
}

/// See [`crate::kernels::average_pool`].
pub(crate) fn average_pool(gpu: &Gpu, s: &PoolShape, x: &Array) -> Result<Array, NnError> {
    sample(gpu, x, [s.n, s.h, s.w, s.c], windows(s, false))
}

/// See [`crate::kernels::average_pool_backward`].
pub(crate) fn average_pool_backward(gpu: &Gpu, s: &PoolShape, dy: &Array) -> Result<Array, NnError> {
    sample(gpu, dy, [s.n, s.out_h(), s.out_w(), s.c], windows(s, true))
}

/// See [`crate::kernels::upsample`].
pub(crate) fn upsample(
    gpu: &Gpu,
    x: &Array,
    to: [usize; 2],
    weight: &Array,
    bias: &Array,
    skip: Option<&Array>,
) -> Result<Array, NnError> {
    let &[n, h, w, c] = x.shape() else {
        return Err(NnError::shape("upsample", "[n, h, w, c]", x.shape()));
    };
    let x = gpu.held(x)?;
    let (weight, bias) = (gpu.parameter(weight)?, gpu.parameter(bias)?);
    let skip = skip.map(|skip| gpu.take(skip, x.kind())).transpose()?;
    let with_skip = i64::from(skip.is_some());
    let len = n * to[0] * to[1] * c;
    let mut y = Memory::uninit(gpu, len, x.kind())?;
    let added = skip.as_ref().map_or(&x.bytes, |skip| &skip.bytes);
    let lanes = lanes(x.kind(), c);
    let [h, w, oh, ow, k, wide, all] = [h, w, to[0], to[1], c, lanes, len / lanes].map(|size| size as i64);
    launch!(gpu, Source::Sample, x.kind(), "upsample", len / lanes, len.max(x.len());
        [&x.bytes, &weight.bytes, &bias.bytes, added, &with_skip, &mut y.bytes, &h, &w, &oh, &ow, &k, &wide, &all]);
    Ok(Array::on_device(&[n, to[0], to[1], c], y))
}

/// See [`crate::kernels::upsample_backward`].
pub(crate) fn upsample_backward(
    gpu: &Gpu,
    x: &Array,
    to: [usize; 2],
    weight: &Array,
    dy: &Array,
    wants_x: bool,
) -> Result<(Option<Array>, Array), NnError> {
    let &[n, h, w, c] = x.shape() else {
        return Err(NnError::shape("upsample", "[n, h, w, c]", x.shape()));
    };
    let held = gpu.held(x)?;
    let kind = held.kind();
    let (factors, d) = (gpu.parameter(weight)?, gpu.take(dy, kind)?);
    let pixels = n * to[0] * to[1];
    let lanes = lanes(kind, c);
    let (chunk, count) = blocks(pixels, 9 * c, lanes);
    let mut sums = Sums::uninit(gpu, count, 9 * c)?;
    let threads = count * 9 * c / lanes;
    let [ih, iw, oh, ow, k, wide] = [h, w, to[0], to[1], c, lanes].map(|size| size as i64);
    let [rows, part, all] = [pixels, chunk, threads].map(|size| size as i64);
    launch!(gpu, Source::Sample, kind, "upsample_weight", threads, d.len().max(held.len());
        [&held.bytes, &d.bytes, &mut sums.values, &ih, &iw, &oh, &ow, &k, &rows, &part, &wide, &all]);
    let dw = sums.finish(gpu, weight.shape())?;
    let dx = if wants_x {
        let mut dx = Memory::uninit(gpu, held.len(), kind)?;
        let values = (held.len() / lanes) as i64;
        launch!(gpu, Source::Sample, kind, "upsample_backward", held.len() / lanes, d.len().max(held.len());
            [&d.bytes, &factors.bytes, &mut dx.bytes, &ih, &iw, &oh, &ow, &k, &wide, &values]);
        Some(Array::on_device(x.shape(), dx))
    } else {
        None
    };
    Ok((dx, dw))
}
