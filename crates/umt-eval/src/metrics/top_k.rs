//! Top-k accuracy: the share of samples whose true class is among the k largest logits.

use super::Metric;
use crate::{EvalError, Scores};

/// Whether each sample is a hit: its class is among the `k` largest logits.
///
/// Among equal logits the class with the smaller index ranks first, as an arg-max that returns the
/// first maximum does; a constant output thus scores like always naming class 0, and k = 1 agrees
/// with [`Scores::predicted`].
///
/// # Errors
/// [`EvalError::TopK`] unless `1 <= k <= classes`.
pub fn hits(scores: &Scores, k: usize) -> Result<Vec<bool>, EvalError> {
    if k == 0 || k > scores.classes() {
        return Err(EvalError::TopK { k, classes: scores.classes() });
    }
    let hit = |row: &[f32], label: usize| {
        let own = row[label];
        let before = row[..label].iter().filter(|v| **v >= own).count();
        let after = row[label + 1..].iter().filter(|v| **v > own).count();
        before + after < k
    };
    Ok(scores.rows().zip(scores.labels()).map(|(row, label)| hit(row, *label as usize)).collect())
}

/// Share of [`hits`].
///
/// # Errors
/// [`EvalError::TopK`] unless `1 <= k <= classes`.
pub fn top_k(scores: &Scores, k: usize) -> Result<f64, EvalError> {
    let hits = hits(scores, k)?;
    Ok(hits.iter().filter(|h| **h).count() as f64 / hits.len() as f64)
}

/// Top-1 accuracy.
pub struct Top1;

impl Metric for Top1 {
    fn id(&self) -> &'static str {
        "top1"
    }

    fn heading(&self) -> &'static str {
        "top-1"
    }

    fn of_samples(&self, scores: &Scores) -> Result<f64, EvalError> {
        top_k(scores, 1)
    }
}

/// Top-5 accuracy; an error below five classes.
pub struct Top5;

impl Metric for Top5 {
    fn id(&self) -> &'static str {
        "top5"
    }

    fn heading(&self) -> &'static str {
        "top-5"
    }

    fn of_samples(&self, scores: &Scores) -> Result<f64, EvalError> {
        top_k(scores, 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_smaller_class() {
        let logits = [1.0; 9];
        let scores = Scores::new(&logits, 3, &[0, 1, 2]).unwrap();
        assert_eq!(hits(&scores, 1).unwrap(), [true, false, false]);
        assert_eq!(hits(&scores, 2).unwrap(), [true, true, false]);
        assert_eq!(scores.predicted(), [0, 0, 0]);
    }

    #[test]
    fn k_counts_from_one_to_all_classes() {
        let scores = Scores::new(&[3.0, 2.0, 1.0], 3, &[2]).unwrap();
        assert_eq!(top_k(&scores, 3).unwrap(), 1.0);
        assert_eq!(top_k(&scores, 2).unwrap(), 0.0);
        for k in [0, 4] {
            assert_eq!(top_k(&scores, k), Err(EvalError::TopK { k, classes: 3 }));
        }
    }
}
