//! Optimisers: one pass over all parameters together.

use super::launch::launch;
use super::many::{MOST, Many, sweep};
use super::{Attempt, Gpu, Kind, Source};
use crate::NnError;
use crate::compute::{AdamWUpdate, PlainUpdate, SgdUpdate};
use crate::kernels::SgdStep;

/// Stochastic gradient descent without momentum.
pub(crate) fn sgd_plain(gpu: &Gpu, updates: &mut [PlainUpdate<'_>], lr: f32, decay: f32) -> Result<(), NnError> {
    for some in updates.chunks_mut(MOST) {
        let (mut entries, mut held) = (Vec::new(), Vec::new());
        for update in some {
            let g = gpu.parameter(update.g)?;
            let p = update.p.memory_mut(gpu)?;
            entries.push(([p.bytes.at, g.bytes.at, 0, 0], p.len()));
            held.push(g);
        }
        let many = Many::new(&entries, sweep)?;
        launch!(gpu, Source::Many, Kind::F32, "sgd_plain", many.threads(); [&many, &lr, &decay]);
    }
    Ok(())
}

/// See [`crate::kernels::sgd_step`].
pub(crate) fn sgd_step(gpu: &Gpu, updates: &mut [SgdUpdate<'_>], o: SgdStep) -> Result<(), NnError> {
    for some in updates.chunks_mut(MOST) {
        let (mut entries, mut held) = (Vec::new(), Vec::new());
        for update in some {
            let g = gpu.parameter(update.g)?;
            let (p, m) = (update.p.memory_mut(gpu)?, update.m.memory_mut(gpu)?);
            entries.push(([p.bytes.at, g.bytes.at, m.bytes.at, 0], p.len()));
            held.push(g);
        }
        let (many, nesterov) = (Many::new(&entries, sweep)?, i64::from(o.nesterov));
        launch!(gpu, Source::Many, Kind::F32, "sgd", many.threads();
            [&many, &o.lr, &o.momentum, &nesterov, &o.weight_decay]);
    }
    Ok(())
}

/// See [`crate::kernels::adamw_step`]. Parameters whose number of updates differs are corrected by other factors, and have a launch of their own.
pub(crate) fn adamw_step(gpu: &Gpu, updates: &mut [AdamWUpdate<'_>]) -> Result<(), NnError> {
    for some in updates.chunk_by_mut(|a, b| a.o.step == b.o.step).flat_map(|same| same.chunks_mut(MOST)) {
        let Some(o) = some.first().map(|update| update.o) else { continue };
        let (mut entries, mut held) = (Vec::new(), Vec::new());
        for update in some {
            let g = gpu.parameter(update.g)?;
            let (p, m, v) = (update.p.memory_mut(gpu)?, update.m.memory_mut(gpu)?, update.v.memory_mut(gpu)?);
            entries.push(([p.bytes.at, g.bytes.at, m.bytes.at, v.bytes.at], p.len()));
            held.push(g);
        }
        let (many, (keep, rate, root)) = (Many::new(&entries, sweep)?, o.factors());
        launch!(gpu, Source::Many, Kind::F32, "adamw", many.threads();
            [&many, &o.beta1, &o.beta2, &o.eps, &keep, &rate, &root]);
    }
    Ok(())
}
