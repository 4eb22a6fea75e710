//! A stage that is the best of finished ones, chosen on validation.

use super::Work;
use crate::done::SCORES;
use crate::error::RunError;
use crate::record::Record;
use std::collections::BTreeMap;
use umt_data::Split;

impl Work<'_> {
    pub(super) fn auto(&mut self) -> Result<Record, RunError> {
        let mut best = None;
        let mut tried = Vec::new();
        for &parent in &self.parents {
            let id = &parent.node.unit.id;
            self.has_read(parent, SCORES);
            let Some(top1) = parent.record.figure(Split::Validation.name(), "top1") else {
                return Err(RunError::Usage(format!(
                    "stage `{}` chooses on validation, but `{id}` has no validation figure (`refit`, or no held-out sample)",
                    self.node.unit.id
                )));
            };
            tried.push(format!("{id} {:.1} %", 100.0 * top1));
            if best.is_none_or(|(other, _)| top1 > other) {
                best = Some((top1, parent));
            }
        }
        let Some((_, chosen)) = best else {
            return Err(RunError::Usage(format!("stage `{}` has nothing to choose from", self.node.unit.id)));
        };
        let (mut files, mut figures, mut output) = (BTreeMap::new(), Vec::new(), String::new());
        for split in [Split::Validation, Split::Test] {
            let predictions = self.predictions_of(chosen, split)?;
            output = self.predictions(&mut files, &mut figures, split, &predictions)?;
        }
        let note = format!("{}, chosen on validation ({})", chosen.node.unit.id, tried.join(", "));
        let mix = BTreeMap::from([(chosen.node.unit.id.clone(), 1.0)]);
        Ok(Record { note, mix, ..self.record(figures, files, output) })
    }
}
