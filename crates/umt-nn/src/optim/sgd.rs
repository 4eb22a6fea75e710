//! Stochastic gradient descent with momentum, Nesterov's look-ahead and weight decay.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{Optimizer, check_grads, own_slots, state_of};
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
        let step = SgdStep { lr, momentum, nesterov, weight_decay };
        for (name, grad) in grads {
            let Some(param) = params.get_mut(name) else {
                continue;
            };
            if self.momentum == 0.0 {
                // Without momentum there is nothing to remember, so no state is made.
                compute::sgd_plain(&mut param.value, grad, lr, self.weight_decay)?;
                continue;
            }
            let velocity = match self.velocity.entry(name.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => free.insert(param.value.device().zeros(grad.shape())?),
            };
            compute::sgd_step(&mut param.value, grad, velocity, step)?;
        }
        Ok(())
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
