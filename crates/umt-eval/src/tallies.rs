//! Paired differences of mean IoU: is a segmentation network better than another on the same pictures?
//!
//! Mean IoU comes from one confusion matrix over a whole split, so it is no mean over pictures. What each picture adds to
//! that matrix is kept instead; pictures are drawn with replacement, all seeds' counts of a picture together, and the
//! figure is computed anew from the sums of each draw (percentile interval, as in [`crate::paired`]).

use rayon::prelude::*;

use crate::difference::Difference;
use crate::levels::two_level;
use crate::paired::of_draws;
use crate::summary;
use crate::{Confusion, EvalError};

/// Resamples of a reported interval.
pub const RESAMPLES: usize = 2_000;

/// What each picture adds to the hits, the support and the predictions of each class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tallies {
    classes: usize,
    /// `[pictures, 3, classes]`.
    counts: Vec<u64>,
}

impl Tallies {
    /// Of no picture yet.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: Vec::new() }
    }

    /// Of counts `[pictures, 3, classes]`, as [`Tallies::counts`] gives them.
    ///
    /// # Errors
    /// [`EvalError::Shape`] for a number of counts that is no whole number of pictures.
    pub fn from_counts(classes: usize, counts: Vec<u64>) -> Result<Self, EvalError> {
        let (got, row) = (counts.len(), (3 * classes).max(1));
        match got.is_multiple_of(row) {
            true => Ok(Self { classes, counts }),
            false => Err(EvalError::Shape { what: "counts of pictures", expected: got.div_ceil(row) * row, got }),
        }
    }

    /// Adds a picture by its own confusion matrix.
    ///
    /// # Errors
    /// [`EvalError::Shape`] for another number of classes.
    pub fn add(&mut self, picture: &Confusion) -> Result<(), EvalError> {
        let (expected, got) = (self.classes, picture.classes());
        if expected != got {
            return Err(EvalError::Shape { what: "classes of a picture", expected, got });
        }
        self.counts.extend((0..got).map(|class| picture.hits(class)));
        self.counts.extend((0..got).map(|class| picture.support(class)));
        self.counts.extend((0..got).map(|class| picture.predicted(class)));
        Ok(())
    }

    /// Number of pictures.
    pub fn pictures(&self) -> usize {
        self.counts.len() / (3 * self.classes).max(1)
    }

    /// `[pictures, 3, classes]`: hits, support and predictions.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Mean IoU over the classes that occur in the truth, each picture counted `times[picture]` times.
    fn mean_iou(&self, times: &[u32]) -> Option<f64> {
        let mut sums = vec![0u64; 3 * self.classes];
        for (row, &times) in self.counts.chunks_exact(sums.len().max(1)).zip(times).filter(|(_, times)| **times > 0) {
            sums.iter_mut().zip(row).for_each(|(sum, count)| *sum += u64::from(times) * count);
        }
        let (hits, rest) = sums.split_at(self.classes);
        let (support, predicted) = rest.split_at(self.classes);
        let (mut sum, mut there) = (0.0, 0u32);
        for ((&hits, support), predicted) in hits.iter().zip(support).zip(predicted) {
            let union = support + predicted - hits;
            if *support > 0 {
                sum += hits as f64 / union as f64;
                there += 1;
            }
        }
        (there > 0).then(|| sum / f64::from(there))
    }
}

/// Mean IoU of a row of the table, on all pictures and on each resample; each a mean over seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Resampled {
    pictures: usize,
    whole: f64,
    /// Of each seed, on all pictures.
    seeds: Vec<f64>,
    draws: Vec<f64>,
}

