//! The task alone: what a fusion baseline and a uni-modal teacher are trained with.

use crate::{Objective, Targets};
use candle_nn::loss::cross_entropy;
use std::collections::BTreeMap;
use umt_fusion::{Loss, Outputs};
use umt_nn::NnError;

/// Softmax cross-entropy, mean over the batch.
pub struct TaskOnly;

impl Objective for TaskOnly {
    fn loss(&self, outputs: &Outputs, targets: &Targets) -> Result<Loss, NnError> {
        let value = cross_entropy(&outputs.logits, &targets.labels)?;
        Ok(Loss { value, log: BTreeMap::new() })
    }

    fn needs_teachers(&self) -> bool {
        false
    }
}
