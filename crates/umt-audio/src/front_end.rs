//! The front-ends: mono samples to a `[bins, frames]` array.

use crate::{
    config::{FrontEndConfig, Padding},
    mel::FilterBank,
    stft::{Stft, hann, pad, tukey},
};
use umt_media::{Array, MediaError};

/// VGGSound's frames: 512 samples that overlap by 353.
const VGG_SOUND_WIN: usize = 512;
const VGG_SOUND_HOP: usize = 512 - 353;
/// Frames that are turned into columns together: writing each frame as a column of its own touches
/// one cache line per value, and with 1,024 frames all in the same few sets.
const BLOCK: usize = 16;
/// Kaldi's floor under the logarithm: the spacing of `f32` at one.
const KALDI_FLOOR: f64 = f32::EPSILON as f64;
/// Kaldi's pre-emphasis.
const PRE_EMPHASIS: f64 = 0.97;

/// A planned front-end; reuse one for all clips. Cheap to build, not `Sync`: one per worker.
pub struct FrontEnd {
    config: FrontEndConfig,
    stft: Stft,
    mel: Option<FilterBank>,
    hop: usize,
    /// Samples added at each end, and how.
    half: usize,
    reflect: bool,
    padded: Vec<f32>,
    /// Some frames, one after the other, before they become columns.
    block: Vec<f32>,
    magnitude: Vec<f64>,
}

impl FrontEnd {
    /// Plans the transform.
    ///
    /// # Errors
    /// [`MediaError::Malformed`] names a setting that is out of range.
    pub fn new(config: &FrontEndConfig) -> Result<Self, MediaError> {
        config.check()?;
        let (n_fft, window, hop, half, reflect, mel) = match *config {
            FrontEndConfig::VggSound { .. } => {
                let window = tukey(VGG_SOUND_WIN, 0.25);
                (VGG_SOUND_WIN, window, VGG_SOUND_HOP, 0, false, None)
            }
            FrontEndConfig::OgmGe { n_fft, hop, padding, .. } => {
                (n_fft, hann(n_fft, true), hop, n_fft / 2, padding == Padding::Reflect, None)
            }
            FrontEndConfig::Fbank { rate, bands, .. } => {
                let win = (f64::from(rate) * 0.025) as usize;
                let hop = (f64::from(rate) * 0.010) as usize;
                let n_fft = win.next_power_of_two();
                let mel = FilterBank::kaldi(rate, n_fft, bands);
                (n_fft, hann(win, false), hop, 0, false, Some(mel))
            }
            FrontEndConfig::LogMel {
                rate, n_fft, win, hop, bands, fmin, fmax, centre, padding, scale, norm, ..
            } => {
                let top = fmax.unwrap_or(f64::from(rate) / 2.0);
                let mel = FilterBank::linear(rate, n_fft, bands, fmin, top, scale, norm);
                let half = if centre { n_fft / 2 } else { 0 };
                let window = hann(win.unwrap_or(n_fft), true);
                (n_fft, window, hop, half, padding == Padding::Reflect, Some(mel))
            }
        };
        let stft = Stft::new(n_fft, window);
        let magnitude = vec![0.0; stft.bins()];
        let bins = mel.as_ref().map_or(stft.bins(), FilterBank::len);
        Ok(Self {
            config: config.clone(),
            stft,
            mel,
            hop,
            half,
            reflect,
            padded: Vec::new(),
            block: vec![0.0; BLOCK * bins],
            magnitude,
        })
    }

    /// Sample rate of the waveform it takes, Hz.
    pub fn rate(&self) -> u32 {
        self.config.rate()
    }

    /// `[bins, frames]` of the result for a clip of `samples` samples.
    ///
    /// A clip shorter than one frame has no frames; [`crate::fit`] it first.
    pub fn shape(&self, samples: usize) -> [usize; 2] {
        let bins = self.mel.as_ref().map_or(self.stft.bins(), FilterBank::len);
        let frames = match self.config {
            FrontEndConfig::Fbank { frames, .. } => frames,
            _ => self.frames(samples),
        };
        [bins, frames]
    }

    /// Whole frames in a clip of `samples` samples, its padding included.
    fn frames(&self, samples: usize) -> usize {
        // A window shorter than the transform stands in its middle, as torch and librosa have it,
        // and a frame spans the whole transform; Kaldi's transform is a padded frame.
        let span = match self.config {
            FrontEndConfig::LogMel { n_fft, .. } => n_fft,
            _ => self.stft.win(),
        };
        match (samples + 2 * self.half).checked_sub(span) {
            Some(rest) if samples > 0 => rest / self.hop + 1,
            _ => 0,
        }
    }

