//! Paired differences: is stage a better than stage b on the same samples?
//!
//! With several seeds the interval is about other seeds and other samples ([`of_hits`], [`crate::levels`]). With one it is about other samples
//! alone: they are drawn with replacement, and the mean difference of each draw is taken (Efron & Tibshirani, "An Introduction to the Bootstrap",
//! 1993, ch. 13: percentile interval).

use rayon::prelude::*;

use crate::EvalError;
use crate::difference::{Difference, Level};
use crate::levels::two_level;
use crate::summary;

/// Resamples of a reported interval.
pub const RESAMPLES: usize = 10_000;

/// Bootstraps the difference in accuracy; `a[seed][sample]` and `b[seed][sample]` tell whether the
/// prediction was right (such as [`crate::metrics::top_k::hits`]), samples in the same order
/// throughout. The random stream is `("bootstrap", 0, resample)` of `seed`, so the result depends
/// neither on threads nor on other calls.
///
/// ```
/// use umt_eval::paired;
/// // 100 samples, two seeds: a is right on all, b on 80 of them.
/// let a = vec![vec![true; 100]; 2];
/// let b = vec![(0..100).map(|i| i >= 20).collect::<Vec<_>>(); 2];
/// let d = paired::bootstrap(&a, &b, 1, paired::RESAMPLES)?;
/// assert!((d.mean - 0.2).abs() < 1e-12 && (d.low - 0.12).abs() < 0.011 && (d.high - 0.28).abs() < 0.011);
/// # Ok::<(), umt_eval::EvalError>(())
/// ```
///
/// # Errors
/// [`EvalError::Empty`] without seeds, samples or resamples, [`EvalError::Shape`] when the number
/// of samples differs between predictions.
pub fn bootstrap(a: &[Vec<bool>], b: &[Vec<bool>], seed: u64, resamples: usize) -> Result<Difference, EvalError> {
    let n = a.first().map_or(0, Vec::len);
    if n == 0 || b.is_empty() || resamples == 0 {
        return Err(EvalError::Empty { what: "paired difference" });
    }
    if let Some(other) = a.iter().chain(b).find(|s| s.len() != n) {
        return Err(EvalError::Shape { what: "paired predictions", expected: n, got: other.len() });
    }
    let rate = |of: &[Vec<bool>], i: usize| of.iter().filter(|s| s[i]).count() as f64 / of.len() as f64;
    let differences: Vec<f64> = (0..n).map(|i| rate(a, i) - rate(b, i)).collect();
    let mean = differences.iter().sum::<f64>() / n as f64;

    let draw = |resample: usize| {
        let mut rng = umt_random::stream(seed, "bootstrap", 0, resample as u64);
        let sum: f64 = (0..n).map(|_| differences[rng.below(n as u64) as usize]).sum();
        sum / n as f64
    };
    let mut means: Vec<f64> = (0..resamples).into_par_iter().map(draw).collect();
    means.sort_unstable_by(f64::total_cmp);
    Ok(of_draws(mean, &means, n))
}

/// The difference in accuracy over the seeds that both have, `a[seed][sample]` as for [`bootstrap`]: over seeds and samples where there are two
/// seeds or more, over samples where there is one.
///
/// # Errors
/// Those of [`bootstrap`]; [`EvalError::Shape`] when the numbers of seeds differ.
pub fn of_hits(a: &[Vec<bool>], b: &[Vec<bool>]) -> Result<Difference, EvalError> {
    if a.len() != b.len() {
        return Err(EvalError::Shape { what: "paired seeds", expected: a.len(), got: b.len() });
    }
    if a.len() < 2 {
        return bootstrap(a, b, 0, RESAMPLES);
    }
    let n = a[0].len();
    if let Some(other) = a.iter().chain(b).find(|s| s.len() != n) {
        return Err(EvalError::Shape { what: "paired predictions", expected: n, got: other.len() });
    }
    let one = |hit: bool| f64::from(u8::from(hit));
    let of_seed =
        |(a, b): (&Vec<bool>, &Vec<bool>)| a.iter().zip(b).map(|(&a, &b)| one(a) - one(b)).sum::<f64>() / n as f64;
    let seeds: Vec<f64> = a.iter().zip(b).map(of_seed).collect();
    let of_sample = |i: usize| a.iter().zip(b).map(|(a, b)| one(a[i]) - one(b[i])).sum::<f64>() / a.len() as f64;
    let samples: Vec<f64> = (0..n).map(of_sample).collect();
    let spread = summary::of(&samples).map_or(0.0, |s| s.std);
    two_level(&seeds, spread * spread / n.max(1) as f64, n)
}