impl Resampled {
    /// Draws pictures of `seeds`, the same ones for each. The random stream is `("bootstrap", 0, resample)` of `seed`, so
    /// that rows with the same pictures are drawn alike.
    ///
    /// ```
    /// use umt_eval::{Confusion, tallies::{Resampled, Tallies}};
    /// let (mut a, mut b) = (Tallies::new(2), Tallies::new(2));
    /// for picture in 0..40 {
    ///     let mut counts = Confusion::new(2);
    ///     counts.add_maps(&[0, 0, 1, 1], &[0, 0, 1, 1], 255)?;
    ///     a.add(&counts)?;
    ///     // Every fourth picture has one pixel of class 1 taken for 0.
    ///     let mut counts = Confusion::new(2);
    ///     counts.add_maps(&[0, 0, 1, 1], &[0, 0, u8::from(picture % 4 > 0), 1], 255)?;
    ///     b.add(&counts)?;
    /// }
    /// let resampled = |of| Resampled::new(&[of], 0, 1000);
    /// let d = resampled(a)?.minus(&resampled(b)?)?;
    /// // b: 80 of 90 and 70 of 80.
    /// assert!((d.mean - (1.0 - (80.0 / 90.0 + 70.0 / 80.0) / 2.0)).abs() < 1e-12 && d.n == 40);
    /// assert!(0.0 < d.low && d.low < d.mean && d.mean < d.high);
    /// # Ok::<(), umt_eval::EvalError>(())
    /// ```
    ///
    /// # Errors
    /// [`EvalError::Empty`] without seeds, pictures, resamples or labelled pixels, [`EvalError::Shape`] when the number of
    /// pictures differs between seeds.
    pub fn new(seeds: &[Tallies], seed: u64, resamples: usize) -> Result<Self, EvalError> {
        let empty = EvalError::Empty { what: "paired difference of mean IoU" };
        let pictures = seeds.first().map_or(0, Tallies::pictures);
        if pictures == 0 || resamples == 0 {
            return Err(empty);
        }
        if let Some(other) = seeds.iter().map(Tallies::pictures).find(|n| *n != pictures) {
            return Err(EvalError::Shape { what: "pictures of a seed", expected: pictures, got: other });
        }
        let mean = |times: &[u32]| -> Option<f64> {
            let all: Option<Vec<f64>> = seeds.iter().map(|tallies| tallies.mean_iou(times)).collect();
            all.map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        let whole = mean(&vec![1; pictures]).ok_or(empty)?;
        let draw = |resample: usize| {
            let mut rng = umt_random::stream(seed, "bootstrap", 0, resample as u64);
            let mut times = vec![0u32; pictures];
            (0..pictures).for_each(|_| times[rng.below(pictures as u64) as usize] += 1);
            // A draw of pictures that are void throughout says nothing: the whole stands for it.
            mean(&times).unwrap_or(whole)
        };
        let own = |tallies: &Tallies| tallies.mean_iou(&vec![1; pictures]).unwrap_or(whole);
        let draws = (0..resamples).into_par_iter().map(draw).collect();
        Ok(Self { pictures, whole, seeds: seeds.iter().map(own).collect(), draws })
    }

    /// This row minus another of the same pictures.
    ///
    /// # Errors
    /// [`EvalError::Shape`] for another number of pictures or resamples.
    pub fn minus(&self, other: &Self) -> Result<Difference, EvalError> {
        let shape = |what, expected, got| Err(EvalError::Shape { what, expected, got });
        if self.pictures != other.pictures {
            return shape("paired pictures", self.pictures, other.pictures);
        }
        if self.draws.len() != other.draws.len() {
            return shape("resamples", self.draws.len(), other.draws.len());
        }
        let mut differences: Vec<f64> = self.draws.iter().zip(&other.draws).map(|(a, b)| a - b).collect();
        differences.sort_unstable_by(f64::total_cmp);
        let mean = self.whole - other.whole;
        if self.seeds.len() < 2 || self.seeds.len() != other.seeds.len() {
            return Ok(of_draws(mean, &differences, self.pictures));
        }
        let seeds: Vec<f64> = self.seeds.iter().zip(&other.seeds).map(|(a, b)| a - b).collect();
        let spread = summary::of(&differences).map_or(0.0, |s| s.std);
        two_level(&seeds, spread * spread, self.pictures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The script's pictures: `golden/make_tallies.py`.
    fn pictures(salt: u64) -> (Tallies, Confusion) {
        let (mut tallies, mut whole) = (Tallies::new(5), Confusion::new(5));
        let noise = |i: u64| {
            let mut h = (i * 2_654_435_761 + salt * 40_503 + 12_345) & 0xffff_ffff;
            for _ in 0..2 {
                h = ((h ^ (h >> 16)) * 0x045d_9f3b) & 0xffff_ffff;
            }
            (h ^ (h >> 16)) as f64 / 4_294_967_296.0
        };
        for picture in 0..60u64 {
            let mut own = Confusion::new(5);
            for pixel in 0..50u64 {
                let i = picture * 50 + pixel;
                // Class 4 is rare, and nowhere but in the first six pictures.
                let truth = if picture < 6 && pixel < 5 { 4 } else { (picture / 7 + pixel / 10) % 4 };
                let right = noise(i) < 0.4 + 0.05 * salt as f64 + 0.3 * (picture % 3) as f64 / 2.0;
                let said = if right { truth } else { (noise(i + 100_000) * 5.0) as u64 };
                own.add(0, truth as u32, said as u32).unwrap();
            }
            whole.merge(&own).unwrap();
            tallies.add(&own).unwrap();
        }
        (tallies, whole)
    }

    #[test]
    fn the_whole_is_mean_iou_and_the_interval_numpys() {
        let ((a1, whole), (a2, _), (b1, _), (b2, _)) = (pictures(3), pictures(4), pictures(1), pictures(2));
        let one = Resampled::new(std::slice::from_ref(&a1), 0, 10).unwrap();
        let miou = crate::metrics::by_id("miou").unwrap().of_pixels(&whole).unwrap();
        assert!((one.whole - miou).abs() < 1e-12);
        let a = Resampled::new(&[a1.clone(), a2], 0, 20_000).unwrap();
        let b = Resampled::new(&[b1, b2], 0, 20_000).unwrap();
        let d = a.minus(&b).unwrap();
        let [mean, low, high] = NUMPY;
        assert!((d.mean - mean).abs() < 1e-9, "{d:?}");
        // Both drew 20,000 times, from other streams.
        let mut draws: Vec<f64> = a.draws.iter().zip(&b.draws).map(|(a, b)| a - b).collect();
        draws.sort_unstable_by(f64::total_cmp);
        let images = of_draws(d.mean, &draws, 60);
        assert!((images.low - low).abs() < 0.03 * (high - low) && (images.high - high).abs() < 0.03 * (high - low));
        // Two seeds say little about others.
        assert!(d.low < images.low && images.high < d.high, "{d:?}");
        let back = b.minus(&a).unwrap();
        assert!((back.low + d.high).abs() < 1e-12 && (back.high + d.low).abs() < 1e-12);
        assert_eq!(Tallies::from_counts(5, a1.counts().to_vec()), Ok(a1));
    }

    /// Mean difference and interval as `golden/make_tallies.py` prints them.
    const NUMPY: [f64; 3] = [0.091695638928, 0.072322, 0.110547];

    #[test]
    fn refuses_what_cannot_be_paired() {
        let empty = |result: Result<Resampled, _>| matches!(result, Err(EvalError::Empty { .. }));
        assert!(empty(Resampled::new(&[], 0, 10)) && empty(Resampled::new(&[Tallies::new(3)], 0, 10)));
        let (some, _) = pictures(1);
        assert!(empty(Resampled::new(std::slice::from_ref(&some), 0, 0)));
        let fewer = Tallies::from_counts(5, some.counts()[..15 * 20].to_vec()).unwrap();
        let shape = |result: Result<(), _>| matches!(result, Err(EvalError::Shape { .. }));
        assert!(shape(Resampled::new(&[some.clone(), fewer.clone()], 0, 10).map(drop)));
        let of = |tallies: &Tallies, draws| Resampled::new(std::slice::from_ref(tallies), 0, draws).unwrap();
        assert!(shape(of(&some, 10).minus(&of(&fewer, 10)).map(drop)));
        assert!(shape(of(&some, 10).minus(&of(&some, 20)).map(drop)));
        assert!(shape(Tallies::from_counts(5, vec![0; 16]).map(drop)));
        assert!(shape(Tallies::new(3).add(&Confusion::new(2))));
    }
}
