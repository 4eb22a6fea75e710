//! The parameters behind the features, as candle variables.

use candle_core::{Tensor, Var, backprop::GradStore};
use std::collections::BTreeMap;
use umt_nn::{Array, Grads, NnError, Params, Role};

/// Parameters of fusion and head as candle variables, so that candle differentiates by them.
pub struct Weights(BTreeMap<String, Var>);

impl Weights {
    /// Every trainable parameter whose name does not start with `encoder.`; copies nothing that has not changed, see [`Params::variable`].
    ///
    /// # Errors
    /// When a device fails.
    pub fn of(params: &Params) -> Result<Self, NnError> {
        Self::except(params, &|name| name.starts_with("encoder."))
    }

    /// Every trainable parameter but those that `taped` says are on the tape.
    pub(crate) fn except(params: &Params, taped: &dyn Fn(&str) -> bool) -> Result<Self, NnError> {
        let mut weights = BTreeMap::new();
        for (name, param) in params.iter() {
            if param.role == Role::Weight && !taped(name) {
                weights.insert(name.clone(), params.variable(name)?);
            }
        }
        Ok(Self(weights))
    }

    /// A parameter by name, as part of the graph.
    pub fn get(&self, name: &str) -> Result<&Tensor, NnError> {
        match self.0.get(name) {
            Some(var) => Ok(var.as_tensor()),
            None => Err(NnError::NoParameter(name.to_owned())),
        }
    }

    /// The linear layer `<name>.weight`, `<name>.bias` on the last axis of `x` `[..., d]`.
    pub fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor, NnError> {
        let weight = self.get(&format!("{name}.weight"))?;
        let bias = self.get(&format!("{name}.bias"))?;
        if let [_, _] = x.dims() {
            return Ok(x.matmul(&weight.t()?)?.broadcast_add(bias)?);
        }
        let (&d, lead) = x.dims().split_last().ok_or_else(|| NnError::shape(name, "[..., d]", x.dims()))?;
        let rows = x.reshape(((), d))?;
        let y = rows.matmul(&weight.t()?)?.broadcast_add(bias)?;
        Ok(y.reshape([lead, &[bias.elem_count()]].concat())?)
    }

    /// Gradients of all of them; zeros for one the loss does not depend on.
    pub fn grads(&self, store: &GradStore) -> Result<Grads, NnError> {
        let grad = |(name, var): (&String, &Var)| {
            let array = match store.get(var) {
                Some(grad) => Array::from_tensor(grad)?,
                None => Array::from_tensor(&var.zeros_like()?)?,
            };
            Ok((name.clone(), array))
        };
        self.0.iter().map(grad).collect()
    }

    /// Adds the gradients that a further way back found to those of [`Weights::grads`].
    pub(crate) fn add_grads(&self, store: &GradStore, grads: &mut Grads) -> Result<(), NnError> {
        for (name, var) in &self.0 {
            if let (Some(more), Some(sum)) = (store.get(var), grads.get_mut(name)) {
                sum.add(&Array::from_tensor(more)?)?;
            }
        }
        Ok(())
    }
}

/// The logistic function, as `(1 + tanh(x / 2)) / 2`, which cannot overflow.
pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor, NnError> {
    Ok((((x * 0.5)?.tanh()? + 1.0)? * 0.5)?)
}
