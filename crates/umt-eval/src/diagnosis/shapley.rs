//! How much each modality contributes: Shapley values.

use std::collections::BTreeMap;

/// Shapley value of each modality (Shapley, "A value for n-person games", 1953): its marginal gain, averaged over all
/// orders in which modalities may be added,
///
/// `phi_m = sum over S without m of |S|! (n - |S| - 1)! / n! (v(S + m) - v(S))`.
///
/// `value` gives v of a sorted subset, the empty one included; none where some subset has no value. The values sum to
/// v(all) - v(none).
///
/// ```
/// use umt_eval::diagnosis::shapley;
/// let v = |s: &[&str]| Some(match s { [] => 0.1, ["audio"] => 0.5, ["video"] => 0.3, _ => 0.9 });
/// let phi = shapley(&["audio", "video"], &v).unwrap();
/// assert!((phi["audio"] - 0.5).abs() < 1e-12 && (phi["video"] - 0.3).abs() < 1e-12);
/// ```
pub fn shapley<M: Clone + Ord>(modalities: &[M], value: &dyn Fn(&[M]) -> Option<f64>) -> Option<BTreeMap<M, f64>> {
    let mut all = modalities.to_vec();
    all.sort();
    all.dedup();
    let n = all.len();
    let subset = |mask: usize| -> Vec<M> { (0..n).filter(|i| mask >> i & 1 == 1).map(|i| all[i].clone()).collect() };
    let values: Vec<f64> = (0..1usize << n).map(|mask| value(&subset(mask))).collect::<Option<_>>()?;
    let factorial = |k: usize| (1..=k).map(|i| i as f64).product::<f64>();
    let mut phi = BTreeMap::new();
    for (i, modality) in all.iter().enumerate() {
        let without = (0..1usize << n).filter(|mask| mask >> i & 1 == 0);
        let sum = without
            .map(|mask| {
                let size = mask.count_ones() as usize;
                let weight = factorial(size) * factorial(n - size - 1) / factorial(n);
                weight * (values[mask | 1 << i] - values[mask])
            })
            .sum();
        phi.insert(modality.clone(), sum);
    }
    Some(phi)
}

#[cfg(test)]
mod tests {
    use super::*;
    use umt_media::Modality::{self, Audio, Depth, Rgb};

    /// Against the definition: the mean marginal gain over the six orders of three players.
    #[test]
    fn it_is_the_mean_over_orders() {
        let v = |s: &[Modality]| {
            let has = |m| f64::from(u8::from(s.contains(&m)));
            Some(0.1 + 0.3 * has(Audio) + 0.2 * has(Depth) * has(Audio) + 0.25 * has(Rgb) - 0.1 * has(Rgb) * has(Audio))
        };
        let orders = [
            [Audio, Depth, Rgb],
            [Audio, Rgb, Depth],
            [Depth, Audio, Rgb],
            [Depth, Rgb, Audio],
            [Rgb, Audio, Depth],
            [Rgb, Depth, Audio],
        ];
        let phi = shapley(&[Rgb, Audio, Depth], &v).unwrap();
        for m in [Audio, Depth, Rgb] {
            let gain = |order: &[Modality; 3]| {
                let at = order.iter().position(|&x| x == m).unwrap();
                v(&order[..=at]).unwrap() - v(&order[..at]).unwrap()
            };
            let mean = orders.iter().map(gain).sum::<f64>() / 6.0;
            assert!((phi[&m] - mean).abs() < 1e-12, "{m}");
        }
        let total: f64 = phi.values().sum();
        assert!((total - (v(&[Audio, Depth, Rgb]).unwrap() - 0.1)).abs() < 1e-12);
        assert_eq!(shapley(&[Rgb], &|s| (s.len() == 1).then_some(1.0)), None);
    }
}
