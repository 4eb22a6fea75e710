//! Metrics: one file each, all in [`METRICS`]. Validation, evaluation, claims, tables and messages take their lists from there.
//!
//! Fractions are 0..1. Metrics that rank samples or read confidences use the softmax of the logits. Metrics of label maps are read from one confusion
//! matrix over every pixel of a split: a mean over images is another metric, the field's published ones are over the whole split. Pixels without a
//! class are left out when they are counted ([`Confusion::add_maps`]).
//!
//! ```
//! use umt_eval::{Confusion, metrics::{self, Measured}};
//! let mut confusion = Confusion::new(3);
//! confusion.add_maps(&[0, 0, 1, 1, 255], &[0, 1, 1, 1, 2], 255)?;
//! // Class 0: 1 of 2; class 1: 2 of 3; class 2 is nowhere and counts nowhere.
//! let values = Measured::Pixels(&confusion).reported()?;
//! assert_eq!(values[..2], [("miou", (1.0 / 2.0 + 2.0 / 3.0) / 2.0), ("pixel-accuracy", 0.75)]);
//! assert!(metrics::by_id("top1")?.of_pixels(&confusion).is_err());
//! # Ok::<(), umt_eval::EvalError>(())
//! ```

pub mod average_precision;
pub mod calibration;
pub mod d_prime;
pub mod macro_f1;
pub mod mean_accuracy;
pub mod mean_iou;
pub mod nll;
pub mod pixel_accuracy;
pub mod top_k;

use crate::{Confusion, EvalError, Scores};

/// What a metric reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Logits and a class per sample.
    Samples,
    /// Counts over the pixels of label maps.
    Pixels,
}

/// A metric over a split.
pub trait Metric: Sync {
    /// Its name in recipes and results, such as `top1`.
    fn id(&self) -> &'static str;

    /// Its name in tables.
    fn heading(&self) -> &'static str;

    /// What it reads.
    fn reads(&self) -> Reads {
        Reads::Samples
    }

    /// Its value over samples.
    ///
    /// # Errors
    /// A typed error where the metric is undefined for these samples; [`EvalError::Input`] for a metric of pixels.
    fn of_samples(&self, _scores: &Scores) -> Result<f64, EvalError> {
        Err(EvalError::Input { metric: self.id(), reads: "pixels" })
    }

    /// Its value over pixels.
    ///
    /// # Errors
    /// [`EvalError::Empty`] where no pixel was counted; [`EvalError::Input`] for a metric of samples.
    fn of_pixels(&self, _confusion: &Confusion) -> Result<f64, EvalError> {
        Err(EvalError::Input { metric: self.id(), reads: "samples" })
    }

    /// Whether it is a fraction 0..1, shown as a percentage.
    fn is_fraction(&self) -> bool {
        true
    }

    /// Whether results tables hold it.
    fn is_reported(&self) -> bool {
        true
    }

    /// Whether more is better.
    fn higher_is_better(&self) -> bool {
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
    &mean_iou::MeanIou,
    &pixel_accuracy::PixelAccuracy,
    &mean_accuracy::MeanAccuracy,
];

/// Names of the metrics that tables hold and claims may name.
pub fn reported() -> impl Iterator<Item = &'static str> {
    METRICS.iter().filter(|metric| metric.is_reported()).map(|metric| metric.id())
}

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

/// What was measured of a split.
#[derive(Debug, Clone, Copy)]
pub enum Measured<'a> {
    /// Logits and labels of samples.
    Samples(&'a Scores<'a>),
    /// Counts of pixels.
    Pixels(&'a Confusion),
}

impl Measured<'_> {
    /// The metric that decides between two networks, and its value: top-1 of samples, mean IoU of pixels.
    ///
    /// # Errors
    /// [`EvalError::Empty`] where nothing was counted.
    pub fn main(&self) -> Result<(&'static str, f64), EvalError> {
        match self {
            Self::Samples(scores) => Ok(("top1", top_k::Top1.of_samples(scores)?)),
            Self::Pixels(confusion) => Ok(("miou", mean_iou::MeanIou.of_pixels(confusion)?)),
        }
    }

    /// Every reported metric that reads this, and is defined for it.
    ///
    /// # Errors
    /// Those of [`Measured::values`].
    pub fn reported(&self) -> Result<Vec<(&'static str, f64)>, EvalError> {
        let reads = match self {
            Self::Samples(_) => Reads::Samples,
            Self::Pixels(_) => Reads::Pixels,
        };
        let ids = METRICS.iter().filter(|m| m.reads() == reads && m.is_reported()).map(|m| m.id());
        self.values(&ids.collect::<Vec<_>>())
    }

    /// Values of the named metrics in that order, without those that are not defined for every set: top-5 has no meaning below five classes,
    /// rankings have none where all samples are of one class.
    ///
    /// # Errors
    /// [`EvalError::UnknownMetric`], or a metric's error.
    pub fn values(&self, ids: &[&str]) -> Result<Vec<(&'static str, f64)>, EvalError> {
        let mut out = Vec::with_capacity(ids.len());
        for id in ids {
            let metric = by_id(id)?;
            let value = match self {
                Self::Samples(scores) => metric.of_samples(scores),
                Self::Pixels(confusion) => metric.of_pixels(confusion),
            };
            match value {
                Ok(value) => out.push((metric.id(), value)),
                Err(EvalError::TopK { .. } | EvalError::OneClass { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(out)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
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
            let scores = Scores::new(&logits, 6, &labels).unwrap();
            let value = || match metric.reads() {
                Reads::Samples => metric.of_samples(&scores).unwrap(),
                Reads::Pixels => metric.of_pixels(&Confusion::of(&scores)).unwrap(),
            };
            assert!(value().is_finite(), "{}", metric.id());
            assert_eq!(value().to_bits(), value().to_bits());
        }
    }

    #[test]
    fn a_metric_given_the_other_input_says_what_it_reads() {
        let scores = Scores::new(&[1.0, 0.0], 2, &[0]).unwrap();
        let confusion = Confusion::of(&scores);
        for metric in METRICS {
            let error = match metric.reads() {
                Reads::Samples => metric.of_pixels(&confusion).unwrap_err(),
                Reads::Pixels => metric.of_samples(&scores).unwrap_err(),
            };
            assert!(error.to_string().contains(metric.id()), "{error}");
        }
    }

    #[test]
    fn top5_is_left_out_below_five_classes_and_unknown_names_are_errors() {
        let scores = Scores::new(&[1.0, 0.0, 0.0, 1.0], 2, &[0, 1]).unwrap();
        let values = Measured::Samples(&scores).reported().unwrap();
        let names: Vec<_> = values.iter().map(|v| v.0).collect();
        assert_eq!(names, ["top1", "map", "dprime", "macro-f1", "ece"]);
        let error = Measured::Samples(&scores).values(&["top-1"]).unwrap_err().to_string();
        assert!(error.contains("top1, top5, map"), "{error}");
    }

    #[test]
    fn no_pixel_counted_is_an_error() {
        let mut confusion = Confusion::new(2);
        confusion.add_maps(&[255; 4], &[0; 4], 255).unwrap();
        for metric in METRICS.iter().filter(|metric| metric.reads() == Reads::Pixels) {
            assert_eq!(metric.of_pixels(&confusion), Err(EvalError::Empty { what: metric.id() }));
        }
    }
}
