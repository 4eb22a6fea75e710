//! Paired differences where samples come in groups: takes of one speaker, frames of one scene.

use rayon::prelude::*;
use std::collections::BTreeMap;

use crate::EvalError;
use crate::difference::Difference;
use crate::paired::of_draws;

/// As [`crate::paired::bootstrap`], drawing whole groups with replacement (Davison & Hinkley, "Bootstrap Methods and their
/// Application", 1997, section 3.8): samples of one group are alike, so the number of groups says how much is known,
/// not the number of samples. `groups[sample]` numbers the groups.
///
/// ```
/// use umt_eval::{clusters, paired};
/// // 20 groups of 10 alike samples: the interval is that of 20 samples, not of 200.
/// let a = vec![vec![true; 200]];
/// let b = vec![(0..200).map(|i| i / 10 % 4 != 0).collect::<Vec<_>>()];
/// let groups: Vec<u32> = (0..200).map(|i| i / 10).collect();
/// let by_group = clusters::bootstrap(&a, &b, &groups, 1, 2000)?;
/// let by_sample = paired::bootstrap(&a, &b, 1, 2000)?;
/// assert!((by_group.mean - 0.25).abs() < 1e-12 && by_group.n == 200);
/// assert!(by_group.high - by_group.low > 2.5 * (by_sample.high - by_sample.low));
/// # Ok::<(), umt_eval::EvalError>(())
/// ```
///
/// # Errors
/// [`EvalError::Empty`] without seeds, samples or resamples, [`EvalError::Shape`] when numbers of samples differ.
pub fn bootstrap(
    a: &[Vec<bool>],
    b: &[Vec<bool>],
    groups: &[u32],
    seed: u64,
    resamples: usize,
) -> Result<Difference, EvalError> {
    let n = groups.len();
    if n == 0 || a.is_empty() || b.is_empty() || resamples == 0 {
        return Err(EvalError::Empty { what: "paired difference of groups" });
    }
    if let Some(other) = a.iter().chain(b).find(|s| s.len() != n) {
        return Err(EvalError::Shape { what: "paired predictions", expected: n, got: other.len() });
    }
    let rate = |of: &[Vec<bool>], i: usize| of.iter().filter(|s| s[i]).count() as f64 / of.len() as f64;
    // Sum of differences and number of samples of each group, in the order of the numbers.
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (i, &group) in groups.iter().enumerate() {
        let (sum, count) = sums.entry(group).or_default();
        *sum += rate(a, i) - rate(b, i);
        *count += 1.0;
    }
    let sums: Vec<(f64, f64)> = sums.into_values().collect();
    let mean = sums.iter().map(|(sum, _)| sum).sum::<f64>() / n as f64;
    let draw = |resample: usize| {
        let mut rng = umt_random::stream(seed, "bootstrap.groups", 0, resample as u64);
        let (mut sum, mut count) = (0.0, 0.0);
        for _ in 0..sums.len() {
            let drawn = sums[rng.below(sums.len() as u64) as usize];
            sum += drawn.0;
            count += drawn.1;
        }
        sum / count
    };
    let mut means: Vec<f64> = (0..resamples).into_par_iter().map(draw).collect();
    means.sort_unstable_by(f64::total_cmp);
    Ok(of_draws(mean, &means, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of one sample each are the plain bootstrap's case: the normal interval within its noise.
    #[test]
    fn single_samples_as_groups_give_the_plain_width() {
        let a = vec![(0..400).map(|i| i * 37 % 400 < 300).collect::<Vec<bool>>()];
        let b = vec![(0..400).map(|i| i * 37 % 400 < 240).collect::<Vec<bool>>()];
        let groups: Vec<u32> = (0..400).collect();
        let d = bootstrap(&a, &b, &groups, 5, 10_000).unwrap();
        let half = 1.96 * (0.15_f64 * 0.85 / 400.0).sqrt();
        assert!((d.high - d.low - 2.0 * half).abs() < 0.1 * half, "{d:?}");
    }

    #[test]
    fn unequal_samples_are_an_error() {
        assert!(bootstrap(&[vec![true; 3]], &[vec![true; 3]], &[0, 1], 1, 10).is_err());
        assert!(bootstrap(&[], &[vec![true; 2]], &[0, 1], 1, 10).is_err());
    }
}
