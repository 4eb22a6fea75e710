//! How the losses of finished stages went, for an objective that is measured on them.

use crate::error::RecipeError;
use crate::folder::read;
use crate::work::Parent;
use serde_json::Value;
use std::collections::BTreeMap;
use umt_distill::{JOINT, Losses};

/// Losses after the first epoch and after the last, by modality; of the stage with several, under [`JOINT`].
pub(crate) fn courses(parents: &[Parent<'_>]) -> Result<BTreeMap<String, [Losses; 2]>, RecipeError> {
    let mut courses = BTreeMap::new();
    for parent in parents {
        let name = match parent.node.unit.modalities.as_slice() {
            [one] => one.name(),
            _ => JOINT,
        };
        let bytes = read(&parent.dir.join("metrics.jsonl"))?;
        let rows: Vec<Losses> = String::from_utf8_lossy(&bytes).lines().filter_map(losses).collect();
        let (Some(first), Some(last), true) = (rows.first(), rows.last(), rows.len() > 1) else {
            let id = &parent.node.unit.id;
            let message = format!("stage `{id}` has not validated in two epochs, so nothing can be measured on it");
            return Err(RecipeError::Usage(message));
        };
        courses.insert(name.to_owned(), [*first, *last]);
    }
    Ok(courses)
}

fn losses(line: &str) -> Option<Losses> {
    let row: Value = serde_json::from_str(line).ok()?;
    Some(Losses { train: row["loss"].as_f64()?, validation: row["validation"]["loss"].as_f64()? })
}
