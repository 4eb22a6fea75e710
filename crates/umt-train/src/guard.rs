//! Stops a run at the first NaN or infinity, with its name.

use umt_nn::kernels::all_finite;
use umt_nn::optim::FoundSquares;
use umt_nn::{Array, NnError, Params, compute};

use crate::{Feed, StepOutput, TrainError};

/// Looks at what goes into a step, what comes out of it, and the weights.
///
/// Inputs are looked at on their own, because a ReLU made of `max` may turn a NaN into 0 and hide it from the loss.
pub(crate) struct Guard<'a> {
    pub(crate) stage: &'a str,
}

impl Guard<'_> {
    /// The batch before the step; on the host every value of every input too. A device looks at its own along with the gradients, see
    /// [`Guard::output`].
    pub(crate) fn batch(&self, batch: &Feed, step: u64) -> Result<(), TrainError> {
        let labels = batch.maps.as_ref().map_or(batch.labels.len(), |maps| maps.shape[0]);
        if batch.ids.is_empty() || labels != batch.ids.len() {
            let reason = format!("{} ids and {labels} labels in one batch", batch.ids.len());
            return Err(TrainError::Batches { reason });
        }
        self.inputs(batch, |input| input.device().is_cpu(), step)
    }

    /// Names the one sample that a value of these inputs belongs to which is not finite.
    fn inputs(&self, batch: &Feed, which: impl Fn(&Array) -> bool, step: u64) -> Result<(), TrainError> {
        for (modality, input) in batch.inputs().iter().filter(|(_, input)| which(input)) {
            if let Some((at, value)) = first_bad(input.as_slice()) {
                let sample = at * batch.ids.len() / input.len();
                return Err(self.found(step, format!("input {modality}"), value, &batch.ids[sample..=sample]));
            }
        }
        Ok(())
    }

    /// Inputs on a device, loss, gradients (by their Σx²) and figures of a step, before the update. When one is not finite and a weight is not either,
    /// the weight is named, because it came first.
    pub(crate) fn output(
        &self,
        output: &StepOutput,
        squares: &FoundSquares,
        params: &Params,
        batch: &Feed,
        step: u64,
    ) -> Result<(), TrainError> {
        if !squares.finite_inputs {
            self.inputs(batch, |_| true, step)?;
        }
        let figures = std::iter::once(("loss", output.loss))
            .chain(output.log.iter().map(|(name, &value)| (name.as_str(), value)))
            .find(|(_, value)| !value.is_finite())
            .map(|(name, value)| (name.to_owned(), value));
        let bad = match figures {
            Some(figure) => Some(figure),
            None => squares.grads.iter().find(|(_, sum)| !sum.is_finite()).map(|(name, _)| {
                let value = output.grads.get(name).and_then(|grad| first_bad(grad.as_slice()));
                (format!("gradient of {name}"), value.map_or(f32::NAN, |(_, value)| value))
            }),
        };
        let Some((what, value)) = bad else {
            return Ok(());
        };
        self.weights(params, &batch.ids, step)?;
        Err(self.found(step, what, value, &batch.ids))
    }

    /// Weights and running statistics; `ids` are those of the step that may have spoilt them.
    pub(crate) fn weights(&self, params: &Params, ids: &[String], step: u64) -> Result<(), TrainError> {
        match first_named("weight", params.iter().map(|(name, param)| (name, &param.value)))? {
            Some((what, value)) => Err(self.found(step, what, value, ids)),
            None => Ok(()),
        }
    }

    /// What an evaluation found, with its place in the run.
    pub(crate) fn placed(&self, error: TrainError, step: u64) -> TrainError {
        match error {
            TrainError::NonFinite { what, value, ids, .. } => self.found(step, what, value, &ids),
            other => other,
        }
    }

    fn found(&self, step: u64, what: String, value: f32, ids: &[String]) -> TrainError {
        TrainError::NonFinite { stage: self.stage.to_owned(), step, what, value, ids: ids.to_vec() }
    }
}

fn first_named<'a>(
    kind: &str,
    arrays: impl Iterator<Item = (&'a String, &'a Array)>,
) -> Result<Option<(String, f32)>, NnError> {
    let (names, arrays): (Vec<&String>, Vec<&Array>) = arrays.unzip();
    let bad = compute::all_finite(&arrays)?.iter().position(|finite| !finite);
    let value = bad.and_then(|at| Some((at, first_bad(arrays[at].as_slice())?.1)));
    Ok(value.map(|(at, value)| (format!("{kind} {}", names[at]), value)))
}

/// Index and value of the first NaN or infinity. The kernel looks at all of them; only a bad array is searched.
pub(crate) fn first_bad(values: &[f32]) -> Option<(usize, f32)> {
    if all_finite(values) {
        return None;
    }
    values.iter().copied().enumerate().find(|(_, x)| !x.is_finite())
}

#[cfg(test)]
mod tests {
    use super::first_bad;

    #[test]
    fn finds_the_first_bad_value_wherever_it_is() {
        assert_eq!(first_bad(&[]), None);
        assert_eq!(first_bad(&[f32::MAX, f32::MIN_POSITIVE / 2.0, -0.0]), None);
        for at in [0, 1, 4095, 4096, 9999] {
            let mut values = vec![1.0; 10_000];
            values[9_999] = f32::NAN;
            values[at] = f32::INFINITY;
            assert_eq!(first_bad(&values), Some((at, f32::INFINITY)));
        }
    }
}
