//! Channels multiplied by gates.

use super::launch::launch;
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
    let (r, k, n) = (rows as i64, c as i64, first.len() as i64);
    for (i, (x, gate)) in streams.iter().enumerate() {
        let (x, gate, add) = (gpu.take(x, kind)?, gpu.take(gate, kind)?, i64::from(i > 0));
        launch!(gpu, Source::Reduce, kind, "gate", x.len(); [&x.bytes, &gate.bytes, &mut y.bytes, &add, &r, &k, &n]);
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
    let n = groups * count * c;
    // SAFETY: written in whole by the kernel below.
    let mut sums = unsafe { gpu.stream().alloc::<f64>(n.max(1)) }.attempt("memory for sums")?;
    let (r, k, p, l, all) = (rows as i64, c as i64, count as i64, chunk as i64, n as i64);
    launch!(gpu, Source::Reduce, kind, "group_products", n; [&held.bytes, &d.bytes, &mut sums, &r, &k, &p, &l, &all]);
    let mut dgate = Memory::uninit(gpu, factor.len(), kind)?;
    let (one, outputs) = (1.0f32, factor.len() as i64);
    launch!(gpu, Source::Reduce, kind, "finish_groups", factor.len(); [&sums, &mut dgate.bytes, &one, &p, &k, &outputs]);
    let dx = if wants_x {
        let mut dx = Memory::uninit(gpu, held.len(), kind)?;
        let (add, values) = (0i64, held.len() as i64);
        launch!(gpu, Source::Reduce, kind, "gate", held.len(); [&d.bytes, &factor.bytes, &mut dx.bytes, &add, &r, &k, &values]);
        Some(Array::on_device(x.shape(), dx))
    } else {
        None
    };
    Ok((dx, Array::on_device(gate.shape(), dgate)))
}
