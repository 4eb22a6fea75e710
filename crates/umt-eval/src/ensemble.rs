//! The uni-modal ensemble (UME): several models' probabilities, averaged.
//!
//! `p(c | x) = 1/M sum_m softmax(logits_m(x))_c`, equal weights, nothing trained (Du et al.,
//! "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning", arXiv 2305.01233).

use crate::EvalError;
use crate::scores::{check_rows, log_softmax_into};

/// Mean of the softmax of each member's logits, `[samples, classes]`.
///
/// # Errors
/// As [`log_probabilities`].
pub fn probabilities(members: &[&[f32]], classes: usize) -> Result<Vec<f32>, EvalError> {
    Ok(combine(members, classes)?.into_iter().map(|v| v.exp() as f32).collect())
}

/// The logarithm of [`probabilities`]: finite for finite logits, and therefore fit to be used as
/// the logits of the ensemble by every metric.
///
/// # Errors
/// [`EvalError::Empty`] without members, samples or classes, [`EvalError::Shape`] when members
/// differ in length or rows are not whole, [`EvalError::NonFinite`] for NaN or infinity.
pub fn log_probabilities(members: &[&[f32]], classes: usize) -> Result<Vec<f32>, EvalError> {
    Ok(combine(members, classes)?.into_iter().map(|v| v as f32).collect())
}

fn combine(members: &[&[f32]], classes: usize) -> Result<Vec<f64>, EvalError> {
    let first = members.first().ok_or(EvalError::Empty { what: "ensemble" })?;
    let samples = first.len().checked_div(classes).unwrap_or(0);
    let mut logs = Vec::with_capacity(members.len());
    for member in members {
        check_rows("ensemble member's logits", member, classes, samples)?;
        let mut log = Vec::with_capacity(member.len());
        member.chunks_exact(classes).for_each(|row| log_softmax_into(row, &mut log));
        logs.push(log);
    }
    let count = members.len() as f64;
    Ok((0..first.len())
        .map(|i| {
            let max = logs.iter().map(|log| log[i]).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logs.iter().map(|log| (log[i] - max).exp()).sum();
            max + (sum / count).ln()
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scores, metrics};

    #[test]
    fn averages_probabilities_not_logits() {
        // softmax(0, ln 3) = (1/4, 3/4); softmax(ln 9, 0) = (9/10, 1/10).
        let (a, b) = ([0.0, 3f32.ln()], [9f32.ln(), 0.0]);
        let p = probabilities(&[&a, &b], 2).unwrap();
        assert!((p[0] - 0.575).abs() < 1e-6 && (p[1] - 0.425).abs() < 1e-6);
        let log = log_probabilities(&[&a, &b], 2).unwrap();
        assert!((log[0].exp() - p[0]).abs() < 1e-6);
    }

    #[test]
    fn one_member_is_itself_and_extremes_stay_finite() {
        let logits = [1e4, -1e4, 0.0, -1e4, 1e4, 2.0];
        let log = log_probabilities(&[&logits, &logits], 3).unwrap();
        let own = Scores::new(&log, 3, &[0, 1]).unwrap();
        assert_eq!(metrics::top_k::top_k(&own, 1).unwrap(), 1.0);
        assert!((log[1] + 2e4).abs() < 1e-2);
    }

    #[test]
    fn refuses_members_that_differ() {
        assert_eq!(probabilities(&[], 2), Err(EvalError::Empty { what: "ensemble" }));
        assert!(matches!(probabilities(&[&[1.0, 2.0], &[1.0; 4]], 2), Err(EvalError::Shape { .. })));
        assert!(matches!(probabilities(&[&[1.0, 2.0, 3.0]], 2), Err(EvalError::Shape { .. })));
    }
}
