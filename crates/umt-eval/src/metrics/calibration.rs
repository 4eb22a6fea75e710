//! Expected calibration error: how far confidence and accuracy are apart.

use super::Metric;
use crate::{EvalError, Scores};

const BINS: usize = 15;

/// `sum_b |B_b| / n |accuracy(B_b) - confidence(B_b)|` over 15 bins of equal width of the largest
/// probability, bin b holding `(b/15, (b+1)/15]` (Guo et al., "On Calibration of Modern Neural
/// Networks", ICML 2017, eq. 3).
pub struct ExpectedCalibrationError;

impl Metric for ExpectedCalibrationError {
    fn id(&self) -> &'static str {
        "ece"
    }

    fn heading(&self) -> &'static str {
        "ECE"
    }

    fn higher_is_better(&self) -> bool {
        false
    }

    fn of_samples(&self, scores: &Scores) -> Result<f64, EvalError> {
        // Per bin: hits minus the sum of confidences; the bin's size cancels.
        let mut gaps = [0.0; BINS];
        let rows = scores.log_probabilities().chunks_exact(scores.classes());
        for ((row, label), predicted) in rows.zip(scores.labels()).zip(scores.predicted()) {
            let confidence = row[predicted as usize].exp();
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            gaps[bin] += f64::from(u8::from(predicted == *label)) - confidence;
        }
        Ok(gaps.iter().map(|g| g.abs()).sum::<f64>() / scores.samples() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Confidence 3/4 four times, right three times: calibrated. All wrong: 3/4 off.
        let l = 3f32.ln();
        let logits = [l, 0.0, l, 0.0, l, 0.0, l, 0.0];
        let value =
            |labels: &[u32]| ExpectedCalibrationError.of_samples(&Scores::new(&logits, 2, labels).unwrap()).unwrap();
        assert!(value(&[0, 0, 0, 1]) < 1e-7);
        assert!((value(&[1, 1, 1, 1]) - 0.75).abs() < 1e-7);
    }

    #[test]
    fn certainty_falls_in_the_last_bin() {
        let scores = Scores::new(&[1e4, 0.0, 1e4, 0.0], 2, &[0, 1]).unwrap();
        assert_eq!(ExpectedCalibrationError.of_samples(&scores).unwrap(), 0.5);
    }
}