    /// The spectrogram of `mono`, row-major `[bins, frames]` as [`FrontEnd::shape`] says.
    ///
    /// `mono` must be at [`FrontEnd::rate`]. Values beyond [-1, 1] are clipped where the published
    /// front-end clips them (VGGSound's and OGM-GE's).
    pub fn run(&mut self, mono: &[f32]) -> Array {
        let [bins, frames] = self.shape(mono.len());
        let mut out = Array::zeros(vec![bins, frames]);
        let count = self.frames(mono.len()).min(frames);
        if count == 0 {
            return self.finish(out);
        }
        let mut padded = std::mem::take(&mut self.padded);
        pad(mono, self.half, self.reflect, &mut padded);
        if matches!(self.config, FrontEndConfig::VggSound { .. } | FrontEndConfig::OgmGe { .. }) {
            padded.iter_mut().for_each(|x| *x = x.clamp(-1.0, 1.0));
        }
        let mut block = std::mem::take(&mut self.block);
        for first in (0..count).step_by(BLOCK) {
            let width = BLOCK.min(count - first);
            for (i, row) in block.chunks_exact_mut(bins).take(width).enumerate() {
                self.frame(&padded[(first + i) * self.hop..], row);
            }
            for (bin, line) in out.data.chunks_exact_mut(frames).enumerate() {
                for (i, cell) in line[first..first + width].iter_mut().enumerate() {
                    *cell = block[i * bins + bin];
                }
            }
        }
        (self.padded, self.block) = (padded, block);
        self.finish(out)
    }

    /// Writes one frame's log spectrum.
    fn frame(&mut self, samples: &[f32], out: &mut [f32]) {
        let win = self.stft.win();
        let cells = out.iter_mut();
        match self.config {
            FrontEndConfig::VggSound { rate, .. } => {
                // One-sided power density: all but the first and last bin stand for two.
                let scale = 1.0 / (f64::from(rate) * self.stft.window_energy());
                let last = self.stft.bins() - 1;
                let spectrum = self.stft.transform(&samples[..win], 0, |x| {
                    let mean = x.iter().sum::<f64>() / x.len() as f64;
                    x.iter_mut().for_each(|x| *x -= mean);
                });
                for (k, (cell, bin)) in cells.zip(spectrum).enumerate() {
                    let sides = if k == 0 || k == last { 1.0 } else { 2.0 };
                    *cell = (bin.norm_sqr() * scale * sides + 1e-7).ln() as f32;
                }
            }
            FrontEndConfig::OgmGe { .. } => {
                let spectrum = self.stft.transform(&samples[..win], 0, |_| ());
                for (cell, bin) in cells.zip(spectrum) {
                    *cell = (bin.norm_sqr().sqrt() + 1e-7).ln() as f32;
                }
            }
            FrontEndConfig::Fbank { .. } => {
                let spectrum = self.stft.transform(&samples[..win], 0, |x| {
                    let mean = x.iter().sum::<f64>() / x.len() as f64;
                    x.iter_mut().for_each(|x| *x -= mean);
                    for i in (1..x.len()).rev() {
                        x[i] -= PRE_EMPHASIS * x[i - 1];
                    }
                    // Kaldi takes the first sample as its own predecessor.
                    x[0] -= PRE_EMPHASIS * x[0];
                });
                for (m, bin) in self.magnitude.iter_mut().zip(spectrum) {
                    *m = bin.norm_sqr();
                }
                if let Some(mel) = &self.mel {
                    for (cell, energy) in cells.zip(mel.apply(&self.magnitude)) {
                        *cell = energy.max(KALDI_FLOOR).ln() as f32;
                    }
                }
            }
            FrontEndConfig::LogMel { n_fft, power, floor, .. } => {
                let offset = (n_fft - win) / 2;
                let spectrum = self.stft.transform(&samples[offset..offset + win], offset, |_| ());
                for (m, bin) in self.magnitude.iter_mut().zip(spectrum) {
                    let square = bin.norm_sqr();
                    *m = if power == 1.0 {
                        square.sqrt()
                    } else if power == 2.0 {
                        square
                    } else {
                        square.powf(power / 2.0)
                    };
                }
                if let Some(mel) = &self.mel {
                    for (cell, energy) in cells.zip(mel.apply(&self.magnitude)) {
                        *cell = (energy + floor).ln() as f32;
                    }
                }
            }
        }
    }

    /// What is done to the whole clip: standardising, or the data set's mean and deviation.
    fn finish(&self, mut out: Array) -> Array {
        match self.config {
            FrontEndConfig::VggSound { standardise: true, .. } if !out.data.is_empty() => {
                let n = out.data.len() as f64;
                let mean = out.data.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
                let square = |&x: &f32| (f64::from(x) - mean).powi(2);
                let std = (out.data.iter().map(square).sum::<f64>() / n).sqrt();
                for x in &mut out.data {
                    *x = ((f64::from(*x) - mean) / (std + 1e-9)) as f32;
                }
            }
            FrontEndConfig::Fbank { mean, std, .. } => {
                // Padding frames are zero before this step, as the published loaders have it.
                for x in &mut out.data {
                    *x = ((f64::from(*x) - mean) / (2.0 * std)) as f32;
                }
            }
            _ => (),
        }
        out
    }
}
