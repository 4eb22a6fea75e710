//! Differences that know about seeds: would other trainings, on other test samples, say the same?
//!
//! A difference between two methods varies with the seeds that were trained and with the samples that were tested. With three seeds a bootstrap over
//! samples alone calls every third difference between *identical* configurations real. Here the seeds' own differences are the observations of a
//! t test, and the samples' variance is inside:
//!
//! `half² = t²(S - 1) s² / S + t²(n - 1) V_samples`, with `s²` the variance of the S seeds' differences, `V_samples` that of the mean over seeds when
//! samples are drawn anew, and t the quantile of Student's distribution for each source's own degrees of freedom (Howe, "Approximate confidence
//! limits on the mean of X + Y", 1974). Satterthwaite's single t would be too short where three seeds agree by chance. The p-value is the level at which
//! the interval just reaches 0. What seeds and samples have in common is counted in both terms, so the level is kept rather than reached.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::EvalError;
use crate::difference::{Difference, Level, Verdict};
use crate::summary;

/// The difference from the differences of two or more seeds on the same samples, and the variance that drawing other samples gives their mean.
///
/// ```
/// use umt_eval::levels::two_level;
/// // Three seeds agree: the samples decide. They disagree: the seeds do.
/// let agree = two_level(&[0.040, 0.041, 0.039], 0.01f64.powi(2), 1000)?;
/// let disagree = two_level(&[0.08, 0.05, -0.01], 0.01f64.powi(2), 1000)?;
/// assert!(agree.low > 0.0 && agree.p < 0.01);
/// assert!(disagree.low < 0.0 && disagree.p > 0.1 && (disagree.mean - agree.mean).abs() < 1e-12);
/// # Ok::<(), umt_eval::EvalError>(())
/// ```
///
/// # Errors
/// [`EvalError::Empty`] for fewer than two seeds or samples; [`EvalError::NonFinite`] for a value that is not finite.
pub fn two_level(seeds: &[f64], samples_variance: f64, samples: usize) -> Result<Difference, EvalError> {
    let what = "paired difference over seeds";
    let Some(own) = summary::of(seeds).filter(|own| own.n > 1 && samples > 1) else {
        return Err(EvalError::Empty { what });
    };
    if let Some(bad) = seeds.iter().chain([&samples_variance]).find(|v| !v.is_finite()) {
        return Err(EvalError::NonFinite { what, sample: 0, column: 0, value: *bad as f32 });
    }
    let by_seed = own.std * own.std / own.n as f64;
    let variance = by_seed + samples_variance;
    let mean = own.mean;
    if variance <= 0.0 {
        // Every seed and sample says the same.
        let p = if mean == 0.0 { 1.0 } else { 0.0 };
        return Ok(Difference {
            mean,
            low: mean,
            high: mean,
            within: mean.abs(),
            n: samples,
            p,
            level: Level::SeedsAndSamples,
        });
    }
    let students = [own.n - 1, samples - 1].map(|freedom| StudentsT::new(0.0, 1.0, freedom as f64));
    let [Ok(over_seeds), Ok(over_samples)] = students else { return Err(EvalError::Empty { what }) };
    // Half of the interval that leaves out `alpha` in all.
    let half = |alpha: f64| {
        let part = |t: &StudentsT, variance: f64| t.inverse_cdf(1.0 - alpha / 2.0).powi(2) * variance;
        (part(&over_seeds, by_seed) + part(&over_samples, samples_variance)).sqrt()
    };
    // The level at which the interval reaches 0: it falls as the level grows.
    let (mut below, mut above) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (below + above);
        match half(middle) > mean.abs() {
            true => below = middle,
            false => above = middle,
        }
    }
    Ok(Difference {
        mean,
        low: mean - half(0.05),
        high: mean + half(0.05),
        within: mean.abs() + half(0.1),
        n: samples,
        p: 0.5 * (below + above),
        level: Level::SeedsAndSamples,
    })
}

/// Holm's correction ("A simple sequentially rejective multiple test procedure", 1979): p-values under which the chance of any wrong rejection
/// among all of them stays at the level.
///
/// ```
/// assert_eq!(umt_eval::levels::holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
/// ```
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut adjusted, mut largest) = (vec![1.0; p.len()], 0.0f64);
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max(p[i] * (p.len() - rank) as f64).min(1.0);
        adjusted[i] = largest;
    }
    adjusted
}

