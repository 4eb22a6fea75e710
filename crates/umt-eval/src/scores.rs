//! Logits with their labels, checked once.

use std::sync::OnceLock;

use crate::EvalError;

/// Logits `[samples, classes]` (row-major) and labels `[samples]`, validated.
///
/// Logarithms of probabilities may be given as logits: softmax leaves them as they are.
#[derive(Debug)]
pub struct Scores<'a> {
    logits: &'a [f32],
    classes: usize,
    labels: &'a [u32],
    log_probabilities: OnceLock<Vec<f64>>,
}

impl<'a> Scores<'a> {
    /// Borrows logits and labels.
    ///
    /// # Errors
    /// [`EvalError::Empty`] without samples or classes, [`EvalError::Shape`] when
    /// `logits.len() != labels.len() * classes`, [`EvalError::Label`] for a label outside
    /// `0..classes`, [`EvalError::NonFinite`] for NaN or infinity among the logits.
    pub fn new(logits: &'a [f32], classes: usize, labels: &'a [u32]) -> Result<Self, EvalError> {
        check_rows("logits", logits, classes, labels.len())?;
        check_labels(labels, classes)?;
        Ok(Self { logits, classes, labels, log_probabilities: OnceLock::new() })
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Labels, one per sample.
    pub fn labels(&self) -> &'a [u32] {
        self.labels
    }

    /// The logits of each sample in turn.
    pub fn rows(&self) -> impl Iterator<Item = &'a [f32]> {
        self.logits.chunks_exact(self.classes)
    }

    /// The class of the largest logit of each sample; among equals the first.
    pub fn predicted(&self) -> Vec<u32> {
        self.rows().map(|row| argmax(row) as u32).collect()
    }

    /// `log softmax(logits)` in f64, `[samples, classes]`; computed at the first call.
    pub fn log_probabilities(&self) -> &[f64] {
        self.log_probabilities.get_or_init(|| {
            let mut out = Vec::with_capacity(self.logits.len());
            for row in self.rows() {
                log_softmax_into(row, &mut out);
            }
            out
        })
    }

    /// Whether all samples share one label; returns that label.
    pub(crate) fn only_label(&self) -> Option<u32> {
        only_label(self.labels)
    }
}

/// Index of the largest value, the first among equals.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

/// Appends `log softmax(row)`. Only the terms beside the largest are summed and `ln_1p` is taken,
/// so that confidences very near 1 keep their order (a plain softmax would tie them at 1).
pub(crate) fn log_softmax_into(row: &[f32], out: &mut Vec<f64>) {
    let top = argmax(row);
    let max = f64::from(row[top]);
    let rest: f64 = row.iter().enumerate().filter(|(i, _)| *i != top).map(|(_, v)| (f64::from(*v) - max).exp()).sum();
    let log_sum = rest.ln_1p();
    out.extend(row.iter().map(|v| f64::from(*v) - max - log_sum));
}

/// Checks `values: [samples, columns]`: not empty, the right length, all finite.
pub(crate) fn check_rows(what: &'static str, values: &[f32], columns: usize, samples: usize) -> Result<(), EvalError> {
    if samples == 0 || columns == 0 {
        return Err(EvalError::Empty { what });
    }
    if samples.checked_mul(columns) != Some(values.len()) {
        let expected = samples.saturating_mul(columns);
        return Err(EvalError::Shape { what, expected, got: values.len() });
    }
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => Err(EvalError::NonFinite { what, sample: i / columns, column: i % columns, value: values[i] }),
    }
}

/// Checks that every label is below `classes`.
pub(crate) fn check_labels(labels: &[u32], classes: usize) -> Result<(), EvalError> {
    match labels.iter().position(|l| *l as usize >= classes) {
        None => Ok(()),
        Some(sample) => Err(EvalError::Label { sample, label: labels[sample], classes }),
    }
}

/// The label that all samples share, if they do.
pub(crate) fn only_label(labels: &[u32]) -> Option<u32> {
    let first = *labels.first()?;
    labels.iter().all(|l| *l == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_evaluated() {
        let new = |l: &[f32], c, y: &[u32]| Scores::new(l, c, y).map(|_| ()).unwrap_err();
        assert_eq!(new(&[], 2, &[]), EvalError::Empty { what: "logits" });
        assert_eq!(new(&[], 0, &[0]), EvalError::Empty { what: "logits" });
        assert_eq!(new(&[1.0; 3], 2, &[0, 1]), EvalError::Shape { what: "logits", expected: 4, got: 3 });
        assert_eq!(new(&[1.0; 4], 2, &[0, 2]), EvalError::Label { sample: 1, label: 2, classes: 2 });
        assert!(matches!(
            new(&[1.0, 1.0, 1.0, f32::NAN], 2, &[0, 1]),
            EvalError::NonFinite { sample: 1, column: 1, .. }
        ));
    }

    #[test]
    fn large_logits_stay_finite_and_ordered() {
        let logits = [1e4, -1e4, 30.0, 0.0, 60.0, 0.0];
        let scores = Scores::new(&logits, 2, &[0, 0, 1]).unwrap();
        let lp = scores.log_probabilities();
        assert!(lp.iter().all(|v| v.is_finite()));
        assert!(lp[2] < lp[4] && lp[4] < 0.0, "confidence 60 above 30 even where softmax is 1");
    }
}
