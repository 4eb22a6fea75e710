//! One pass of a segmentation network over a split: the pixels of each picture, counted.

use crate::pass::{PassError, Shift, over};
use std::collections::BTreeMap;
use umt_data::{LabelMaps, Loader};
use umt_distill::predicted_map;
use umt_eval::{Confusion, EvalError, tallies::Tallies};
use umt_fusion::Segmenter;

/// What a network says of a split, each prediction at its label's own size.
pub(crate) struct Segmented {
    /// All pixels.
    pub confusion: Confusion,
    /// What each picture adds, in the order of the list.
    pub tallies: Tallies,
}

impl Segmented {
    /// From each picture's own counts, by its place in the list.
    pub fn of(classes: usize, pictures: &BTreeMap<usize, Confusion>) -> Result<Self, EvalError> {
        let mut all = Self { confusion: Confusion::new(classes), tallies: Tallies::new(classes) };
        for own in pictures.values() {
            all.confusion.merge(own)?;
            all.tallies.add(own)?;
        }
        Ok(all)
    }
}

/// Evaluation mode throughout: nothing of the network changes. `known` gives for each class of the set its number in the
/// network.
pub(crate) fn run(
    network: &Segmenter,
    loader: &Loader,
    known: &[u32],
    stopped: &dyn Fn() -> bool,
) -> Result<Segmented, PassError> {
    let classes = network.config().classes;
    let mut number = [LabelMaps::VOID; 256];
    number.iter_mut().zip(known).for_each(|(number, class)| *number = *class as u8);
    let mut pictures = BTreeMap::new();
    let mut wrong = None;
    over(loader, &Shift::default(), &network.params().device(), stopped, |batch| {
        let logits = network.predict(batch.inputs())?;
        let Some(maps) = &batch.maps else { return Ok(()) };
        let size = [maps.shape[1], maps.shape[2]];
        for (i, &index) in batch.indices.iter().enumerate() {
            let predicted = predicted_map(&logits, i, size)?;
            let truth: Vec<u8> = maps.map(i).iter().map(|&class| number[usize::from(class)]).collect();
            let mut own = Confusion::new(classes);
            if let Err(error) = own.add_maps(&truth, &predicted, LabelMaps::VOID) {
                wrong.get_or_insert(error);
            }
            pictures.insert(index, own);
        }
        Ok(())
    })?;
    if let Some(error) = wrong {
        return Err(PassError::Eval(error));
    }
    Segmented::of(classes, &pictures).map_err(PassError::Eval)
}
