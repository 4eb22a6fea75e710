//! A network, an objective and frozen teachers, as the training loop wants them.

use crate::Objective;
use crate::objective::{PREFIX, Shape, Targets, loss};
use candle_core::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use umt_fusion::Network;
use umt_media::Modality;
use umt_nn::{Array, NnError, Params};
use umt_train::{EpochContext, Evaluation, Feed, StepContext, StepOutput, Task, TrainError};

/// Trains `network` under `objective`, with frozen teachers where the objective has them.
///
/// Teachers are borrowed immutably and run in evaluation mode: nothing of them can change. They
/// see the very tensor the student sees, augmentation included.
pub struct NetworkTask<'a> {
    network: Network,
    objective: Box<dyn Objective>,
    teachers: Vec<&'a Network>,
}

impl<'a> NetworkTask<'a> {
    /// Adds what the objective learns and remembers to the network, drawn from `seed`. The network must have been built
    /// with the fusion that [`Objective::fusion`] names.
    ///
    /// # Errors
    /// Settings outside their range; a network that the objective has no meaning for; teachers that it would ignore, an
    /// objective without its teachers, two teachers for the features of one modality.
    pub fn new(
        mut network: Network,
        objective: Box<dyn Objective>,
        teachers: Vec<&'a Network>,
        seed: u64,
    ) -> Result<Self, NnError> {
        objective.check()?;
        let needs = objective.needs();
        if needs.any() == teachers.is_empty() {
            let reason = if teachers.is_empty() { "needs teachers" } else { "takes no teachers" };
            return Err(NnError::Unsupported(format!("this objective {reason}")));
        }
        let mut taught = BTreeSet::new();
        let mut modalities = teachers.iter().flat_map(|teacher| teacher.modalities());
        if let Some(modality) = modalities.find(|modality| !taught.insert(*modality)).filter(|_| needs.features) {
            return Err(NnError::Unsupported(format!("two teachers for the features of {modality}")));
        }
        let shape = Shape { widths: network.shapes().widths(), classes: network.shapes().classes };
        let mut rng = umt_random::stream(seed, "init.objective", 0, 0);
        objective.init(network.params_mut(), &shape, &mut rng)?;
        Ok(Self { network, objective, teachers })
    }

    /// The trained network, without what belongs to the objective.
    pub fn into_network(mut self) -> Network {
        self.network.params_mut().retain(|name| !name.starts_with(PREFIX));
        self.network
    }

    /// Labels, and what the teachers say of the same inputs.
    fn targets(&self, batch: &Feed) -> Result<Targets, NnError> {
        let labels = Tensor::from_slice(&batch.labels, batch.labels.len(), &self.params().device().candle())?;
        let mut targets = Targets::of(labels);
        let needs = self.objective.needs();
        for teacher in &self.teachers {
            let mut encoded = teacher.encode_with(&self.objective.maps(), batch.inputs())?;
            if needs.logits {
                targets.logits.push(teacher.classify(&encoded)?.to_tensor()?);
            }
            if needs.features {
                targets.teachers.append(&mut encoded.features);
                targets.maps.append(&mut encoded.maps);
            }
        }
        Ok(targets)
    }
}

/// The share of each encoder in the norms of all encoders' gradients, as `gradient-share.<modality>`; nothing for one.
fn gradient_shares(modalities: &[Modality], squares: &BTreeMap<String, f64>) -> Vec<(String, f32)> {
    if modalities.len() < 2 {
        return Vec::new();
    }
    let norm = |modality: &Modality| {
        let prefix = format!("encoder.{modality}.");
        let own = squares.iter().filter(|(name, _)| name.starts_with(&prefix));
        own.map(|(_, sum)| sum).sum::<f64>().sqrt()
    };
    let norms: Vec<f64> = modalities.iter().map(norm).collect();
    let total: f64 = norms.iter().sum();
    if total.is_nan() || total <= 0.0 {
        return Vec::new();
    }
    let named = |(modality, norm): (&Modality, f64)| (format!("gradient-share.{modality}"), (norm / total) as f32);
    modalities.iter().zip(norms).map(named).collect()
}

impl Task for NetworkTask<'_> {
    fn params(&self) -> &Params {
        self.network.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.network.params_mut()
    }

    fn step(&mut self, batch: &Feed, context: &StepContext) -> Result<StepOutput, TrainError> {
        let targets = self.targets(batch)?;
        let all: Vec<Modality> = self.network.modalities().collect();
        let objective = self.objective.as_ref();
        let encoders = objective.encoders(&all, context);
        let running = |modality| encoders.contains(&modality);
        let result = self.network.train_step_of(&running, &objective.maps(), batch.inputs(), &mut |outputs| {
            loss(objective, outputs.clone(), &targets, *context)
        })?;
        Ok(StepOutput { loss: result.loss, log: result.log, grads: result.grads })
    }

    fn figures(&self, squares: &BTreeMap<String, f64>) -> Vec<(String, f32)> {
        let all: Vec<Modality> = self.network.modalities().collect();
        gradient_shares(&all, squares)
    }

    fn evaluate(&self, batch: &Feed) -> Result<Evaluation, TrainError> {
        Ok(Evaluation::Logits(self.network.logits(batch.inputs())?))
    }

    fn end_of_epoch(&self, context: &EpochContext<'_>) -> Result<Option<Vec<(String, Array)>>, TrainError> {
        self.objective.end_of_epoch(&self.network, context)
    }
}
