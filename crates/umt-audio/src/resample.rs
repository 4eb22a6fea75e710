//! Band-limited change of the sample rate.

use rubato::{Fft, FixedSync, Resampler as _, WindowFunction, audioadapter_buffers::direct::InterleavedSlice};
use umt_media::{Limits, MediaError};

/// Frames of a block at the lower rate: the filter then passes 98 % of the lower band.
const BLOCK: usize = 1024;

/// A planned conversion between two rates; reuse it for clips of the same rates. It works in f64 like the spectrograms,
/// so that the generic FFT is compiled once.
pub struct Resampler {
    from: u32,
    to: u32,
    inner: Option<Fft<f64>>,
}

impl Resampler {
    /// Plans the conversion.
    ///
    /// # Errors
    /// [`MediaError::Malformed`] for rates outside 1 kHz to 768 kHz.
    pub fn new(from: u32, to: u32) -> Result<Self, MediaError> {
        for rate in [from, to] {
            check_rate(rate)?;
        }
        let inner = if from == to {
            None
        } else {
            let common = gcd(from, to);
            let lower = (from.min(to) / common) as usize;
            // An even number of the smallest blocks: the filter's centre, half a block, is then a
            // whole number of samples at both rates and the delay can be cut off exactly.
            let blocks = BLOCK.div_ceil(lower).next_multiple_of(2);
            let chunk = blocks * (from / common) as usize;
            let (from, to) = (from as usize, to as usize);
            let window = WindowFunction::BlackmanHarris2;
            let plan = Fft::new_custom(from, to, chunk, 1, 1, window, FixedSync::Both);
            Some(plan.map_err(|e| failed(from, to, &e))?)
        };
        Ok(Self { from, to, inner })
    }

    /// Converts a whole clip: `ceil(len * to / from)` samples without delay.
    ///
    /// # Errors
    /// [`MediaError::Limit`] for a result of more than an hour at a high rate.
    pub fn run(&mut self, samples: &[f32]) -> Result<Vec<f32>, MediaError> {
        let Some(inner) = &mut self.inner else {
            return Ok(samples.to_vec());
        };
        let expected = (samples.len() as u64 * u64::from(self.to)).div_ceil(u64::from(self.from));
        // A header may declare a tiny rate, and the result would then be a thousand times longer.
        Limits::check("resampled length", expected, Limits::default().max_samples)?;
        if samples.is_empty() {
            return Ok(Vec::new());
        }
        let (from, to) = (self.from as usize, self.to as usize);
        let samples: Vec<f64> = samples.iter().map(|x| f64::from(*x)).collect();
        let input = InterleavedSlice::new(samples.as_slice(), 1, samples.len()).map_err(|e| failed(from, to, &e))?;
        let output = inner.process_all(&input, samples.len(), None).map_err(|e| failed(from, to, &e))?;
        let mut output: Vec<f32> = output.take_data().into_iter().map(|x| x as f32).collect();
        // The length is ours: the resampler computes it in floating point.
        output.resize(expected as usize, 0.0);
        Ok(output)
    }
}

/// Converts a whole clip once; [`Resampler`] saves the planning for many.
///
/// # Errors
/// As [`Resampler::new`] and [`Resampler::run`].
///
/// ```
/// let tone: Vec<f32> = (0..44_100).map(|n| (n as f32 * 0.0627).sin()).collect();
/// assert_eq!(umt_audio::resample(&tone, 44_100, 16_000)?.len(), 16_000);
/// # Ok::<(), umt_media::MediaError>(())
/// ```
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, MediaError> {
    Resampler::new(from, to)?.run(samples)
}

/// Rates outside this range are mistakes of a header.
pub(crate) fn check_rate(rate: u32) -> Result<(), MediaError> {
    if (1_000..=768_000).contains(&rate) {
        return Ok(());
    }
    Err(MediaError::malformed("sample rate", format!("{rate} Hz is not within 1,000 to 768,000")))
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn failed(from: usize, to: usize, reason: &dyn std::fmt::Display) -> MediaError {
    MediaError::unsupported(format!("resampling {from} Hz to {to} Hz"), reason.to_string())
}
