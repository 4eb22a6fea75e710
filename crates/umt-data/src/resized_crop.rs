//! Random regions of a frame, brought to one size: torchvision's `RandomResizedCrop`.

use crate::DataError;
use serde::{Deserialize, Serialize};
use umt_random::Rng;

/// Ranges that regions are drawn from; the defaults are torchvision's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCrop {
    /// Share of the stored frame's area.
    pub scale: [f64; 2],
    /// Width by height, in pixels of the stored frame; drawn evenly in its logarithm.
    pub ratio: [f64; 2],
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }
}

/// Left, upper edge, width and height in pixels.
pub(crate) type Region = [usize; 4];

impl ResizedCrop {
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        let fail = |key: &str, [low, high]: [f64; 2], range: &str| {
            Err(DataError::config(
                format!("augment.resized-crop.{key}"),
                format!("[{low}, {high}] is no range {range}"),
            ))
        };
        let [low, high] = self.scale;
        if !(low > 0.0 && low <= high && high <= 1.0) {
            return fail("scale", self.scale, "within 0 to 1");
        }
        let [low, high] = self.ratio;
        if !(low > 0.0 && low <= high && high <= 100.0) {
            return fail("ratio", self.ratio, "above 0, up to 100");
        }
        Ok(())
    }

    /// A region of a frame of `width` and `height`. Ten draws that do not fit give the largest centred region whose
    /// shape is within `ratio`, as in torchvision.
    pub(crate) fn draw(&self, [width, height]: [usize; 2], rng: &mut Rng) -> Region {
        let area = (width * height) as f64;
        let [low, high] = self.ratio.map(f64::ln);
        for _ in 0..10 {
            let target = area * between(self.scale, rng);
            let shape = between([low, high], rng).exp();
            let (w, h) = ((target * shape).sqrt().round() as usize, (target / shape).sqrt().round() as usize);
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let mut place = |spare: usize| rng.below(spare as u64 + 1) as usize;
                let top = place(height - h);
                return [place(width - w), top, w, h];
            }
        }
        let own = width as f64 / height as f64;
        let [low, high] = self.ratio;
        let (w, h) = if own < low {
            (width, ((width as f64 / low).round() as usize).clamp(1, height))
        } else if own > high {
            (((height as f64 * high).round() as usize).clamp(1, width), height)
        } else {
            (width, height)
        };
        [(width - w) / 2, (height - h) / 2, w, h]
    }
}

fn between([low, high]: [f64; 2], rng: &mut Rng) -> f64 {
    low + (high - low) * rng.uniform_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(crop: ResizedCrop, size: [usize; 2], count: u64) -> Vec<Region> {
        (0..count).map(|id| crop.draw(size, &mut umt_random::stream(1, "test", 0, id))).collect()
    }

    /// Means of 200,000 draws of `torchvision.transforms.RandomResizedCrop.get_params` with its default ranges on
    /// frames of 340x256.
    const TORCHVISION: [f64; 4] = [73.77, 35.70, 192.63, 184.62];

    #[test]
    fn regions_are_spread_as_in_torchvision() {
        let regions = drawn(ResizedCrop::default(), [340, 256], 20_000);
        let mean = |of: &dyn Fn(&Region) -> f64| regions.iter().map(of).sum::<f64>() / regions.len() as f64;
        let found = [0, 1, 2, 3].map(|i| mean(&|r| r[i] as f64));
        for (found, expected) in found.iter().zip(TORCHVISION) {
            assert!((found - expected).abs() < 0.02 * expected, "{found} for {expected}");
        }
        for &[x, y, w, h] in &regions {
            assert!(x + w <= 340 && y + h <= 256);
            let (share, ratio) = ((w * h) as f64 / (340.0 * 256.0), w as f64 / h as f64);
            assert!((0.078..=1.0).contains(&share) && (0.73..1.37).contains(&ratio), "{share} {ratio}");
        }
    }

    #[test]
    fn what_never_fits_is_the_centre() {
        let whole = ResizedCrop { scale: [1.0, 1.0], ratio: [1.0, 1.0] };
        assert_eq!(drawn(whole, [64, 64], 1), [[0, 0, 64, 64]]);
        // torchvision, `get_params(torch.zeros(3, 100, 40), (1.0, 1.0), (1.0, 1.0))`: top 30, left 0, 40x40.
        assert_eq!(drawn(whole, [40, 100], 1), [[0, 30, 40, 40]]);
        assert_eq!(drawn(whole, [100, 40], 1), [[30, 0, 40, 40]]);
    }

    #[test]
    fn ranges_that_cannot_be_are_refused() {
        assert!(ResizedCrop::default().validate().is_ok());
        for (scale, ratio) in [([0.0, 1.0], [1.0, 1.0]), ([0.5, 1.1], [1.0, 1.0]), ([0.9, 0.5], [1.0, 1.0])] {
            assert!(ResizedCrop { scale, ratio }.validate().is_err());
        }
        for ratio in [[0.0, 1.0], [2.0, 1.0], [f64::NAN, 1.0]] {
            assert!(ResizedCrop { scale: [0.08, 1.0], ratio }.validate().is_err());
        }
    }
}
