//! The pixels of a split, counted.

use std::collections::BTreeMap;
use umt_eval::{Confusion, EvalError, tallies::Tallies};

/// Predictions of a split, counted.
pub(crate) struct Segmented {
    /// All pixels.
    pub confusion: Confusion,
    /// What each image adds, in the order of the list.
    pub tallies: Tallies,
}

impl Segmented {
    /// From each image's own counts, by its position in the list.
    pub fn of(classes: usize, images: &BTreeMap<usize, Confusion>) -> Result<Self, EvalError> {
        let mut all = Self { confusion: Confusion::new(classes), tallies: Tallies::new(classes) };
        for own in images.values() {
            all.confusion.merge(own)?;
            all.tallies.add(own)?;
        }
        Ok(all)
    }
}
