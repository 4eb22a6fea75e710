//! The one place that decides between host and device: operators call these functions with arrays, and these call [`kernels`] or `cuda`.
//!
//! The first array decides; what lies elsewhere is brought there. On the host this is a call of the kernel and nothing more.

#[cfg(feature = "cuda")]
use crate::cuda;
use crate::kernels::{self, AdamWStep, ConvShape, PoolShape, SgdStep};
use crate::{Array, BatchNormOptions, NnError};

/// Returns the device's answer where `$array` lies on one.
macro_rules! on_device {
    ($array:expr, $gpu:ident => $call:expr) => {
        #[cfg(feature = "cuda")]
        if let Some($gpu) = $array.gpu() {
            return $call;
        }
    };
    // For an array that is then written.
    (mut $array:expr, $gpu:ident => $call:expr) => {
        #[cfg(feature = "cuda")]
        if let Some($gpu) = $array.gpu().cloned() {
            let $gpu = &$gpu;
            return $call;
        }
    };
}

mod loss;
mod maps;

pub use loss::{Sums, all_finite, cross_entropy, squared_distance};
pub use maps::resize;
pub(crate) use maps::{
    Slices, average_pool, average_pool_backward, join_columns, put_slices, resize_backward, split_columns, take_slices,
    upsample, upsample_backward,
};

type Result<T> = std::result::Result<T, NnError>;

pub(crate) fn conv2d(s: &ConvShape, x: &Array, w: &Array, bias: Option<&Array>, relu: bool) -> Result<Array> {
    on_device!(w, gpu => cuda::conv2d(gpu, s, x, w, bias, relu));
    let mut y = Array::uninit(&[s.n, s.out_h(), s.out_w(), s.k]);
    let bias = bias.map(Array::as_slice);
    let run = if relu { kernels::conv2d_relu } else { kernels::conv2d };
    run(s, x.as_slice(), w.as_slice(), bias, y.make_mut());
    Ok(y)
}

pub(crate) fn conv2d_grad_input(s: &ConvShape, dy: &Array, w: &Array) -> Result<Array> {
    on_device!(w, gpu => cuda::conv2d_grad_input(gpu, s, dy, w));
    let mut dx = Array::uninit(&[s.n, s.h, s.w, s.c]);
    kernels::conv2d_grad_input(s, dy.as_slice(), w.as_slice(), dx.make_mut());
    Ok(dx)
}

/// The weights say where, and how a device rounds.
pub(crate) fn conv2d_grad_weight(s: &ConvShape, x: &Array, dy: &Array, w: &Array) -> Result<Array> {
    on_device!(w, gpu => cuda::conv2d_grad_weight(gpu, s, x, dy));
    let mut dw = Array::uninit(w.shape());
    kernels::conv2d_grad_weight(s, x.as_slice(), dy.as_slice(), dw.make_mut());
    Ok(dw)
}

pub(crate) fn bias_grad(c: usize, dy: &Array) -> Result<Array> {
    on_device!(dy, gpu => cuda::bias_grad(gpu, dy, c));
    let mut db = Array::uninit(&[c]);
    kernels::bias_grad(dy.len() / c.max(1), c, dy.as_slice(), db.make_mut());
    Ok(db)
}

pub(crate) fn relu_bias_backward(c: usize, y: &Array, d: &mut Array) -> Result<Array> {
    on_device!(mut d, gpu => cuda::relu_bias_backward(gpu, y, d, c));
    let mut db = Array::uninit(&[c]);
    kernels::relu_bias_backward_in_place(d.len() / c.max(1), c, y.as_slice(), d.make_mut(), db.make_mut());
    Ok(db)
}

pub(crate) fn relu_backward(y: &Array, d: &mut Array) -> Result<()> {
    on_device!(mut d, gpu => cuda::relu_backward(gpu, y, d));
    kernels::relu_backward_in_place(y.as_slice(), d.make_mut());
    Ok(())
}

pub(crate) fn sigmoid(x: &Array) -> Result<Array> {
    on_device!(x, gpu => cuda::sigmoid(gpu, x));
    let mut y = Array::uninit(x.shape());
    kernels::sigmoid(x.as_slice(), y.make_mut());
    Ok(y)
}

