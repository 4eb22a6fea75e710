//! Optimisers whose whole state can be saved, and gradient-norm clipping.
//!
//! candle's SGD has no momentum and its AdamW keeps its moments private, so neither can resume exactly. Here a step
//! walks the gradients in sorted name order, each value is the result of one fixed chain of operations, and
//! [`Optimizer::state`] returns everything that a later [`Optimizer::load_state`] needs to go on bit by bit.
//! State arrays lie in the memory layout of their parameters.
//!
//! ```
//! use umt_nn::optim::OptimizerConfig;
//! let sgd = OptimizerConfig::default();
//! assert_eq!(sgd, OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-4 });
//! assert!(OptimizerConfig::Sgd { momentum: 1.5, nesterov: true, weight_decay: 0.0 }.check().is_err());
//! ```

mod adamw;
mod clip;
mod sgd;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use adamw::AdamW;
pub use clip::{FoundSquares, Squares, clip_grad_norm, grad_norm, scale_to_norm};
pub use sgd::Sgd;

use crate::{Array, Grads, NnError, Params, Role, within};

/// Moves parameters against their gradients.
pub trait Optimizer {
    /// One update of every parameter that has a gradient. A parameter without one (frozen, or not reached by the
    /// loss) stays as it is, weight decay included, as in PyTorch.
    ///
    /// # Errors
    /// A gradient of an unknown name, of another shape than its parameter, or of a buffer; nothing has changed then.
    fn step(&mut self, params: &mut Params, grads: &Grads, lr: f32) -> Result<(), NnError>;

    /// Sets the momentum of the next steps (AdamW: beta1), where a schedule cycles it.
    fn set_momentum(&mut self, momentum: f32);

    /// Everything that the next step depends on besides parameters and gradients, by name.
    fn state(&self) -> BTreeMap<String, Array>;

    /// Puts back what [`Optimizer::state`] returned.
    ///
    /// # Errors
    /// A name that this optimiser does not write.
    fn load_state(&mut self, state: BTreeMap<String, Array>) -> Result<(), NnError>;
}

/// Which optimiser, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent, see [`Sgd`].
    Sgd {
        /// Share of the last update's direction kept, in `[0, 1)`.
        #[serde(default = "default_momentum")]
        momentum: f32,
        /// Look ahead along the momentum.
        #[serde(default = "default_nesterov")]
        nesterov: bool,
        /// L2 penalty added to the gradient.
        #[serde(default = "default_sgd_decay")]
        weight_decay: f32,
    },
    /// Adam with decoupled weight decay, see [`AdamW`].
    Adamw {
        /// Decay of the first moment, in `[0, 1)`.
        #[serde(default = "default_beta1")]
        beta1: f32,
        /// Decay of the second moment, in `[0, 1)`.
        #[serde(default = "default_beta2")]
        beta2: f32,
        /// Added to the root of the second moment.
        #[serde(default = "default_eps")]
        eps: f32,
        /// Share of a weight removed per step and unit of learning rate.
        #[serde(default = "default_adamw_decay")]
        weight_decay: f32,
    },
}

fn default_momentum() -> f32 {
    0.9
}
fn default_nesterov() -> bool {
    true
}
fn default_sgd_decay() -> f32 {
    1e-4
}
fn default_beta1() -> f32 {
    0.9
}
fn default_beta2() -> f32 {
    0.999
}
fn default_eps() -> f32 {
    1e-8
}
fn default_adamw_decay() -> f32 {
    1e-2
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Sgd { momentum: default_momentum(), nesterov: default_nesterov(), weight_decay: default_sgd_decay() }
    }
}

impl OptimizerConfig {
    /// Refuses settings outside their range.
    ///
    /// # Errors
    /// [`NnError::Setting`] names the setting, its value and the allowed range.
    pub fn check(&self) -> Result<(), NnError> {
        let share = |key: &str, value: f32| {
            let holds = (0.0..1.0).contains(&value);
            within(key, value, holds, "at least 0 and below 1")
        };
        let decay = |value: f32| {
            let holds = value >= 0.0 && value.is_finite();
            within("optimizer.weight-decay", value, holds, "0 or more")
        };
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                share("optimizer.momentum", momentum)?;
                within(
                    "optimizer.momentum",
                    momentum,
                    !nesterov || momentum > 0.0,
                    "above 0, as nesterov = true needs",
                )?;
                decay(weight_decay)
            }
            Self::Adamw { beta1, beta2, eps, weight_decay } => {
                share("optimizer.beta1", beta1)?;
                share("optimizer.beta2", beta2)?;
                within("optimizer.eps", eps, eps > 0.0 && eps.is_finite(), "above 0")?;
                decay(weight_decay)
            }
        }
    }

    /// An optimiser with empty state.
    ///
    /// # Errors
    /// As [`OptimizerConfig::check`].
    pub fn build(&self) -> Result<Box<dyn Optimizer>, NnError> {
        self.check()?;
        Ok(match *self {
            Self::Sgd { momentum, nesterov, weight_decay } => Box::new(Sgd::new(momentum, nesterov, weight_decay)),
            Self::Adamw { beta1, beta2, eps, weight_decay } => Box::new(AdamW::new(beta1, beta2, eps, weight_decay)),
        })
    }
}

/// Every gradient must belong to a trainable parameter and have its shape.
fn check_grads(params: &Params, grads: &Grads) -> Result<(), NnError> {
    for (name, grad) in grads {
        let known = params.get(name).filter(|p| p.role == Role::Weight);
        let Some(param) = known else {
            return Err(NnError::NoParameter(name.clone()));
        };
        if param.value.shape() != grad.shape() {
            let expected = format!("{:?}", param.value.shape());
            return Err(NnError::shape(format!("gradient of {name}"), expected, grad.shape()));
        }
    }
    Ok(())
}

/// Every parameter that has a gradient, with it, in the order of names.
fn pairs<'a>(params: &'a mut Params, grads: &'a Grads) -> impl Iterator<Item = (&'a String, &'a mut Array, &'a Array)> {
    params.iter_mut().filter_map(|(name, param)| Some((name, &mut param.value, grads.get(name)?)))
}

/// Makes an array of zeros, next to its parameter, for each gradient that has none in `slot`.
fn slots(params: &Params, grads: &Grads, slot: &mut BTreeMap<String, Array>) -> Result<(), NnError> {
    for (name, param) in params.iter().filter(|(name, _)| grads.contains_key(*name)) {
        if !slot.contains_key(name) {
            slot.insert(name.clone(), param.value.device().zeros(param.value.shape())?);
        }
    }
    Ok(())
}

/// `slot/name` for each array of a slot.
fn state_of(slot: &str, arrays: &BTreeMap<String, Array>) -> BTreeMap<String, Array> {
    arrays.iter().map(|(name, array)| (format!("{slot}/{name}"), array.clone())).collect()
}

/// Sorts a saved state back into its slots.
fn own_slots<const N: usize>(
    slots: [&str; N],
    state: BTreeMap<String, Array>,
) -> Result<[BTreeMap<String, Array>; N], NnError> {
    let mut sorted = [(); N].map(|()| BTreeMap::new());
    for (key, array) in state {
        let place = key.split_once('/').and_then(|(slot, name)| Some((slots.iter().position(|s| *s == slot)?, name)));
        let Some((place, name)) = place else {
            let known = slots.join(", ");
            return Err(NnError::Unsupported(format!("optimiser state `{key}`: this optimiser has {known}")));
        };
        sorted[place].insert(name.to_owned(), array);
    }
    Ok(sorted)
}
