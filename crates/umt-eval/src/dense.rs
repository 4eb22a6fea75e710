//! Figures of label maps, all from one confusion matrix over every pixel of a split.
//!
//! A mean over pictures is another figure; the field's published ones are over the whole split.
//! Pixels without a class are left out when they are counted ([`Confusion::add_maps`]).
//!
//! ```
//! use umt_eval::{Confusion, dense};
//!
//! let mut confusion = Confusion::new(3);
//! confusion.add_maps(&[0, 0, 1, 1, 255], &[0, 1, 1, 1, 2], 255)?;
//! // Class 0: 1 of 2; class 1: 2 of 3; class 2 is nowhere and counts nowhere.
//! assert_eq!(dense::by_id("miou")?.value(&confusion)?, (1.0 / 2.0 + 2.0 / 3.0) / 2.0);
//! assert_eq!(dense::by_id("pixel-accuracy")?.value(&confusion)?, 0.75);
//! # Ok::<(), umt_eval::EvalError>(())
//! ```

use crate::{Confusion, EvalError};

/// A figure over the pixels of a split, 0 to 1.
pub struct DenseMetric {
    id: &'static str,
    of: fn(&Confusion) -> Option<f64>,
}

/// Every figure, in the order of a table.
pub const METRICS: [DenseMetric; 3] = [
    DenseMetric { id: "miou", of: mean_iou },
    DenseMetric { id: "pixel-accuracy", of: pixel_accuracy },
    DenseMetric { id: "mean-accuracy", of: mean_accuracy },
];

impl DenseMetric {
    /// Its name in recipes and results.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// Its value.
    ///
    /// # Errors
    /// [`EvalError::Empty`] where no pixel was counted.
    pub fn value(&self, confusion: &Confusion) -> Result<f64, EvalError> {
        (self.of)(confusion).ok_or(EvalError::Empty { what: self.id })
    }
}

/// The figure of this name.
///
/// # Errors
/// [`EvalError::UnknownMetric`], which lists all names.
pub fn by_id(id: &str) -> Result<&'static DenseMetric, EvalError> {
    METRICS.iter().find(|metric| metric.id == id).ok_or_else(|| EvalError::UnknownMetric {
        name: id.to_owned(),
        known: METRICS.iter().map(DenseMetric::id).collect::<Vec<_>>().join(", "),
    })
}

/// Intersection over union of each class; `None` for those that are neither there nor predicted.
pub fn class_iou(confusion: &Confusion) -> Vec<Option<f64>> {
    let of = |class| {
        let hits = confusion.hits(class);
        let union = confusion.support(class) + confusion.predicted(class) - hits;
        (union > 0).then(|| hits as f64 / union as f64)
    };
    (0..confusion.classes()).map(of).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

fn mean_iou(confusion: &Confusion) -> Option<f64> {
    mean(class_iou(confusion).into_iter().flatten())
}

fn pixel_accuracy(confusion: &Confusion) -> Option<f64> {
    let all: u64 = confusion.counts().iter().sum();
    let hits: u64 = (0..confusion.classes()).map(|class| confusion.hits(class)).sum();
    (all > 0).then(|| hits as f64 / all as f64)
}

/// Over the classes that are there.
fn mean_accuracy(confusion: &Confusion) -> Option<f64> {
    let of = |class| {
        let support = confusion.support(class);
        (support > 0).then(|| confusion.hits(class) as f64 / support as f64)
    };
    mean((0..confusion.classes()).filter_map(of))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn nothing_counted_is_an_error_and_unknown_names_are_listed() {
        let mut confusion = Confusion::new(2);
        confusion.add_maps(&[255; 4], &[0; 4], 255).unwrap();
        for metric in &METRICS {
            assert_eq!(metric.value(&confusion), Err(EvalError::Empty { what: metric.id() }));
        }
        let error = by_id("iou").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("miou, pixel-accuracy, mean-accuracy"), "{error}");
    }
}
