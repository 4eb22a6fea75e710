//! Negative log-likelihood, the cross-entropy of the true class.

use super::Metric;
use crate::{EvalError, Scores};

/// `-1/n sum_i log softmax(logits_i)[label_i]`, in nats.
pub struct NegativeLogLikelihood;

impl Metric for NegativeLogLikelihood {
    fn id(&self) -> &'static str {
        "nll"
    }

    fn heading(&self) -> &'static str {
        "NLL"
    }

    fn of_samples(&self, scores: &Scores) -> Result<f64, EvalError> {
        let rows = scores.log_probabilities().chunks_exact(scores.classes());
        let sum: f64 = rows.zip(scores.labels()).map(|(row, label)| row[*label as usize]).sum();
        // 0 - x rather than -x: certainty is 0, not -0.
        Ok(0.0 - sum / scores.samples() as f64)
    }

    fn is_fraction(&self) -> bool {
        false
    }

    fn is_reported(&self) -> bool {
        false
    }

    fn higher_is_better(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_logarithm_of_the_classes() {
        let scores = Scores::new(&[7.0; 10], 5, &[0, 4]).unwrap();
        assert!((NegativeLogLikelihood.of_samples(&scores).unwrap() - 5f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn confident_mistakes_cost_their_margin() {
        let scores = Scores::new(&[1e4, -1e4], 2, &[1]).unwrap();
        assert_eq!(NegativeLogLikelihood.of_samples(&scores).unwrap(), 2e4);
    }
}
