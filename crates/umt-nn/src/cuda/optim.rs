//! One pass of an optimiser over a parameter.

use super::launch::launch;
use super::{Attempt, Gpu, Kind, Source};
use crate::kernels::{AdamWStep, SgdStep};
use crate::{Array, NnError};

/// Stochastic gradient descent without momentum.
pub(crate) fn sgd_plain(gpu: &Gpu, p: &mut Array, g: &Array, lr: f32, decay: f32) -> Result<(), NnError> {
    let g = gpu.parameter(g)?;
    let p = p.memory_mut(gpu)?;
    let n = p.len() as i64;
    launch!(gpu, Source::Optim, Kind::F32, "sgd_plain", p.len(); [&mut p.bytes, &g.bytes, &lr, &decay, &n]);
    Ok(())
}

/// See [`crate::kernels::sgd_step`].
pub(crate) fn sgd_step(gpu: &Gpu, p: &mut Array, g: &Array, m: &mut Array, o: SgdStep) -> Result<(), NnError> {
    let g = gpu.parameter(g)?;
    let (p, m) = (p.memory_mut(gpu)?, m.memory_mut(gpu)?);
    let (nesterov, n) = (i64::from(o.nesterov), p.len() as i64);
    launch!(gpu, Source::Optim, Kind::F32, "sgd", p.len();
        [&mut p.bytes, &g.bytes, &mut m.bytes, &o.lr, &o.momentum, &nesterov, &o.weight_decay, &n]);
    Ok(())
}

/// See [`crate::kernels::adamw_step`].
pub(crate) fn adamw_step(
    gpu: &Gpu,
    p: &mut Array,
    g: &Array,
    m: &mut Array,
    v: &mut Array,
    o: AdamWStep,
) -> Result<(), NnError> {
    let g = gpu.parameter(g)?;
    let (p, m, v) = (p.memory_mut(gpu)?, m.memory_mut(gpu)?, v.memory_mut(gpu)?);
    let (keep, rate, root) = o.factors();
    let n = p.len() as i64;
    launch!(gpu, Source::Optim, Kind::F32, "adamw", p.len();
        [&mut p.bytes, &g.bytes, &mut m.bytes, &mut v.bytes, &o.beta1, &o.beta2, &o.eps, &keep, &rate, &root, &n]);
    Ok(())
}
