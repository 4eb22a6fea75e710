//! One windowed real transform, planned once and reused for every frame.

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex};
use std::{f64::consts::PI, sync::Arc};

/// A plan with its buffers: `power(frame)` allocates nothing.
pub(crate) struct Stft {
    plan: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    input: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
}

impl Stft {
    /// A transform of `n_fft` samples; `window` may be shorter and then starts at `offset`.
    pub(crate) fn new(n_fft: usize, window: Vec<f64>) -> Self {
        let plan = RealFftPlanner::<f64>::new().plan_fft_forward(n_fft);
        Self {
            window,
            input: plan.make_input_vec(),
            spectrum: plan.make_output_vec(),
            scratch: plan.make_scratch_vec(),
            plan,
        }
    }

    /// Number of bins from zero to half the rate.
    pub(crate) fn bins(&self) -> usize {
        self.spectrum.len()
    }

    /// Window length, samples.
    pub(crate) fn win(&self) -> usize {
        self.window.len()
    }

    /// Mean square of the window times its length: the sum of its squares.
    pub(crate) fn window_energy(&self) -> f64 {
        self.window.iter().map(|w| w * w).sum()
    }

    /// Transforms `frame` (as long as the window), after `prepare` has changed it in place, and
    /// returns the spectrum. `offset` places the window inside the transform.
    pub(crate) fn transform(
        &mut self,
        frame: &[f32],
        offset: usize,
        prepare: impl FnOnce(&mut [f64]),
    ) -> &[Complex<f64>] {
        let win = self.window.len();
        self.input.fill(0.0);
        let part = &mut self.input[offset..offset + win];
        for (x, &sample) in part.iter_mut().zip(frame) {
            *x = f64::from(sample);
        }
        prepare(part);
        for (x, w) in part.iter_mut().zip(&self.window) {
            *x *= w;
        }
        // The lengths are the plan's own, the one thing that could make it fail.
        let done = self.plan.process_with_scratch(&mut self.input, &mut self.spectrum, &mut self.scratch);
        debug_assert!(done.is_ok());
        &self.spectrum
    }
}

/// Hann window; periodic (`n` steps to the repeat) for spectra, symmetric as Kaldi has it.
pub(crate) fn hann(n: usize, periodic: bool) -> Vec<f64> {
    let steps = if periodic { n } else { n - 1 } as f64;
    (0..n).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f64 / steps).cos()).collect()
}

/// Periodic Tukey window whose tapers are `alpha` of its length together.
pub(crate) fn tukey(n: usize, alpha: f64) -> Vec<f64> {
    let taper = alpha * n as f64 / 2.0;
    let rise = |x: f64| 0.5 - 0.5 * (PI * x / taper).cos();
    (0..n)
        .map(|i| {
            let x = (i as f64).min((n - i) as f64);
            if x < taper { rise(x) } else { 1.0 }
        })
        .collect()
}

/// The samples with `half` more at each end: mirrored about the first and last, or zeros.
///
/// A clip shorter than `half` is mirrored as often as needed, as numpy does.
pub(crate) fn pad(samples: &[f32], half: usize, reflect: bool, out: &mut Vec<f32>) {
    out.clear();
    out.reserve(samples.len() + 2 * half);
    let last = samples.len().saturating_sub(1);
    let mirrored = |position: i64| -> f32 {
        if !reflect || samples.is_empty() {
            return 0.0;
        }
        let period = (2 * last).max(1) as i64;
        let folded = position.rem_euclid(period) as usize;
        samples[folded.min(2 * last - folded)]
    };
    out.extend((0..half).map(|i| mirrored(i as i64 - half as i64)));
    out.extend_from_slice(samples);
    out.extend((0..half).map(|i| mirrored((samples.len() + i) as i64)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_the_published_shape() {
        let hann = hann(8, true);
        assert!((hann[4] - 1.0).abs() < 1e-15 && hann[0] == 0.0 && (hann[2] - 0.5).abs() < 1e-15);
        let tukey = tukey(512, 0.25);
        assert!(tukey[0] == 0.0 && (tukey[32] - 0.5).abs() < 1e-15 && tukey[64] == 1.0);
        assert!((tukey[511] - tukey[1]).abs() < 1e-15);
    }

    #[test]
    fn padding_mirrors_about_the_edge_sample() {
        let mut out = Vec::new();
        pad(&[1.0, 2.0, 3.0, 4.0], 2, true, &mut out);
        assert_eq!(out, [3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0]);
        pad(&[1.0, 2.0], 3, true, &mut out);
        assert_eq!(out, [2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0]);
        pad(&[5.0], 2, true, &mut out);
        assert_eq!(out, [5.0; 5]);
        pad(&[5.0], 1, false, &mut out);
        assert_eq!(out, [0.0, 5.0, 0.0]);
    }
}
