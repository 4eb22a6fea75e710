//! Channels multiplied by gates.

use super::launch::{lanes, launch};
use super::pool::parts;
use super::{Attempt, Gpu, Memory, Source};
use crate::{Array, NnError};

/// `Σ x gate` over streams: `x` is `[n, rows, c]`, its gate `[n, c]`.
pub(crate) fn gated_sum(gpu: &Gpu, rows: usize, c: usize, streams: &[(&Array, &Array)]) -> Result<Array, NnError> {
    let Some((first, _)) = streams.first() else {
        return Err(NnError::Unsupported("a gated sum needs a stream".into()));
    };
    let kind = gpu.held(first)?.kind();
    let mut y = Memory::uninit(gpu, first.len(), kind)?;
    let lanes = lanes(kind, c);
    let [r, k, wide, n] = [rows, c, lanes, first.len() / lanes].map(|size| size as i64);
    for (i, (x, gate)) in streams.iter().enumerate() {
        let (x, gate, add) = (gpu.take(x, kind)?, gpu.take(gate, kind)?, i64::from(i > 0));
        launch!(gpu, Source::Reduce, kind, "gate", x.len() / lanes, x.len();
            [&x.bytes, &gate.bytes, &mut y.bytes, &add, &r, &k, &wide, &n]);
    }
    Ok(Array::on_device(first.shape(), y))
}

/// Gradients of one stream: to `x`, if wanted, and to the gate.
pub(crate) fn gated_sum_backward(
    gpu: &Gpu,
    rows: usize,
    c: usize,
    x: &Array,
    gate: &Array,
    dy: &Array,
    wants_x: bool,
) -> Result<(Option<Array>, Array), NnError> {
    let held = gpu.held(x)?;
    let kind = held.kind();
    let (factor, d) = (gpu.take(gate, kind)?, gpu.take(dy, kind)?);
    let (groups, (chunk, count)) = (factor.len() / c.max(1), parts(rows));
    let lanes = lanes(kind, c);
    let n = groups * count * c / lanes;
    let mut sums = gpu.block(8 * groups * count * c)?;
    let [r, k, p, l, wide, all] = [rows, c, count, chunk, lanes, n].map(|size| size as i64);
    launch!(gpu, Source::Reduce, kind, "group_products", n, held.len();
        [&held.bytes, &d.bytes, &mut sums, &r, &k, &p, &l, &wide, &all]);
    let mut dgate = Memory::uninit(gpu, factor.len(), kind)?;
    let (one, outputs) = (1.0f32, factor.len() as i64);
    launch!(gpu, Source::Reduce, kind, "finish_groups", factor.len(); [&sums, &mut dgate.bytes, &one, &p, &k, &outputs]);
    let dx = if wants_x {
        let mut dx = Memory::uninit(gpu, held.len(), kind)?;
        let (add, threads) = (0i64, (held.len() / lanes) as i64);
        launch!(gpu, Source::Reduce, kind, "gate", held.len() / lanes, held.len();
            [&d.bytes, &factor.bytes, &mut dx.bytes, &add, &r, &k, &wide, &threads]);
        Some(Array::on_device(x.shape(), dx))
    } else {
        None
    };
    Ok((dx, Array::on_device(gate.shape(), dgate)))
}
