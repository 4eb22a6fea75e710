//! The task alone: what a fusion baseline and a uni-modal teacher are trained with.

use crate::{Objective, Pass};
use umt_fusion::Loss;
use umt_nn::NnError;

/// Softmax cross-entropy, mean over the batch: nothing is added to it.
pub struct TaskOnly;

impl Objective for TaskOnly {
    fn apply(&self, _pass: &mut Pass<'_>, _loss: &mut Loss) -> Result<(), NnError> {
        Ok(())
    }
}
