//! One pass forward and back.

use super::{Pass, Segmenter};
use crate::StepResult;
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{Array, NnError, Tape};

/// What a dense objective sees of a forward pass.
pub struct DenseOutputs {
    /// Logits `[n, h, w, classes]` at 1/1, 1/8, 1/16 and 1/32 of the input's size (rounded up).
    pub logits: Vec<Array>,
    /// Each encoder's maps before each fusion point, the stem's first.
    pub maps: BTreeMap<Modality, Vec<Array>>,
}

/// A loss and its gradients.
pub struct DenseLoss {
    /// The loss.
    pub value: f32,
    /// Named figures of this step.
    pub log: BTreeMap<String, f32>,
    /// Gradient to each of [`DenseOutputs::logits`].
    pub logits: Vec<Array>,
    /// Gradients to maps, by modality and stage.
    pub maps: Vec<(Modality, usize, Array)>,
}

impl Segmenter {
    /// One pass forward and back in training mode. Batch-norm statistics are updated; weights are not, that is the optimiser's part.
    pub fn train_step(
        &mut self,
        inputs: &BTreeMap<Modality, Array>,
        objective: &mut dyn FnMut(&DenseOutputs) -> Result<DenseLoss, NnError>,
    ) -> Result<StepResult, NnError> {
        let mut tape = Tape::train().stop_on(self.params.stop());
        let Pass { logits, maps } = self.forward(&mut tape, inputs)?;
        let statistics = tape.take_statistics();
        let outputs = DenseOutputs {
            logits: logits.iter().map(|x| x.array().clone()).collect(),
            maps: maps.iter().map(|(m, maps)| (*m, maps.iter().map(|x| x.array().clone()).collect())).collect(),
        };
        let loss = objective(&outputs)?;
        drop(outputs);
        if loss.logits.len() != logits.len() {
            let reason = format!("{} gradients for {} outputs", loss.logits.len(), logits.len());
            return Err(NnError::Unsupported(reason));
        }
        let mut seeds: Vec<_> = logits.into_iter().zip(loss.logits).collect();
        for (modality, stage, grad) in loss.maps {
            match maps.get(&modality).and_then(|maps| maps.get(stage)) {
                Some(map) => seeds.push((map.clone(), grad)),
                None => {
                    return Err(NnError::Unsupported(format!(
                        "a gradient for {modality}, stage {stage}, which is not there"
                    )));
                }
            }
        }
        drop(maps);
        let grads = tape.backward(seeds)?.params;
        self.params.update(statistics)?;
        Ok(StepResult { loss: loss.value, log: loss.log, grads })
    }
}
