//! Which classes an encoder has lost against its teacher.

use crate::EvalError;
use serde::Serialize;

/// Recall of one class, alone and inside a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassLoss {
    /// Its number.
    pub class: usize,
    /// Samples of it.
    pub samples: usize,
    /// Recall of the teacher's probe, mean over seeds.
    pub alone: f64,
    /// Recall of the encoder's own probe, mean over seeds.
    pub inside: f64,
    /// `(inside - alone) / standard error` of the paired difference over the class's samples; below -2 is more than
    /// chance would do to one class in twenty.
    pub z: f64,
}

/// Classes whose recall fell, the largest loss first. `alone[seed][sample]` and `inside[seed][sample]` tell whether the
/// probe's prediction was right.
///
/// # Errors
/// [`EvalError::Shape`] when samples differ.
pub fn lost_classes(
    alone: &[Vec<bool>],
    inside: &[Vec<bool>],
    labels: &[u32],
    classes: usize,
) -> Result<Vec<ClassLoss>, EvalError> {
    if let Some(other) = alone.iter().chain(inside).find(|s| s.len() != labels.len()) {
        return Err(EvalError::Shape { what: "probe predictions", expected: labels.len(), got: other.len() });
    }
    let rate = |of: &[Vec<bool>], i: usize| of.iter().filter(|s| s[i]).count() as f64 / of.len().max(1) as f64;
    let mut lost = Vec::new();
    for class in 0..classes {
        let own: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] as usize == class).collect();
        let n = own.len() as f64;
        if own.len() < 2 {
            continue;
        }
        let mean = |of: &[Vec<bool>]| own.iter().map(|&i| rate(of, i)).sum::<f64>() / n;
        let (a, b) = (mean(alone), mean(inside));
        let spread = own.iter().map(|&i| (rate(inside, i) - rate(alone, i) - (b - a)).powi(2)).sum::<f64>();
        let error = (spread / (n - 1.0) / n).sqrt();
        if b < a {
            let z = if error > 0.0 { (b - a) / error } else { f64::MIN };
            lost.push(ClassLoss { class, samples: own.len(), alone: a, inside: b, z });
        }
    }
    lost.sort_by(|x, y| (x.inside - x.alone).total_cmp(&(y.inside - y.alone)));
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fell_is_listed_and_the_worst_comes_first() {
        // Class 0 falls from 4/4 to 1/4, class 1 from 3/4 to 2/4, class 2 rises.
        let labels = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2];
        let alone = vec![vec![true, true, true, true, true, true, true, false, false, false]];
        let inside = vec![vec![true, false, false, false, true, true, false, false, true, false]];
        let lost = lost_classes(&alone, &inside, &labels, 3).unwrap();
        assert_eq!(lost.iter().map(|l| l.class).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((lost[0].alone, lost[0].inside, lost[0].samples), (1.0, 0.25, 4));
        // Differences 0, -1, -1, -1: mean -0.75, standard deviation 0.5, error 0.25.
        assert!((lost[0].z + 3.0).abs() < 1e-12);
        assert!(lost_classes(&alone, &inside, &labels[1..], 3).is_err());
    }
}
