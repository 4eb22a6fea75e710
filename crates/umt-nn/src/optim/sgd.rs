//! Stochastic gradient descent with momentum, Nesterov's look-ahead and weight decay.

use std::collections::BTreeMap;

use super::{Optimizer, check_grads, own_slots, state_of};
use crate::kernels::sgd_step;
use crate::{Array, Grads, NnError, Params};

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
        for (name, grad) in grads {
            let Some(param) = params.get_mut(name) else {
                continue;
            };
            if self.momentum == 0.0 {
                plain(param.value.make_mut(), grad.as_slice(), lr, self.weight_decay);
                continue;
            }
            let velocity = self.velocity.entry(name.clone()).or_insert_with(|| Array::zeros(grad.shape()));
            let (w, v) = (param.value.make_mut(), velocity.make_mut());
            sgd_step(w, grad.as_slice(), v, lr, self.momentum, self.nesterov, self.weight_decay);
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

/// Without momentum there is nothing to remember, so no state is made.
fn plain(weights: &mut [f32], grad: &[f32], lr: f32, decay: f32) {
    for (w, &g) in weights.iter_mut().zip(grad) {
        *w -= lr * (g + decay * *w);
    }
}
