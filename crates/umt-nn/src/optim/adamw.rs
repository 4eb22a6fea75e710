//! Adam with decoupled weight decay.

use std::collections::BTreeMap;

use super::{Optimizer, check_grads, own_slots, pairs, slots, state_of};
use crate::compute::AdamWUpdate;
use crate::kernels::AdamWStep;
use crate::{Array, Grads, NnError, Params, compute};

/// AdamW (Loshchilov & Hutter 2019) in PyTorch's form: `w -= lr * decay * w`, then
/// `w -= lr * m' / (sqrt(v') + eps)` with both moments corrected for their start at zero. Each parameter counts its own
/// updates, so one that joins late is corrected as a fresh one.
#[derive(Debug)]
pub struct AdamW {
    beta1: f32,
    beta2: f32,
    eps: f32,
    weight_decay: f32,
    first: BTreeMap<String, Array>,
    second: BTreeMap<String, Array>,
    /// Updates so far, one value each; exact in f32 up to 16.7 million.
    count: BTreeMap<String, Array>,
}

/// Prefixes of the state's names.
const SLOTS: [&str; 3] = ["first", "second", "count"];

impl AdamW {
    /// An optimiser with empty moments.
    pub fn new(beta1: f32, beta2: f32, eps: f32, weight_decay: f32) -> Self {
        let (first, second, count) = Default::default();
        Self { beta1, beta2, eps, weight_decay, first, second, count }
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, params: &mut Params, grads: &Grads, lr: f32) -> Result<(), NnError> {
        check_grads(params, grads)?;
        let &mut Self { beta1, beta2, eps, weight_decay, .. } = self;
        slots(params, grads, &mut self.first)?;
        slots(params, grads, &mut self.second)?;
        let mut first: BTreeMap<&String, &mut Array> = self.first.iter_mut().collect();
        let mut second: BTreeMap<&String, &mut Array> = self.second.iter_mut().collect();
        let mut updates = Vec::new();
        for (name, p, g) in pairs(params, grads) {
            let count = self.count.entry(name.clone()).or_insert_with(|| Array::zeros(&[1]));
            count.make_mut()[0] += 1.0;
            let step = count.as_slice()[0] as u64;
            let o = AdamWStep { lr, beta1, beta2, eps, weight_decay, step };
            let (Some(m), Some(v)) = (first.remove(name), second.remove(name)) else { continue };
            updates.push(AdamWUpdate { p, g, m, v, o });
        }
        compute::adamw_step(&mut updates)
    }

    fn set_momentum(&mut self, momentum: f32) {
        self.beta1 = momentum;
    }

    fn state(&self) -> BTreeMap<String, Array> {
        let mut all = state_of(SLOTS[0], &self.first);
        all.extend(state_of(SLOTS[1], &self.second));
        all.extend(state_of(SLOTS[2], &self.count));
        all
    }

    fn load_state(&mut self, state: BTreeMap<String, Array>) -> Result<(), NnError> {
        let [first, second, count] = own_slots(SLOTS, state)?;
        (self.first, self.second, self.count) = (first, second, count);
        Ok(())
    }
}
