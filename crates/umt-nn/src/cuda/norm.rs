//! Batch normalisation: statistics, backward with skip and ReLU.

use super::launch::{lanes, launch};
use super::reduce::{Sums, blocks};
use super::{Attempt, Gpu, Kind, Memory, Source};
use crate::compute::{NormGrads, Normalised, RunningStatistics};
use crate::{Array, BatchNormOptions, NnError};

/// Statistics of the rows of `z` `[rows, c]`, and what follows from them.
pub(crate) fn batch_norm_statistics(
    gpu: &Gpu,
    z: &Array,
    [gamma, beta]: [&Array; 2],
    running: [&Array; 2],
    options: BatchNormOptions,
) -> Result<(Normalised, RunningStatistics), NnError> {
    let (z, channels) = (gpu.held(z)?, gamma.len());
    let rows = z.len() / channels.max(1);
    let lanes = lanes(z.kind(), channels);
    let (chunk, count) = blocks(rows, channels, lanes);
    let mut sums = Sums::uninit(gpu, count, 2 * channels)?;
    // Of no rows there is nothing to sum.
    let n = if rows == 0 { 0 } else { count * channels / lanes };
    let [r, c, part, wide, all] = [rows, channels, chunk, lanes, n].map(|size| size as i64);
    launch!(gpu, Source::Norm, z.kind(), "moments", n, z.len(); [&z.bytes, &mut sums.values, &r, &c, &part, &wide, &all]);
    let sums = sums.folded(gpu)?;
    let parts = if rows == 0 { 0 } else { sums.rows as i64 };
    let one = || Memory::uninit(gpu, channels, Kind::F32);
    let (mut mean, mut inv_std, mut a, mut b) = (one()?, one()?, one()?, one()?);
    let (mut next_mean, mut next_var) = (one()?, one()?);
    let [gamma, beta] = [gpu.parameter(gamma)?, gpu.parameter(beta)?];
    let [running_mean, running_var] = [gpu.parameter(running[0])?, gpu.parameter(running[1])?];
    let (eps, momentum, unbiased) = (options.eps, options.momentum, rows as f32 / (rows.max(2) - 1) as f32);
    launch!(gpu, Source::Norm, z.kind(), "statistics", channels;
        [&sums.values, &parts, &z.bytes, &r, &gamma.bytes, &beta.bytes, &running_mean.bytes, &running_var.bytes, &eps, &momentum, &unbiased,
         &mut mean.bytes, &mut inv_std.bytes, &mut a.bytes, &mut b.bytes, &mut next_mean.bytes, &mut next_var.bytes, &c]);
    let array = |memory: Memory| Array::on_device(&[channels], memory);
    let normalised = Normalised { mean: array(mean), inv_std: array(inv_std), a: array(a), b: array(b) };
    Ok((normalised, RunningStatistics { mean: array(next_mean), var: array(next_var) }))
}

/// Gradients; `output` is the output of a ReLU behind a skip, and `relu` alone has its mask from `z`.
pub(crate) fn batch_norm_backward(
    gpu: &Gpu,
    z: &Array,
    output: Option<&Array>,
    relu: bool,
    dy: &Array,
    gamma: &Array,
    norm: &Normalised,
    wants_skip: bool,
) -> Result<NormGrads, NnError> {
    let (shape, channels) = (z.shape(), gamma.len());
    let z = gpu.held(z)?;
    let kind = z.kind();
    let dy = gpu.take(dy, kind)?;
    let output = output.map(|output| gpu.take(output, kind)).transpose()?;
    let mask: i64 = match (&output, relu) {
        (Some(_), _) => 1,
        (None, true) => 2,
        (None, false) => 0,
    };
    let y = output.as_ref().map_or(&z.bytes, |output| &output.bytes);
    let [a, b] = [gpu.parameter(&norm.a)?, gpu.parameter(&norm.b)?];
    let [mean, inv_std] = [gpu.parameter(&norm.mean)?, gpu.parameter(&norm.inv_std)?];
    let rows = z.len() / channels.max(1);
    let lanes = lanes(kind, channels);
    let (chunk, count) = blocks(rows, channels, lanes);
    let mut sums = Sums::uninit(gpu, count, 2 * channels)?;
    let mut dskip = Memory::uninit(gpu, if wants_skip { z.len() } else { 0 }, kind)?;
    let n = count * channels / lanes;
    let [with_skip, r, c, part, wide, all] =
        [usize::from(wants_skip), rows, channels, chunk, lanes, n].map(|size| size as i64);
    launch!(gpu, Source::Norm, kind, "backward_sums", n, z.len();
        [&z.bytes, &mask, y, &a.bytes, &b.bytes, &dy.bytes, &mean.bytes, &mut dskip.bytes, &with_skip, &mut sums.values,
         &r, &c, &part, &wide, &all]);
    let sums = sums.folded(gpu)?;
    let one = |len| Memory::uninit(gpu, len, Kind::F32);
    let (mut dgamma, mut dbeta, mut factors) = (one(channels)?, one(channels)?, one(3 * channels)?);
    let gamma = gpu.parameter(gamma)?;
    let parts = sums.rows as i64;
    launch!(gpu, Source::Norm, Kind::F32, "backward_factors", channels;
        [&sums.values, &parts, &r, &gamma.bytes, &inv_std.bytes, &mut dgamma.bytes, &mut dbeta.bytes, &mut factors.bytes, &c]);
    let mut dz = Memory::uninit(gpu, z.len(), kind)?;
    let threads = (z.len() / lanes) as i64;
    // The masked gradient was written for the skip already.
    let (mask, d) = if wants_skip { (0i64, &dskip.bytes) } else { (mask, &dy.bytes) };
    launch!(gpu, Source::Norm, kind, "backward_apply", z.len() / lanes, z.len();
        [&z.bytes, &mask, y, &a.bytes, &b.bytes, d, &mean.bytes, &factors.bytes, &mut dz.bytes, &c, &wide, &threads]);
    Ok(NormGrads {
        z: Array::on_device(shape, dz),
        gamma: Array::on_device(&[channels], dgamma),
        beta: Array::on_device(&[channels], dbeta),
        skip: wants_skip.then(|| Array::on_device(shape, dskip)),
    })
}