pub(crate) fn sigmoid_backward(y: &Array, dy: &Array) -> Result<Array> {
    on_device!(y, gpu => cuda::sigmoid_backward(gpu, y, dy));
    let mut dx = Array::uninit(y.shape());
    kernels::sigmoid_backward(y.as_slice(), dy.as_slice(), dx.make_mut());
    Ok(dx)
}

pub(crate) fn add_assign(a: &mut Array, b: &Array) -> Result<()> {
    on_device!(mut a, gpu => cuda::add_assign(gpu, a, b));
    kernels::add_assign(a.make_mut(), b.as_slice());
    Ok(())
}

/// `x *= factor` for each array.
pub(crate) fn scale_all(arrays: &mut [&mut Array], factor: f32) -> Result<()> {
    if let Some(_first) = arrays.first() {
        on_device!(mut _first, gpu => cuda::scale_all(gpu, arrays, factor));
    }
    arrays.iter_mut().flat_map(|x| x.make_mut()).for_each(|x| *x *= factor);
    Ok(())
}

/// What batch statistics make of a batch-norm, by channel.
pub(crate) struct Normalised {
    pub mean: Array,
    pub inv_std: Array,
    /// Normalisation as `a z + b`.
    pub a: Array,
    pub b: Array,
}

/// Running statistics after a batch.
pub(crate) struct RunningStatistics {
    pub mean: Array,
    pub var: Array,
}

pub(crate) fn batch_norm_statistics(
    z: &Array,
    [gamma, beta]: [&Array; 2],
    running: [&Array; 2],
    options: BatchNormOptions,
) -> Result<(Normalised, RunningStatistics)> {
    on_device!(z, gpu => cuda::batch_norm_statistics(gpu, z, [gamma, beta], running, options));
    let channels = gamma.len();
    let rows = z.len() / channels.max(1);
    let (mut mean, mut var) = (Array::uninit(&[channels]), Array::uninit(&[channels]));
    kernels::batch_norm_stats(rows, channels, z.as_slice(), mean.make_mut(), var.make_mut());
    let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
    let next = |running: &Array, batch: &Array, factor: f32| {
        let mut next = running.clone();
        for (value, new) in next.make_mut().iter_mut().zip(batch.as_slice()) {
            *value += options.momentum * (new * factor - *value);
        }
        next
    };
    let after = RunningStatistics { mean: next(running[0], &mean, 1.0), var: next(running[1], &var, unbiased) };
    let inv_std = inverse_deviation(&var, options);
    let [a, b] = affine(gamma, beta, &mean, &inv_std);
    Ok((Normalised { mean, inv_std, a, b }, after))
}

/// `1 / sqrt(var + eps)`, on the host.
pub(crate) fn inverse_deviation(var: &Array, options: BatchNormOptions) -> Array {
    let mut inv_std = Array::uninit(var.shape());
    inv_std.make_mut().iter_mut().zip(var.as_slice()).for_each(|(i, v)| *i = 1.0 / (v + options.eps).sqrt());
    inv_std
}

/// Normalisation as one multiplication and one addition per value, on the host.
pub(crate) fn affine(gamma: &Array, beta: &Array, mean: &Array, inv_std: &Array) -> [Array; 2] {
    let (mut a, mut b) = (Array::uninit(gamma.shape()), Array::uninit(gamma.shape()));
    let factors = gamma.as_slice().iter().zip(inv_std.as_slice());
    a.make_mut().iter_mut().zip(factors).for_each(|(a, (g, s))| *a = g * s);
    let shift = beta.as_slice().iter().zip(mean.as_slice()).zip(a.as_slice());
    b.make_mut().iter_mut().zip(shift).for_each(|(b, ((beta, mean), a))| *b = beta - mean * a);
    [a, b]
}

pub(crate) fn scale_shift(z: &Array, [a, b]: [&Array; 2], skip: Option<&Array>, relu: bool) -> Result<Array> {
    on_device!(z, gpu => cuda::scale_shift(gpu, z, [a, b], skip, relu));
    let (mut y, c) = (Array::uninit(z.shape()), a.len());
    let (a, b, skip) = (a.as_slice(), b.as_slice(), skip.map(Array::as_slice));
    kernels::scale_shift(z.len() / c.max(1), c, z.as_slice(), a, b, skip, relu, y.make_mut());
    Ok(y)
}

