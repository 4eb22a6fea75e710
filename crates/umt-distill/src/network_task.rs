//! A network, an objective and frozen teachers, as the training loop wants them.

use crate::objective::{PREFIX, Shape, Targets, loss};
use crate::pixels::{confusion, maps_of};
use crate::{Labels, Objective, PixelLoss};
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
    pixels: PixelLoss,
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
        if let Some(teacher) = teachers.iter().find(|teacher| teacher.is_dense() != network.is_dense()) {
            let all: Vec<&str> = teacher.modalities().map(|m| m.name()).collect();
            let reason =
                format!("the teacher of {} and its student do not classify the same, samples or pixels", all.join("+"));
            return Err(NnError::Unsupported(reason));
        }
        if needs.alone {
            let alone: BTreeSet<Modality> = teachers.iter().filter_map(|teacher| only(teacher)).collect();
            if let Some(modality) = network.modalities().find(|modality| !alone.contains(modality)) {
                return Err(NnError::Unsupported(format!(
                    "no teacher has {modality} alone, which the objective needs"
                )));
            }
        }
        let (widths, classes) = (network.shapes().widths(), network.shapes().classes);
        let shape = Shape { widths, classes, dense: network.is_dense() };
        let mut rng = umt_random::stream(seed, "init.objective", 0, 0);
        objective.init(network.params_mut(), &shape, &mut rng)?;
        Ok(Self { network, objective, teachers, pixels: PixelLoss::default() })
    }

    /// How pixels count in the loss of a network with a decoder.
    ///
    /// # Errors
    /// Those of [`PixelLoss::check`].
    pub fn with_pixel_loss(self, pixels: PixelLoss) -> Result<Self, NnError> {
        pixels.check(self.network.shapes().classes)?;
        Ok(Self { pixels, ..self })
    }

    /// The trained network, without what belongs to the objective.
    pub fn into_network(mut self) -> Network {
        self.network.params_mut().retain(|name| !name.starts_with(PREFIX));
        self.network
    }

    /// Labels, and what the teachers yield for the same inputs.
    fn targets(&self, batch: &Feed) -> Result<Targets, NnError> {
        let labels = match self.network.is_dense() {
            true => Labels::Pixels { maps: maps_of(batch)?.clone(), loss: self.pixels.clone() },
            false => {
                let device = self.params().device().candle();
                Labels::Samples(Tensor::from_slice(&batch.labels, batch.labels.len(), &device)?)
            }
        };
        let mut targets = Targets::without_teacher(labels);
        let (needs, stages) = (self.objective.needs(), self.objective.maps());
        for teacher in &self.teachers {
            let features = needs.features && stages.is_empty();
            let mut encoded = features.then(|| teacher.encode(batch.inputs())).transpose()?;
            if needs.logits || needs.alone {
                // Of features that are there anyway, logits need no further pass.
                let logits = match &encoded {
                    Some(encoded) if !teacher.is_dense() => teacher.classify(encoded)?,
                    _ => teacher.logits(batch.inputs())?,
                };
                let logits = logits.to_tensor()?;
                targets.alone.extend(only(teacher).map(|modality| (modality, logits.clone())));
                targets.logits.push(logits);
            }
            if let Some(encoded) = &mut encoded {
                targets.teachers.append(&mut encoded.features);
            }
            if needs.features && !stages.is_empty() {
                targets.maps.append(&mut teacher.maps(batch.inputs(), &stages)?);
            }
        }
        Ok(targets)
    }
}

/// The modality of a network that has one.
fn only(network: &Network) -> Option<Modality> {
    let mut all = network.modalities();
    all.next().filter(|_| all.next().is_none())
}

/// The share of each encoder in the norms of all encoders' gradients, as `gradient-share.<modality>`; nothing for one.
fn gradient_shares(network: &Network, squares: &BTreeMap<String, f64>) -> Vec<(String, f32)> {
    let modalities: Vec<Modality> = network.modalities().collect();
    if modalities.len() < 2 {
        return Vec::new();
    }
    let norm = |modality: &Modality| {
        let prefix = network.prefix(*modality);
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
            loss(objective, outputs, &targets, *context)
        })?;
        Ok(StepOutput { loss: result.loss, log: result.log, grads: result.grads, squares: result.squares })
    }

    fn figures(&self, squares: &BTreeMap<String, f64>) -> Vec<(String, f32)> {
        gradient_shares(&self.network, squares)
    }

    /// Predictions of pixels are resized bilinearly to their labels' own size.
    fn evaluate(&self, batch: &Feed) -> Result<Evaluation, TrainError> {
        let logits = self.network.logits(batch.inputs())?;
        if !self.network.is_dense() {
            return Ok(Evaluation::Logits(logits));
        }
        let (counts, loss) = confusion(&logits, maps_of(batch)?, &batch.ids)?;
        Ok(Evaluation::Pixels { counts, loss })
    }

    fn end_of_epoch(&self, context: &EpochContext<'_>) -> Result<Option<Vec<(String, Array)>>, TrainError> {
        self.objective.end_of_epoch(&self.network, context)
    }
}
