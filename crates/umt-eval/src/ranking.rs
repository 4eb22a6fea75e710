//! One class against the rest: what follows from the order of the samples.

use rayon::prelude::*;

use crate::{EvalError, Scores};

/// What the ranking of all samples by one class's score says.
pub(crate) struct Ranking {
    /// Step-wise area under precision over recall.
    pub average_precision: f64,
    /// Probability that a positive outranks a negative, ties counted one half.
    pub auc: f64,
    /// Number of (positive, negative) pairs.
    pub pairs: f64,
}

/// Rankings of the classes that occur among the labels, in order of class.
///
/// Samples are ranked by the probability of the class (its logarithm, which orders likewise and
/// saturates less), as VGGSound's evaluation does after its softmax. A class without a single
/// positive has neither figure and is left out.
pub(crate) fn per_class(scores: &Scores, what: &'static str) -> Result<Vec<Ranking>, EvalError> {
    if let Some(label) = scores.only_label() {
        return Err(EvalError::OneClass { what, label });
    }
    let mut present = vec![false; scores.classes()];
    for label in scores.labels() {
        present[*label as usize] = true;
    }
    let classes: Vec<usize> = (0..scores.classes()).filter(|c| present[*c]).collect();
    let log_probabilities = scores.log_probabilities();
    Ok(classes
        .par_iter()
        .map(|class| {
            let column = log_probabilities.iter().skip(*class).step_by(scores.classes());
            let samples =
                column.zip(scores.labels()).map(|(score, label)| (*score, *label as usize == *class)).collect();
            rank(samples)
        })
        .collect())
}

/// Ranks samples of (score, is positive); there must be positives and negatives.
fn rank(mut samples: Vec<(f64, bool)>) -> Ranking {
    samples.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let positives = samples.iter().filter(|s| s.1).count() as f64;
    let negatives = samples.len() as f64 - positives;
    let (mut hits, mut misses) = (0.0, 0.0);
    let (mut average_precision, mut won) = (0.0, 0.0);
    // Samples with equal scores are one step: their order carries no information.
    for tied in samples.chunk_by(|a, b| a.0 == b.0) {
        let p = tied.iter().filter(|s| s.1).count() as f64;
        let n = tied.len() as f64 - p;
        won += p * (negatives - misses - n) + 0.5 * p * n;
        hits += p;
        misses += n;
        average_precision += p / positives * hits / (hits + misses);
    }
    let pairs = positives * negatives;
    Ranking { average_precision, auc: won / pairs, pairs }
}