pub(crate) fn scale_shift_in_place(z: &mut Array, [a, b]: [&Array; 2], skip: Option<&Array>, relu: bool) -> Result<()> {
    on_device!(mut z, gpu => cuda::scale_shift_in_place(gpu, z, [a, b], skip, relu));
    let (c, skip) = (a.len(), skip.map(Array::as_slice));
    let z = z.make_mut();
    kernels::scale_shift_in_place(z.len() / c.max(1), c, z, a.as_slice(), b.as_slice(), skip, relu);
    Ok(())
}

/// What comes back through a batch-norm.
pub(crate) struct NormGrads {
    pub z: Array,
    pub gamma: Array,
    pub beta: Array,
    /// Behind the ReLU's mask.
    pub skip: Option<Array>,
}

/// `output` is there where a ReLU follows a skip; a ReLU alone has its mask from `z`.
pub(crate) fn batch_norm_backward(
    z: &Array,
    output: Option<&Array>,
    relu: bool,
    dy: &Array,
    gamma: &Array,
    norm: &Normalised,
    wants_skip: bool,
) -> Result<NormGrads> {
    on_device!(z, gpu => cuda::batch_norm_backward(gpu, z, output, relu, dy, gamma, norm, wants_skip));
    let channels = gamma.len();
    let rows = z.len() / channels.max(1);
    let one = || Array::uninit(&[channels]);
    let (mut dz, mut dgamma, mut dbeta) = (Array::uninit(z.shape()), one(), one());
    let mut dskip = wants_skip.then(|| Array::uninit(z.shape()));
    let (zs, dys, gammas) = (z.as_slice(), dy.as_slice(), gamma.as_slice());
    let (means, inv_std) = (norm.mean.as_slice(), norm.inv_std.as_slice());
    let (out, dgammas, dbetas) = (dz.make_mut(), dgamma.make_mut(), dbeta.make_mut());
    if relu && output.is_none() {
        let (a, b) = (norm.a.as_slice(), norm.b.as_slice());
        kernels::batch_norm_relu_backward(rows, channels, zs, a, b, dys, gammas, means, inv_std, out, dgammas, dbetas);
    } else {
        let (output, dskip) = (output.map(Array::as_slice), dskip.as_mut().map(Array::make_mut));
        kernels::batch_norm_backward(
            rows, channels, zs, output, dys, gammas, means, inv_std, out, dgammas, dbetas, dskip,
        );
    }
    Ok(NormGrads { z: dz, gamma: dgamma, beta: dbeta, skip: dskip })
}

/// Where each maximum of a pooling came from.
pub(crate) enum Places {
    Host(Vec<u32>),
    #[cfg(feature = "cuda")]
    Cuda(cuda::Places),
}

pub(crate) fn max_pool(s: &PoolShape, x: &Array, wants_places: bool) -> Result<(Array, Option<Places>)> {
    on_device!(x, gpu => cuda::max_pool(gpu, s, x).map(|(y, places)| (y, Some(Places::Cuda(places)))));
    let mut y = Array::uninit(&[s.n, s.out_h(), s.out_w(), s.c]);
    let mut places = wants_places.then(|| vec![0u32; y.len()]);
    kernels::max_pool(s, x.as_slice(), y.make_mut(), places.as_deref_mut());
    Ok((y, places.map(Places::Host)))
}

pub(crate) fn max_pool_backward(s: &PoolShape, places: Option<&Places>, dy: &Array) -> Result<Array> {
    let places = match places {
        #[cfg(feature = "cuda")]
        Some(Places::Cuda(places)) => {
            let gpu = places.gpu();
            return cuda::max_pool_backward(gpu, s, places, dy);
        }
        Some(Places::Host(places)) => &places[..],
        None => &[],
    };
    let mut dx = Array::uninit(&[s.n, s.h, s.w, s.c]);
    kernels::max_pool_backward(s, places, dy.as_slice(), dx.make_mut());
    Ok(dx)
}

pub(crate) fn mean_rows(groups: usize, rows: usize, c: usize, x: &Array) -> Result<Array> {
    on_device!(x, gpu => cuda::mean_rows(gpu, groups, rows, c, x));
    let mut y = Array::uninit(&[groups, c]);
    kernels::mean_rows(groups, rows, c, x.as_slice(), y.make_mut());
    Ok(y)
}

