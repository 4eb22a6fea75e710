//! Mean intersection over union.

use super::{Metric, Reads};
use crate::{Confusion, EvalError};

/// Intersection over union of each class; `None` for those that do not occur in the truth, predicted or not.
pub fn class_iou(confusion: &Confusion) -> Vec<Option<f64>> {
    let of = |class| {
        let hits = confusion.hits(class);
        let union = confusion.support(class) + confusion.predicted(class) - hits;
        (confusion.support(class) > 0).then(|| hits as f64 / union as f64)
    };
    (0..confusion.classes()).map(of).collect()
}

/// The mean of [`class_iou`] over the classes that occur in the truth, as ESANet's code has it (Seichter et al., ICRA 2021): on a whole
/// test split that is every class; a rare class that is missing from a small or drawn one does not count as 0 because some pixel was
/// taken for it.
pub struct MeanIou;

impl Metric for MeanIou {
    fn id(&self) -> &'static str {
        "miou"
    }

    fn heading(&self) -> &'static str {
        "mIoU"
    }

    fn reads(&self) -> Reads {
        Reads::Pixels
    }

    fn of_pixels(&self, confusion: &Confusion) -> Result<f64, EvalError> {
        super::mean(class_iou(confusion).into_iter().flatten()).ok_or(EvalError::Empty { what: self.id() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 2 is predicted and never true: it counts for nothing, and its pixel is an error of class 0.
    #[test]
    fn classes_that_do_not_occur_do_not_count() {
        let mut counts = Confusion::new(4);
        counts.add_maps(&[0, 0, 1, 1, 255], &[0, 2, 1, 1, 2], 255).unwrap();
        assert_eq!(class_iou(&counts), [Some(0.5), Some(1.0), None, None]);
        assert_eq!(MeanIou.of_pixels(&counts).unwrap(), 0.75);
    }

    #[test]
    fn batches_add_up_and_wrong_maps_change_nothing() {
        let (truth, predicted) = ([0, 1, 2, 255, 1, 1], [0, 1, 1, 0, 2, 1]);
        let (mut whole, mut parts) = (Confusion::new(3), Confusion::new(3));
        whole.add_maps(&truth, &predicted, 255).unwrap();
        parts.add_maps(&truth[..2], &predicted[..2], 255).unwrap();
        parts.add_maps(&truth[2..], &predicted[2..], 255).unwrap();
        assert_eq!(whole, parts);
        assert_eq!(class_iou(&whole), [Some(1.0), Some(0.5), Some(0.0)]);
        let error = parts.add_maps(&[0, 3], &[0, 0], 255).unwrap_err();
        assert_eq!(error, EvalError::Label { sample: 1, label: 3, classes: 3 });
        assert!(matches!(parts.add_maps(&[0], &[0, 0], 255), Err(EvalError::Shape { .. })));
        assert_eq!(whole, parts);
    }
}
