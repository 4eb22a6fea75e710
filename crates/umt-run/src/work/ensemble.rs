//! A stage that averages the probabilities of finished ones.

use super::Work;
use crate::done::Done;
use crate::error::RunError;
use crate::folder::predictions_file;
use crate::record::Record;
use std::collections::BTreeMap;
use umt_data::Split;
use umt_eval::{EvalError, Predictions, ensemble};
use umt_recipe::EnsembleWeights;

impl Work<'_> {
    pub(super) fn ensemble(&mut self, weighting: EnsembleWeights) -> Result<Record, RunError> {
        let (mut files, mut figures, mut output) = (BTreeMap::new(), Vec::new(), String::new());
        let mut weights = vec![1.0 / self.parents.len().max(1) as f64; self.parents.len()];
        for split in [Split::Validation, Split::Test] {
            let name = predictions_file(split);
            let members: Vec<&Done> =
                self.parents.iter().copied().filter(|p| p.record.files.contains_key(&name)).collect();
            if members.len() < self.parents.len() {
                if weighting == EnsembleWeights::Validation && split == Split::Validation {
                    return Err(RunError::Usage(format!(
                        "stage `{}` fits its weights on validation, of which its members have no predictions (`refit`)",
                        self.node.unit.id
                    )));
                }
                continue;
            }
            let read: Vec<Predictions> =
                members.iter().map(|p| self.predictions_of(p, split)).collect::<Result<_, _>>()?;
            let Some(first) = read.first() else { continue };
            if let Some(other) = read.iter().find(|p| p.ids() != first.ids()) {
                let (expected, got) = (first.ids().len(), other.ids().len());
                return Err(self.eval(EvalError::Shape { what: "samples of the ensemble's members", expected, got }));
            }
            let logits: Vec<&[f32]> = read.iter().map(Predictions::logits).collect();
            if weighting == EnsembleWeights::Validation && split == Split::Validation {
                weights = ensemble::fit_weights(&logits, first.classes(), first.labels()).map_err(|e| self.eval(e))?;
            }
            let mean = ensemble::log_probabilities(&logits, first.classes(), &weights).map_err(|e| self.eval(e))?;
            let all = Predictions::new(first.ids().to_vec(), first.labels().to_vec(), first.classes(), mean)
                .map_err(|e| self.eval(e))?;
            output = self.predictions(&mut files, &mut figures, split, &all)?;
        }
        let names = self.parents.iter().zip(&weights).map(|(p, w)| match weighting {
            EnsembleWeights::Equal => p.node.unit.id.clone(),
            EnsembleWeights::Validation => format!("{w:.3} {}", p.node.unit.id),
        });
        let note = format!("mean of the probabilities of {}", names.collect::<Vec<_>>().join(", "));
        let mix = self.parents.iter().map(|p| p.node.unit.id.clone()).zip(weights).collect();
        Ok(Record { note, mix, ..self.record(figures, files, output) })
    }
}