/// The verdict at a level of 5 %. `margin` is the difference, as a fraction, that is too small to matter: equivalence is shown by two one-sided
/// tests (Schuirmann 1987), the 90 % interval within ± margin. With one seed nothing is better or worse: another might say otherwise.
pub fn verdict(difference: &Difference, p_adjusted: f64, margin: f64) -> Verdict {
    if difference.level == Level::Samples {
        return Verdict::Undecided;
    }
    match (p_adjusted < 0.05, difference.mean > 0.0) {
        (true, true) => Verdict::Better,
        (true, false) => Verdict::Worse,
        (false, _) if difference.within <= margin => Verdict::Equivalent,
        (false, _) => Verdict::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paired;

    /// Whether each of 500 samples is right, for each seed of a configuration: samples have a difficulty that all networks share, networks a
    /// quality of their own, and each network its own luck with each sample.
    fn configuration(seeds: u64, table: u64, which: u64, gain: f32) -> Vec<Vec<bool>> {
        let mut difficulty = umt_random::stream(5, "test.levels.sample", table, 0);
        let samples: Vec<f32> = (0..500).map(|_| 1.2 + 1.5 * difficulty.normal()).collect();
        let network = |seed| {
            let mut rng = umt_random::stream(5, "test.levels.network", table, 1000 * which + seed);
            let quality = gain + 0.25 * rng.normal();
            samples.iter().map(|d| d + quality + rng.normal() > 0.0).collect()
        };
        (0..seeds).map(network).collect()
    }

    type Correct = [Vec<bool>];

    fn flagged(seeds: u64, gain: f32, compare: &dyn Fn(&Correct, &Correct) -> Difference) -> usize {
        let flags = |table: &u64| {
            let (a, b) = (configuration(seeds, *table, 1, gain), configuration(seeds, *table, 2, 0.0));
            let d = compare(&a, &b);
            d.low > 0.0 || d.high < 0.0
        };
        (0..200).filter(flags).count()
    }

    /// Two identical configurations under different seeds: at most 5 % of 200 simulated tables flag a difference, for three to ten seeds. The
    /// bootstrap over samples flags many. A real gain is found.
    #[test]
    fn identical_configurations_are_rarely_called_different() {
        let two = |a: &[Vec<bool>], b: &[Vec<bool>]| paired::of_hits(a, b).unwrap();
        for seeds in [3, 5, 10] {
            let count = flagged(seeds, 0.0, &two);
            assert!(count <= 10, "{seeds} seeds: {count} of 200");
        }
        let samples_alone = |a: &[Vec<bool>], b: &[Vec<bool>]| paired::bootstrap(a, b, 0, 500).unwrap();
        let count = flagged(3, 0.0, &samples_alone);
        assert!(count > 40, "the bootstrap over samples flags {count} of 200");
        let found = flagged(5, 1.0, &two);
        assert!(found > 180, "a gain of four standard deviations between seeds: {found} of 200");
    }

    /// Without variance over samples it is scipy's `ttest_rel([.91, .93, .92, .95], [.9, .9, .92, .91])` and its `confidence_interval()`.
    #[test]
    fn seeds_alone_are_the_paired_t_test() {
        let d = two_level(&[0.01, 0.03, 0.0, 0.04], 0.0, 100).unwrap();
        assert!((d.p - 0.116157528).abs() < 1e-8, "{}", d.p);
        assert!((d.low + 0.009051627).abs() < 1e-8 && (d.high - 0.049051627).abs() < 1e-8, "{d:?}");
    }

    #[test]
    fn verdicts() {
        let d = |mean: f64, seeds: f64| two_level(&[mean - seeds, mean, mean + seeds], 1e-6, 1000).unwrap();
        assert_eq!(verdict(&d(0.04, 0.002), 0.01, 0.01), Verdict::Better);
        assert_eq!(verdict(&d(-0.04, 0.002), 0.01, 0.01), Verdict::Worse);
        assert_eq!(verdict(&d(0.001, 0.001), 0.4, 0.01), Verdict::Equivalent);
        assert_eq!(verdict(&d(0.02, 0.02), 0.2, 0.01), Verdict::Undecided);
        let one = paired::bootstrap(&[vec![true; 50]], &[vec![false; 50]], 0, 100).unwrap();
        assert_eq!(verdict(&one, 0.0, 0.01), Verdict::Undecided, "one seed shows nothing about others");
        assert!(two_level(&[0.1], 0.0, 10).is_err() && two_level(&[0.1, f64::NAN], 0.0, 10).is_err());
        let same = two_level(&[0.0, 0.0], 0.0, 10).unwrap();
        assert_eq!((same.p, same.low, same.high), (1.0, 0.0, 0.0));
    }
}
