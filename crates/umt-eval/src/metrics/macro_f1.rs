//! Macro F1: the harmonic mean of precision and recall, averaged over classes.

use super::Metric;
use crate::{Confusion, EvalError, Scores};

/// Mean of `2 TP / (support + predicted)` over the classes that occur among labels or predictions
/// (scikit-learn's `f1_score(average="macro")`).
pub struct MacroF1;

impl Metric for MacroF1 {
    fn id(&self) -> &'static str {
        "macro-f1"
    }

    fn heading(&self) -> &'static str {
        "macro F1"
    }

    fn of_samples(&self, scores: &Scores) -> Result<f64, EvalError> {
        let confusion = Confusion::of(scores);
        let (mut sum, mut classes) = (0.0, 0.0);
        for class in 0..confusion.classes() {
            let named = confusion.support(class) + confusion.predicted(class);
            if named > 0 {
                sum += 2.0 * confusion.hits(class) as f64 / named as f64;
                classes += 1.0;
            }
        }
        Ok(sum / classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_classes_do_not_count() {
        // Predictions 0, 0, 1 for labels 0, 1, 1: F1 = 2/3 and 2/3; class 2 never occurs.
        let logits = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let scores = Scores::new(&logits, 3, &[0, 1, 1]).unwrap();
        assert!((MacroF1.of_samples(&scores).unwrap() - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_class_predicted_but_absent_counts_as_zero() {
        let scores = Scores::new(&[0.0, 1.0, 1.0, 0.0], 2, &[0, 0]).unwrap();
        assert!((MacroF1.of_samples(&scores).unwrap() - (2.0 / 3.0) / 2.0).abs() < 1e-12);
    }
}
