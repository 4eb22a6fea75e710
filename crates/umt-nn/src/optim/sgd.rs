//! Stochastic gradient descent with momentum, Nesterov's look-ahead and weight decay.

use std::collections::BTreeMap;

use super::{Optimizer, check_grads, own_slots, pairs, slots, state_of};
use crate::compute::{PlainUpdate, SgdUpdate};
use crate::kernels::SgdStep;
use crate::{Array, Grads, NnError, Params, compute};

/// SGD in PyTorch's form: `g += decay * w`, `v = momentum * v + g`, then `w -= lr * d` with `d = g + momentum * v`
/// for Nesterov and `d = v` without (Sutskever et al. 2013, with the learning rate outside the velocity).
#[derive(Debug)]
pub struct Sgd {
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    /// Velocity by parameter name; empty without momentum.
    velocity: BTreeMap<String, Array>,
}

/// Prefix of the velocities among the state's names.
const VELOCITY: &str = "velocity";

impl Sgd {
    /// An optimiser at rest.
    pub fn new(momentum: f32, nesterov: bool, weight_decay: f32) -> Self {
        Self { momentum, nesterov, weight_decay, velocity: BTreeMap::new() }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, params: &mut Params, grads: &Grads, lr: f32) -> Result<(), NnError> {
        check_grads(params, grads)?;
        let &mut Self { momentum, nesterov, weight_decay, .. } = self;
        if momentum == 0.0 {
            // Without momentum there is nothing to remember, so no state is made.
            let mut updates: Vec<_> = pairs(params, grads).map(|(_, p, g)| PlainUpdate { p, g }).collect();
            return compute::sgd_plain(&mut updates, lr, weight_decay);
        }
        slots(params, grads, &mut self.velocity)?;
        let mut velocity: BTreeMap<&String, &mut Array> = self.velocity.iter_mut().collect();
        let updates =
            pairs(params, grads).filter_map(|(name, p, g)| Some(SgdUpdate { p, g, m: velocity.remove(name)? }));
        compute::sgd_step(&mut updates.collect::<Vec<_>>(), SgdStep { lr, momentum, nesterov, weight_decay })
    }

    fn set_momentum(&mut self, momentum: f32) {
        self.momentum = momentum;
    }

    fn state(&self) -> BTreeMap<String, Array> {
        state_of(VELOCITY, &self.velocity)
    }

    fn load_state(&mut self, state: BTreeMap<String, Array>) -> Result<(), NnError> {
        let [velocity] = own_slots([VELOCITY], state)?;
        self.velocity = velocity;
        Ok(())
    }
}