/// A difference and its interval from sorted draws of it.
pub(crate) fn of_draws(mean: f64, draws: &[f64], n: usize) -> Difference {
    let (low, high) = (quantile(draws, 0.025), quantile(draws, 0.975));
    let within = quantile(draws, 0.05).abs().max(quantile(draws, 0.95).abs());
    // The share of draws on the other side of 0; one more draw than were made, so that it is never 0.
    let beyond = |other: &dyn Fn(f64) -> bool| draws.iter().filter(|d| other(**d)).count();
    let tail = beyond(&|d| d <= 0.0).min(beyond(&|d| d >= 0.0));
    let p = (2.0 * (tail + 1) as f64 / (draws.len() + 1) as f64).min(1.0);
    Difference { mean, low, high, within, n, p, level: Level::Samples }
}

/// Quantile of sorted values, interpolated linearly between neighbours (numpy's default).
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, share) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + share * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice::from_ref;

    #[test]
    fn quantiles_are_numpys() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.5), 3.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.9), 4.0 + 0.7000000000000002 * 4.0);
        assert_eq!(quantile(&[5.0], 0.975), 5.0);
    }

    #[test]
    fn equal_predictions_differ_by_nothing_and_order_flips_the_sign() {
        let right = vec![(0..50).map(|i| i % 3 == 0).collect::<Vec<_>>()];
        let other = vec![(0..50).map(|i| i % 2 == 0).collect::<Vec<_>>()];
        let same = bootstrap(&right, &right, 1, 100).unwrap();
        assert_eq!((same.mean, same.low, same.high, same.n), (0.0, 0.0, 0.0, 50));
        let ab = bootstrap(&right, &other, 1, 1000).unwrap();
        let ba = bootstrap(&other, &right, 1, 1000).unwrap();
        assert!((ab.mean + ba.mean).abs() < 1e-12 && (ab.low + ba.high).abs() < 1e-12);
        assert!(ab.low < ab.mean && ab.mean < ab.high);
    }

    /// The interval of independent differences is close to the normal one, and seeds are drawn
    /// together: repeating the same predictions as further seeds must not narrow it.
    #[test]
    fn width_follows_the_samples_not_the_seeds() {
        let hits = |share: usize| (0..400).map(|i| i * 37 % 400 < share).collect::<Vec<bool>>();
        let (a, b) = (hits(300), hits(240));
        let one = bootstrap(from_ref(&a), from_ref(&b), 5, 10_000).unwrap();
        let three = bootstrap(&vec![a; 3], &vec![b; 3], 5, 10_000).unwrap();
        assert!((one.low - three.low).abs() < 1e-9 && (one.high - three.high).abs() < 1e-9);
        // d is 1 with probability 0.15: standard error sqrt(0.15 0.85 / 400).
        let half = 1.96 * (0.15_f64 * 0.85 / 400.0).sqrt();
        assert!((one.high - one.low - 2.0 * half).abs() < 0.1 * half, "{one:?}");
    }

    #[test]
    fn refuses_unequal_samples() {
        let empty = Err(EvalError::Empty { what: "paired difference" });
        assert_eq!(bootstrap(&[], &[vec![true]], 1, 10), empty);
        assert_eq!(bootstrap(&[vec![true]], &[], 1, 10), empty);
        let got = bootstrap(&[vec![true; 3]], &[vec![true; 2]], 1, 10);
        assert!(matches!(got, Err(EvalError::Shape { expected: 3, got: 2, .. })));
    }
}
