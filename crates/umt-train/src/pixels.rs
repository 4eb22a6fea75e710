//! Scores of tasks with a class for every pixel.

use crate::{Scores, TrainError};

/// How often pixels of each class were taken for each class, over all pictures of a split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confusion {
    classes: usize,
    /// `[true class][predicted class]`, row-major.
    counts: Vec<u64>,
    /// Cross-entropy in nats, summed over the pixels that count.
    loss: f64,
}

impl Confusion {
    /// No pixel yet.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes], loss: 0.0 }
    }

    /// Counts a picture's pixels; those whose label is no class count nowhere. `loss` is summed over those that do.
    ///
    /// # Errors
    /// Maps of different length, and a prediction that is no class.
    pub fn add(&mut self, labels: &[u8], predicted: &[u8], loss: f64) -> Result<(), TrainError> {
        let mismatch = |reason| TrainError::Batches { reason };
        if labels.len() != predicted.len() {
            return Err(mismatch(format!("{} pixels predicted for {} labels", predicted.len(), labels.len())));
        }
        for (&label, &class) in labels.iter().zip(predicted) {
            let (label, class) = (usize::from(label), usize::from(class));
            if class >= self.classes {
                return Err(mismatch(format!("class {class} predicted of {}", self.classes)));
            }
            if label < self.classes {
                self.counts[label * self.classes + class] += 1;
            }
        }
        self.loss += loss;
        Ok(())
    }

    /// Adds the pixels of another part of the split.
    ///
    /// # Errors
    /// Another number of classes.
    pub fn merge(&mut self, other: &Self) -> Result<(), TrainError> {
        if self.classes != other.classes {
            let reason = format!("{} classes after {}", other.classes, self.classes);
            return Err(TrainError::Batches { reason });
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.loss += other.loss;
        Ok(())
    }

    /// Pixel accuracy, mean cross-entropy, and the mean over classes of intersection over union. Classes that occur neither in the labels nor in
    /// the prediction have no such ratio and are left out of the mean.
    pub fn scores(&self) -> Scores {
        let n = self.classes;
        let at = |label: usize, class: usize| self.counts[label * n + class];
        let total: u64 = self.counts.iter().sum();
        let hits: u64 = (0..n).map(|c| at(c, c)).sum();
        let ratio = |c: usize| {
            let union: u64 = (0..n).map(|other| at(c, other) + at(other, c)).sum::<u64>() - at(c, c);
            (union > 0).then(|| at(c, c) as f64 / union as f64)
        };
        let ratios: Vec<f64> = (0..n).filter_map(ratio).collect();
        let miou = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
        let count = total.max(1) as f64;
        Scores { top1: hits as f64 / count, loss: self.loss / count, miou: Some(miou) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked by hand: 2 of 3 pixels of class 0 right, 1 of 2 of class 1, class 2 nowhere, one void pixel.
    #[test]
    fn one_matrix_over_all_pictures() {
        let mut all = Confusion::new(3);
        all.add(&[0, 0, 255], &[0, 1, 2], 1.0).unwrap();
        let mut rest = Confusion::new(3);
        rest.add(&[0, 1, 1], &[0, 1, 0], 2.0).unwrap();
        all.merge(&rest).unwrap();
        let Scores { top1, loss, miou } = all.scores();
        // Unions: class 0 has 3 true and 3 predicted, 2 of them the same; class 1 2 and 2, 1 the same.
        assert_eq!((top1, loss, miou), (3.0 / 5.0, 3.0 / 5.0, Some((2.0 / 4.0 + 1.0 / 3.0) / 2.0)));
        assert!(all.add(&[0], &[3], 0.0).is_err() && all.add(&[0], &[], 0.0).is_err());
        assert!(all.merge(&Confusion::new(2)).is_err());
        let better = |miou, top1| Scores { top1, loss: 0.0, miou: Some(miou) };
        assert!(better(0.5, 0.1).better_than(&better(0.4, 0.9)), "mIoU decides, not pixel accuracy");
    }
}
