//! Mean average precision, one class against the rest.

use super::Metric;
use crate::{EvalError, Scores, ranking};

/// Mean over the classes that occur of `AP = sum_n (R_n - R_(n-1)) P_n`, where the steps n run over
/// the distinct scores from the highest down and P, R are precision and recall at that step: no
/// interpolation, tied samples form one step (scikit-learn's `average_precision_score`, `macro`).
pub struct MeanAveragePrecision;

impl Metric for MeanAveragePrecision {
    fn id(&self) -> &'static str {
        "map"
    }

    fn heading(&self) -> &'static str {
        "mAP"
    }

    fn of_samples(&self, scores: &Scores) -> Result<f64, EvalError> {
        let classes = ranking::per_class(scores, "mean average precision")?;
        Ok(classes.iter().map(|c| c.average_precision).sum::<f64>() / classes.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_by_hand() {
        // Class 0 ranks (+, -, +): AP = (1 + 2/3) / 2 = 5/6. Class 1 ranks (-, +, -): AP = 1/2.
        let logits = [3.0, 0.0, 1.0, 0.0, 2.0, 0.0];
        let scores = Scores::new(&logits, 2, &[0, 0, 1]).unwrap();
        let value = MeanAveragePrecision.of_samples(&scores).unwrap();
        assert!((value - (5.0 / 6.0 + 0.5) / 2.0).abs() < 1e-12, "{value}");
    }

    #[test]
    fn a_class_that_does_not_occur_is_left_out_and_one_class_is_refused() {
        let logits = [3.0, 0.0, -1.0, 0.0, 3.0, 1.0];
        let two = Scores::new(&logits, 3, &[0, 1]).unwrap();
        assert_eq!(MeanAveragePrecision.of_samples(&two).unwrap(), 1.0);
        let one = Scores::new(&logits, 3, &[1, 1]).unwrap();
        assert!(matches!(MeanAveragePrecision.of_samples(&one), Err(EvalError::OneClass { label: 1, .. })));
    }
}