/// `shape` is that of the input, `[groups, ..., c]`.
pub(crate) fn mean_rows_backward(rows: usize, dy: &Array, shape: &[usize]) -> Result<Array> {
    on_device!(dy, gpu => cuda::mean_rows_backward(gpu, rows, dy, shape));
    let (groups, c) = (shape.first().copied().unwrap_or(0), shape.last().copied().unwrap_or(0));
    let mut dx = Array::uninit(shape);
    kernels::mean_rows_backward(groups, rows, c, dy.as_slice(), dx.make_mut());
    Ok(dx)
}

pub(crate) fn add_rows(rows: usize, c: usize, row: &Array, scale: f32, x: &mut Array) -> Result<()> {
    on_device!(mut x, gpu => cuda::add_rows(gpu, rows, c, row, scale, x));
    kernels::add_rows(rows, c, row.as_slice(), scale, x.make_mut());
    Ok(())
}

pub(crate) fn gated_sum(rows: usize, c: usize, streams: &[(&Array, &Array)], shape: &[usize]) -> Result<Array> {
    if let Some((_first, _)) = streams.first() {
        on_device!(_first, gpu => cuda::gated_sum(gpu, rows, c, streams));
    }
    let mut y = Array::uninit(shape);
    let values: Vec<_> = streams.iter().map(|(x, gate)| (x.as_slice(), gate.as_slice())).collect();
    kernels::gated_sum(rows, c, &values, y.make_mut());
    Ok(y)
}

pub(crate) fn gated_sum_backward(
    rows: usize,
    c: usize,
    x: &Array,
    gate: &Array,
    dy: &Array,
    wants_x: bool,
) -> Result<(Option<Array>, Array)> {
    on_device!(x, gpu => cuda::gated_sum_backward(gpu, rows, c, x, gate, dy, wants_x));
    let mut dx = wants_x.then(|| Array::uninit(x.shape()));
    let mut dgate = Array::uninit(gate.shape());
    let dx_values = dx.as_mut().map(Array::make_mut);
    kernels::gated_sum_backward(rows, c, x.as_slice(), gate.as_slice(), dy.as_slice(), dx_values, dgate.make_mut());
    Ok((dx, dgate))
}

/// A parameter and its gradient.
pub(crate) struct PlainUpdate<'a> {
    pub p: &'a mut Array,
    pub g: &'a Array,
}

/// As [`PlainUpdate`], with a velocity.
pub(crate) struct SgdUpdate<'a> {
    pub p: &'a mut Array,
    pub g: &'a Array,
    pub m: &'a mut Array,
}

/// As [`PlainUpdate`], with two moments and the settings of this parameter's step.
pub(crate) struct AdamWUpdate<'a> {
    pub p: &'a mut Array,
    pub g: &'a Array,
    pub m: &'a mut Array,
    pub v: &'a mut Array,
    pub o: AdamWStep,
}

pub(crate) fn sgd_plain(updates: &mut [PlainUpdate<'_>], lr: f32, decay: f32) -> Result<()> {
    if let Some(_first) = updates.first() {
        on_device!(mut _first.p, gpu => cuda::sgd_plain(gpu, updates, lr, decay));
    }
    for PlainUpdate { p, g } in updates {
        for (w, &g) in p.make_mut().iter_mut().zip(g.as_slice()) {
            *w -= lr * (g + decay * *w);
        }
    }
    Ok(())
}

pub(crate) fn sgd_step(updates: &mut [SgdUpdate<'_>], o: SgdStep) -> Result<()> {
    if let Some(_first) = updates.first() {
        on_device!(mut _first.p, gpu => cuda::sgd_step(gpu, updates, o));
    }
    let SgdStep { lr, momentum, nesterov, weight_decay } = o;
    for SgdUpdate { p, g, m } in updates {
        kernels::sgd_step(p.make_mut(), g.as_slice(), m.make_mut(), lr, momentum, nesterov, weight_decay);
    }
    Ok(())
}

pub(crate) fn adamw_step(updates: &mut [AdamWUpdate<'_>]) -> Result<()> {
    if let Some(_first) = updates.first() {
        on_device!(mut _first.p, gpu => cuda::adamw_step(gpu, updates));
    }
    for AdamWUpdate { p, g, m, v, o } in updates {
        let (betas, p, m, v) = ([o.beta1, o.beta2], p.make_mut(), m.make_mut(), v.make_mut());
        kernels::adamw_step(p, g.as_slice(), m, v, o.lr, betas, o.eps, o.weight_decay, o.step);
    }
    Ok(())
}
