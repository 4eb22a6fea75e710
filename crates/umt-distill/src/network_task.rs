//! A network, an objective and frozen teachers, as the training loop wants them.

use crate::{Objective, Targets};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use umt_data::Batch;
use umt_fusion::Network;
use umt_media::Modality;
use umt_nn::{Array, NnError, Params};
use umt_train::{Evaluation, StepContext, StepOutput, Task, TrainError};

/// Trains `network` under `objective`, with one frozen teacher per distilled modality.
///
/// Teachers are borrowed immutably and run in evaluation mode: nothing of them can change. They
/// see the very tensor the student sees, augmentation included.
pub struct NetworkTask<'a> {
    network: Network,
    objective: Box<dyn Objective>,
    teachers: BTreeMap<Modality, &'a Network>,
}

impl<'a> NetworkTask<'a> {
    /// Refuses teachers the objective would ignore, and an objective without its teachers.
    pub fn new(
        network: Network,
        objective: Box<dyn Objective>,
        teachers: BTreeMap<Modality, &'a Network>,
    ) -> Result<Self, NnError> {
        if objective.needs_teachers() == teachers.is_empty() {
            let reason = if teachers.is_empty() { "needs teachers" } else { "takes no teachers" };
            return Err(NnError::Setting(format!("this objective {reason}")));
        }
        Ok(Self { network, objective, teachers })
    }

    /// The trained network.
    pub fn into_network(self) -> Network {
        self.network
    }
}

/// The inputs of a batch as the network takes them.
pub(crate) fn inputs(batch: &Batch) -> Result<BTreeMap<Modality, Array>, NnError> {
    let array = |x: &umt_media::Array| Array::from_slice(&x.shape, &x.data);
    batch.inputs.iter().map(|(modality, x)| Ok((*modality, array(x)?))).collect()
}

impl Task for NetworkTask<'_> {
    fn params(&self) -> &Params {
        self.network.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.network.params_mut()
    }

    fn step(&mut self, batch: &Batch, _context: &StepContext) -> Result<StepOutput, TrainError> {
        let inputs = inputs(batch)?;
        let mut teachers = BTreeMap::new();
        for (&modality, teacher) in &self.teachers {
            for (own, features) in teacher.features(&inputs)? {
                if own == modality {
                    teachers.insert(modality, features.to_tensor()?);
                }
            }
        }
        let labels = Tensor::from_slice(&batch.labels, batch.labels.len(), &Device::Cpu).map_err(NnError::from)?;
        let targets = Targets { labels, teachers };
        let objective = &self.objective;
        let result = self.network.train_step(&inputs, &mut |outputs| objective.loss(outputs, &targets))?;
        Ok(StepOutput { loss: result.loss, log: result.log, grads: result.grads })
    }

    fn evaluate(&self, batch: &Batch) -> Result<Evaluation, TrainError> {
        Ok(Evaluation::Logits(self.network.logits(&inputs(batch)?)?))
    }
}
