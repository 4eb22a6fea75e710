//! How the losses of finished stages went, for an objective that is measured on them.

use crate::done::Done;
use crate::error::RunError;
use std::collections::BTreeMap;
use umt_distill::{JOINT, Losses};
use umt_train::EpochRow;

/// Losses before the first epoch and after the last, by modality; of the stage with several, under [`JOINT`].
///
/// An untrained network says the same of each of the `classes`: its loss is their logarithm on both splits. What was
/// measured after the first epoch would not do: running statistics lag behind at a high rate, and the validation loss
/// may stand far above an untrained network's, which reads as overfitting that training then took back.
pub(crate) fn courses(
    parents: &[&Done],
    classes: usize,
    read: &dyn Fn(&Done) -> Result<Vec<u8>, RunError>,
) -> Result<BTreeMap<String, [Losses; 2]>, RunError> {
    let untrained = (classes.max(1) as f64).ln();
    let mut courses = BTreeMap::new();
    for parent in parents {
        let name = match parent.node.unit.modalities.as_slice() {
            [one] => one.name(),
            _ => JOINT,
        };
        let rows = parent.parse_epochs(&read(parent)?)?;
        let losses = |row: &EpochRow| Some(Losses { train: row.loss, validation: row.validation?.loss });
        let Some(last) = rows.iter().filter_map(losses).next_back() else {
            let id = &parent.node.unit.id;
            let message = format!("stage `{id}` has not validated, so nothing can be measured on it");
            return Err(RunError::Usage(message));
        };
        courses.insert(name.to_owned(), [Losses { train: untrained, validation: untrained }, last]);
    }
    Ok(courses)
}
