//! The uni-modal ensemble (UME): several models' probabilities, averaged.
//!
//! `p(c | x) = 1/M sum_m softmax(logits_m(x))_c`, equal weights, nothing trained (Du et al.,
//! "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning", arXiv 2305.01233).

use crate::EvalError;
use crate::scores::{check_rows, log_softmax_into};

/// The logarithm of `sum_m weights[m] softmax(logits_m)`, `[samples, classes]`: finite for finite logits, and therefore
/// fit to be used as the logits of the ensemble by every metric. Weights are non-negative and sum to 1.
///
/// # Errors
/// [`EvalError::Empty`] without members, samples or classes, [`EvalError::Shape`] when members differ in length, rows are
/// not whole or weights are not as many, [`EvalError::NonFinite`] for NaN or infinity.
pub fn log_probabilities(members: &[&[f32]], classes: usize, weights: &[f64]) -> Result<Vec<f32>, EvalError> {
    let logs = logs(members, classes)?;
    if weights.len() != members.len() {
        return Err(EvalError::Shape { what: "ensemble weights", expected: members.len(), got: weights.len() });
    }
    let value = |i: usize| {
        let max = logs.iter().map(|log| log[i]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().zip(weights).map(|(log, w)| w * (log[i] - max).exp()).sum();
        // A member of weight 0 may be the only one that gives a class any probability.
        (max + sum.max(f64::MIN_POSITIVE).ln()) as f32
    };
    Ok((0..logs[0].len()).map(value).collect())
}

/// Rounds of [`fit_weights`]; each can only raise the likelihood.
const ROUNDS: usize = 500;

/// The weights, non-negative and of sum 1, under which the labels are most likely: the mixture weights of
/// expectation-maximisation, `w_m <- mean_i w_m p_m(y_i) / sum_k w_k p_k(y_i)`, from equal ones. The likelihood is concave
/// in them, so there is one answer.
///
/// # Errors
/// As [`log_probabilities`]; [`EvalError::Shape`] when labels are not as many as samples.
pub fn fit_weights(members: &[&[f32]], classes: usize, labels: &[u32]) -> Result<Vec<f64>, EvalError> {
    let logs = logs(members, classes)?;
    let samples = logs[0].len() / classes;
    if labels.len() != samples {
        return Err(EvalError::Shape { what: "labels of an ensemble", expected: samples, got: labels.len() });
    }
    let mut weights = vec![1.0 / members.len() as f64; members.len()];
    for _ in 0..ROUNDS {
        let mut next = vec![0.0; weights.len()];
        for (i, &label) in labels.iter().enumerate() {
            let at = i * classes + (label as usize).min(classes - 1);
            // Relative to the largest, so that logits of any size stay within what a float can hold.
            let max = logs.iter().map(|log| log[at]).fold(f64::NEG_INFINITY, f64::max);
            let share: Vec<f64> = logs.iter().zip(&weights).map(|(log, w)| w * (log[at] - max).exp()).collect();
            let sum: f64 = share.iter().sum();
            if sum > 0.0 {
                next.iter_mut().zip(share).for_each(|(next, s)| *next += s / sum);
            }
        }
        let sum: f64 = next.iter().sum();
        if sum <= 0.0 {
            break;
        }
        weights = next.into_iter().map(|w| w / sum).collect();
    }
    Ok(weights)
}

/// The log-probabilities of each member.
fn logs(members: &[&[f32]], classes: usize) -> Result<Vec<Vec<f64>>, EvalError> {
    let first = members.first().ok_or(EvalError::Empty { what: "ensemble" })?;
    let samples = first.len().checked_div(classes).unwrap_or(0);
    members
        .iter()
        .map(|member| {
            check_rows("ensemble member's logits", member, classes, samples)?;
            let mut log = Vec::with_capacity(member.len());
            member.chunks_exact(classes).for_each(|row| log_softmax_into(row, &mut log));
            Ok(log)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scores, metrics};

    #[test]
    fn averages_probabilities_not_logits() {
        // softmax(0, ln 3) = (1/4, 3/4); softmax(ln 9, 0) = (9/10, 1/10).
        let (a, b) = ([0.0, 3f32.ln()], [9f32.ln(), 0.0]);
        let log = log_probabilities(&[&a, &b], 2, &[0.5, 0.5]).unwrap();
        assert!((log[0].exp() - 0.575).abs() < 1e-6 && (log[1].exp() - 0.425).abs() < 1e-6);
        let log = log_probabilities(&[&a, &b], 2, &[0.0, 1.0]).unwrap();
        assert!((log[0].exp() - 0.9).abs() < 1e-6);
    }

    #[test]
    fn one_member_is_itself_and_extremes_stay_finite() {
        let logits = [1e4, -1e4, 0.0, -1e4, 1e4, 2.0];
        let log = log_probabilities(&[&logits, &logits], 3, &[0.5, 0.5]).unwrap();
        let own = Scores::new(&log, 3, &[0, 1]).unwrap();
        assert_eq!(metrics::top_k::top_k(&own, 1).unwrap(), 1.0);
        assert!((log[1] + 2e4).abs() < 1e-2);
    }

    #[test]
    fn refuses_members_that_differ() {
        assert_eq!(log_probabilities(&[], 2, &[]), Err(EvalError::Empty { what: "ensemble" }));
        assert!(matches!(log_probabilities(&[&[1.0, 2.0], &[1.0; 4]], 2, &[0.5; 2]), Err(EvalError::Shape { .. })));
        assert!(matches!(log_probabilities(&[&[1.0, 2.0, 3.0]], 2, &[1.0]), Err(EvalError::Shape { .. })));
    }

    #[test]
    fn fitted_weights_are_the_most_likely_ones() {
        // Member a gives the label 0.9 on three samples of four and 0.2 on the last; b always 0.6. By hand: the
        // derivative of 3 ln(0.6 + 0.3 w) + ln(0.6 - 0.4 w) vanishes at w = 0.625.
        let row = |p: f32| [p.ln(), (1.0 - p).ln()];
        let a: Vec<f32> = [0.9, 0.9, 0.9, 0.2].into_iter().flat_map(row).collect();
        let b: Vec<f32> = [0.6; 4].into_iter().flat_map(row).collect();
        let w = fit_weights(&[&a, &b], 2, &[0; 4]).unwrap();
        assert!((w[0] - 0.625).abs() < 1e-3 && (w[0] + w[1] - 1.0).abs() < 1e-12, "{w:?}");
        assert!(fit_weights(&[&a, &b], 2, &[0; 3]).is_err());
        let huge = [1e4, -1e4, 1e4, -1e4, 1e4, -1e4, 1e4, -1e4];
        assert!(fit_weights(&[&huge, &b], 2, &[1; 4]).unwrap().iter().all(|w| w.is_finite()));
    }
}
