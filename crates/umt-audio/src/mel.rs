//! Triangular mel filter banks, stored as the few weights that are not zero.

use crate::config::{MelNorm, MelScale};

/// A bank: for each band its first bin and the weights from there on.
pub(crate) struct FilterBank {
    bands: Vec<(usize, Vec<f64>)>,
}

impl FilterBank {
    /// `bands` triangles, equally spaced on `scale` between `fmin` and `fmax`, whose slopes are
    /// straight lines over frequency (HTK's and librosa's form; unlike Kaldi's).
    pub(crate) fn linear(
        rate: u32,
        n_fft: usize,
        bands: usize,
        fmin: f64,
        fmax: f64,
        scale: MelScale,
        norm: MelNorm,
    ) -> Self {
        let (low, high) = (to_mel(fmin, scale), to_mel(fmax, scale));
        let edge = |i: usize| from_mel(low + (high - low) * i as f64 / (bands + 1) as f64, scale);
        let bin = f64::from(rate) / n_fft as f64;
        Self::triangles(bands, n_fft / 2 + 1, |band, k| {
            let (left, centre, right) = (edge(band), edge(band + 1), edge(band + 2));
            let f = bin * k as f64;
            let weight = ((f - left) / (centre - left)).min((right - f) / (right - centre));
            match norm {
                MelNorm::None => weight,
                MelNorm::Slaney => weight * 2.0 / (right - left),
            }
        })
    }

    /// Kaldi's bank: 20 Hz to half the rate, slopes straight over mel, no bin at half the rate.
    pub(crate) fn kaldi(rate: u32, n_fft: usize, bands: usize) -> Self {
        let mel = |f: f64| 1127.0 * (1.0 + f / 700.0).ln();
        let (low, high) = (mel(20.0), mel(f64::from(rate) / 2.0));
        let step = (high - low) / (bands + 1) as f64;
        let bin = f64::from(rate) / n_fft as f64;
        Self::triangles(bands, n_fft / 2, |band, k| {
            let x = mel(bin * k as f64) - (low + step * band as f64);
            (x / step).min(2.0 - x / step)
        })
    }

    /// Keeps the bins in `0..bins` whose weight is above zero.
    fn triangles(bands: usize, bins: usize, weight: impl Fn(usize, usize) -> f64) -> Self {
        let bands = (0..bands)
            .map(|band| {
                let all: Vec<f64> = (0..bins).map(|k| weight(band, k).max(0.0)).collect();
                let first = all.iter().position(|&w| w > 0.0).unwrap_or(0);
                let end = all.iter().rposition(|&w| w > 0.0).map_or(first, |last| last + 1);
                (first, all[first..end].to_vec())
            })
            .collect();
        Self { bands }
    }

    /// Number of bands.
    pub(crate) fn len(&self) -> usize {
        self.bands.len()
    }

    /// The energy of each band of one frame's `spectrum`.
    pub(crate) fn apply<'a>(&'a self, spectrum: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.bands.iter().map(|(first, weights)| weights.iter().zip(&spectrum[*first..]).map(|(w, x)| w * x).sum())
    }
}

/// Slaney's scale is linear below this frequency, 200/3 Hz a mel.
const SLANEY_BREAK_HZ: f64 = 1000.0;
const SLANEY_HZ_PER_MEL: f64 = 200.0 / 3.0;
/// Its step above: 27 mels for a factor of 6.4.
fn slaney_log_step() -> f64 {
    6.4f64.ln() / 27.0
}

fn to_mel(f: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + f / 700.0).log10(),
        MelScale::Slaney if f < SLANEY_BREAK_HZ => f / SLANEY_HZ_PER_MEL,
        MelScale::Slaney => SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL + (f / SLANEY_BREAK_HZ).ln() / slaney_log_step(),
    }
}

fn from_mel(mel: f64, scale: MelScale) -> f64 {
    let kink = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL;
    match scale {
        MelScale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < kink => mel * SLANEY_HZ_PER_MEL,
        MelScale::Slaney => SLANEY_BREAK_HZ * ((mel - kink) * slaney_log_step()).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_invert_and_meet_their_published_points() {
        assert!((to_mel(1000.0, MelScale::Htk) - 999.985537).abs() < 1e-5);
        assert!((to_mel(1000.0, MelScale::Slaney) - 15.0).abs() < 1e-12);
        assert!((to_mel(6400.0, MelScale::Slaney) - 42.0).abs() < 1e-12);
        for scale in [MelScale::Htk, MelScale::Slaney] {
            for f in [0.0, 60.0, 999.0, 1000.0, 1001.0, 7777.0] {
                assert!((from_mel(to_mel(f, scale), scale) - f).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn neighbouring_triangles_sum_to_one_between_their_centres() {
        let bank = FilterBank::linear(16_000, 512, 20, 0.0, 8000.0, MelScale::Htk, MelNorm::None);
        let mut sum = vec![0.0; 257];
        for (first, weights) in &bank.bands {
            for (i, w) in weights.iter().enumerate() {
                sum[first + i] += w;
            }
        }
        assert!(sum[10..200].iter().all(|s| (s - 1.0).abs() < 1e-12));
    }
}
