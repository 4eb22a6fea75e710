//! Figures of a classifier from its logits; one file per figure, all in [`METRICS`].
//!
//! Fractions are 0..1. Figures that rank samples or read confidences use the softmax of the logits.

pub mod average_precision;
pub mod calibration;
pub mod d_prime;
pub mod macro_f1;
pub mod nll;
pub mod top_k;

use crate::{EvalError, Scores};

/// A figure over a set of samples.
pub trait Metric: Sync {
    /// Its name in recipes and results, such as `top1`.
    fn id(&self) -> &'static str;

    /// Its value.
    ///
    /// # Errors
    /// A typed error where the figure is undefined for these samples.
    fn value(&self, scores: &Scores) -> Result<f64, EvalError>;

    /// Whether it is a fraction 0..1, shown as a percentage.
    fn is_fraction(&self) -> bool {
        true
    }
}

/// Every metric, in the order of a table.
pub const METRICS: &[&dyn Metric] = &[
    &top_k::Top1,
    &top_k::Top5,
    &average_precision::MeanAveragePrecision,
    &d_prime::DPrime,
    &macro_f1::MacroF1,
    &calibration::ExpectedCalibrationError,
    &nll::NegativeLogLikelihood,
];

/// The metrics that a results table holds by default: those of the `results.json` form.
pub const REPORTED: &[&str] = &["top1", "top5", "map", "dprime", "macro-f1", "ece"];

/// The metric of this name.
///
/// # Errors
/// [`EvalError::UnknownMetric`], which lists all names.
pub fn by_id(id: &str) -> Result<&'static dyn Metric, EvalError> {
    METRICS.iter().copied().find(|m| m.id() == id).ok_or_else(|| EvalError::UnknownMetric {
        name: id.to_string(),
        known: METRICS.iter().map(|m| m.id()).collect::<Vec<_>>().join(", "),
    })
}

/// Values of the named metrics in that order. `top5` is left out where there are fewer than five
/// classes, since it has no meaning there.
///
/// # Errors
/// [`EvalError::UnknownMetric`], or the first metric's error.
pub fn evaluate(scores: &Scores, ids: &[&str]) -> Result<Vec<(&'static str, f64)>, EvalError> {
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        let metric = by_id(id)?;
        match metric.value(scores) {
            Ok(value) => out.push((metric.id(), value)),
            Err(EvalError::TopK { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_one_name_and_each_file_is_listed() {
        let mut ids: Vec<_> = METRICS.iter().map(|m| m.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), METRICS.len());
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics");
        let mut implementations = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            implementations += text.lines().filter(|l| l.starts_with("impl Metric for")).count();
        }
        assert_eq!(implementations, METRICS.len(), "a metric in the folder is missing from METRICS");
    }

    #[test]
    fn every_metric_is_finite_on_extremes_and_the_same_twice() {
        let mut logits = vec![-1e4_f32; 60];
        let labels: Vec<u32> = (0..10).map(|i| i % 6).collect();
        for (i, label) in labels.iter().enumerate() {
            logits[i * 6 + *label as usize] = 1e4;
        }
        for metric in METRICS {
            let value = || metric.value(&Scores::new(&logits, 6, &labels).unwrap()).unwrap();
            assert!(value().is_finite(), "{}", metric.id());
            assert_eq!(value().to_bits(), value().to_bits());
        }
    }

    #[test]
    fn top5_is_left_out_below_five_classes_and_unknown_names_are_refused() {
        let scores = Scores::new(&[1.0, 0.0, 0.0, 1.0], 2, &[0, 1]).unwrap();
        let values = evaluate(&scores, REPORTED).unwrap();
        let names: Vec<_> = values.iter().map(|v| v.0).collect();
        assert_eq!(names, ["top1", "map", "dprime", "macro-f1", "ece"]);
        let error = evaluate(&scores, &["top-1"]).unwrap_err().to_string();
        assert!(error.contains("top1, top5, map"), "{error}");
    }
}
