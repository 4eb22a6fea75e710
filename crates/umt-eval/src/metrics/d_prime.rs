//! d-prime: separability expressed in standard deviations.

use super::Metric;
use crate::normal::probit;
use crate::{EvalError, Scores, ranking};

/// `sqrt(2) probit(mean AUC)`, the AUC of each class against the rest averaged over the classes
/// that occur, ties counted one half (VGGSound's evaluation; `roc_auc_score` of scikit-learn).
///
/// A mean AUC of exactly 1 (or 0) would make it infinite. It is then read as if half a pair of the
/// class with the most pairs were in the wrong order, the smallest flaw the samples can show, so
/// that any other value stays what it is.
pub struct DPrime;

impl Metric for DPrime {
    fn id(&self) -> &'static str {
        "dprime"
    }

    fn heading(&self) -> &'static str {
        "d-prime"
    }

    fn of_samples(&self, scores: &Scores) -> Result<f64, EvalError> {
        let classes = ranking::per_class(scores, "d-prime")?;
        let count = classes.len() as f64;
        let mean = classes.iter().map(|c| c.auc).sum::<f64>() / count;
        let most = classes.iter().map(|c| c.pairs).fold(0.0, f64::max);
        let smallest = 0.5 / (most * count);
        Ok(std::f64::consts::SQRT_2 * probit(mean.clamp(smallest, 1.0 - smallest)))
    }

    fn is_fraction(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_zero() {
        let scores = Scores::new(&[1.0; 8], 2, &[0, 1, 0, 1]).unwrap();
        assert_eq!(DPrime.of_samples(&scores).unwrap(), 0.0);
    }

    #[test]
    fn perfection_is_finite_and_symmetric() {
        let logits = [2.0, 0.0, 0.0, 2.0];
        let right = DPrime.of_samples(&Scores::new(&logits, 2, &[0, 1]).unwrap()).unwrap();
        let wrong = DPrime.of_samples(&Scores::new(&logits, 2, &[1, 0]).unwrap()).unwrap();
        assert!((right + wrong).abs() < 1e-12);
        // AUC 3/4: sqrt(2) 0.6744897501960817
        assert!((right - 0.9538725524).abs() < 1e-9, "{right}");
    }

    #[test]
    fn one_class_is_refused() {
        let scores = Scores::new(&[1.0; 4], 2, &[1, 1]).unwrap();
        assert!(matches!(DPrime.of_samples(&scores), Err(EvalError::OneClass { .. })));
    }
}
