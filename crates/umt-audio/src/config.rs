//! Which spectrogram: the settings, as a recipe writes them.

use serde::{Deserialize, Serialize};
use umt_media::MediaError;

/// How frames at the two ends of a clip are completed when they are centred on their sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Mirrored without repeating the edge (librosa before 0.10, torch).
    #[default]
    Reflect,
    /// Zeros (librosa from 0.10 on).
    Zero,
}

/// The formula between hertz and mel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MelScale {
    /// 2595 log10(1 + f / 700), the HTK formula.
    #[default]
    Htk,
    /// Linear to 1 kHz, logarithmic above (Slaney's Auditory Toolbox, librosa's default).
    Slaney,
}

/// How the triangles of a mel filter bank are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MelNorm {
    /// Each triangle peaks at one.
    #[default]
    None,
    /// Each triangle has the same area (librosa's default).
    Slaney,
}

/// A front-end: how a mono waveform at `rate` becomes a `[bins, frames]` array.
///
/// Every field but `kind` has a default; the defaults of a kind are the published settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FrontEndConfig {
    /// VGGSound's baseline: `scipy.signal.spectrogram` (Tukey 0.25, constant detrend, power
    /// density), log(x + 1e-7), standardised per clip. 10 s at 16 kHz give 257 x 1004.
    VggSound {
        /// Sample rate, Hz.
        #[serde(default = "rate_16k")]
        rate: u32,
        /// Subtract the clip's mean and divide by its std + 1e-9.
        #[serde(default = "yes")]
        standardise: bool,
    },
    /// OGM-GE's: log(|STFT| + 1e-7), periodic Hann window, centred frames. 5 s at 16 kHz give
    /// 129 x 626; CREMA-D's form is `rate = 22050, n_fft = 512, hop = 353`, 3 s, 257 x 188.
    OgmGe {
        /// Sample rate, Hz.
        #[serde(default = "rate_16k")]
        rate: u32,
        /// Window and transform length, samples.
        #[serde(default = "ogm_n_fft")]
        n_fft: usize,
        /// Samples between frames.
        #[serde(default = "ogm_hop")]
        hop: usize,
        /// Ends of the clip; librosa 0.9 and older, which that code ran with, reflects.
        #[serde(default)]
        padding: Padding,
    },
    /// Kaldi's filter bank as audio transformers use it: 25 ms Hann frames every 10 ms, 0.97
    /// pre-emphasis, power spectrum, log; cut or zero-padded to `frames`, then
    /// `(x - mean) / (2 * std)`.
    Fbank {
        /// Sample rate, Hz.
        #[serde(default = "rate_16k")]
        rate: u32,
        /// Mel bands.
        #[serde(default = "fbank_bands")]
        bands: usize,
        /// Frames of the result.
        #[serde(default = "fbank_frames")]
        frames: usize,
        /// Mean of the log energies over the data set.
        #[serde(default = "fbank_mean")]
        mean: f64,
        /// Std of the log energies over the data set.
        #[serde(default = "fbank_std")]
        std: f64,
    },
    /// log(mel bands of |STFT|^power + floor), periodic Hann window, everything free.
    LogMel {
        /// Sample rate, Hz.
        #[serde(default = "rate_16k")]
        rate: u32,
        /// Transform length, samples.
        #[serde(default = "mel_n_fft")]
        n_fft: usize,
        /// Window length, samples, centred in the transform; `n_fft` when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        win: Option<usize>,
        /// Samples between frames.
        #[serde(default = "mel_hop")]
        hop: usize,
        /// Mel bands.
        #[serde(default = "mel_bands")]
        bands: usize,
        /// Lower edge of the first band, Hz.
        #[serde(default)]
        fmin: f64,
        /// Upper edge of the last band, Hz; half the rate when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fmax: Option<f64>,
        /// Added before the logarithm.
        #[serde(default = "mel_floor")]
        floor: f64,
        /// Exponent of the magnitude: 1 for magnitude, 2 for power.
        #[serde(default = "one")]
        power: f64,
        /// Frames are centred on multiples of `hop`, the ends completed by `padding`.
        #[serde(default = "yes")]
        centre: bool,
        /// How centred frames are completed.
        #[serde(default)]
        padding: Padding,
        /// Hertz to mel.
        #[serde(default)]
        scale: MelScale,
        /// Scaling of the triangles.
        #[serde(default)]
        norm: MelNorm,
    },
}

impl FrontEndConfig {
    /// Log-mel of `bands` bands over 0 Hz to half of `rate`, other settings at their defaults.
    pub fn log_mel(rate: u32, bands: usize) -> Self {
        Self::LogMel {
            rate,
            n_fft: mel_n_fft(),
            win: None,
            hop: mel_hop(),
            bands,
            fmin: 0.0,
            fmax: None,
            floor: mel_floor(),
            power: 1.0,
            centre: true,
            padding: Padding::Reflect,
            scale: MelScale::Htk,
            norm: MelNorm::None,
        }
    }

    /// Sample rate of the waveform it takes, Hz.
    pub fn rate(&self) -> u32 {
        match *self {
            Self::VggSound { rate, .. }
            | Self::OgmGe { rate, .. }
            | Self::Fbank { rate, .. }
            | Self::LogMel { rate, .. } => rate,
        }
    }

    /// An error that names the first setting out of its range.
    pub(crate) fn check(&self) -> Result<(), MediaError> {
        range("rate", self.rate().into(), 1_000.0, 768_000.0)?;
        match *self {
            Self::VggSound { .. } => Ok(()),
            Self::OgmGe { n_fft, hop, .. } => frame(n_fft, n_fft, hop),
            Self::Fbank { bands, frames, mean, std, .. } => {
                range("bands", bands as f64, 1.0, 1024.0)?;
                range("frames", frames as f64, 1.0, 1e6)?;
                range("mean", mean, -1e6, 1e6)?;
                range("std", std, 1e-6, 1e6)
            }
            Self::LogMel { rate, n_fft, win, hop, bands, fmin, fmax, floor, power, .. } => {
                frame(n_fft, win.unwrap_or(n_fft), hop)?;
                range("bands", bands as f64, 1.0, 1024.0)?;
                let top = fmax.unwrap_or(f64::from(rate) / 2.0);
                range("fmax", top, 1.0, f64::from(rate) / 2.0)?;
                range("fmin", fmin, 0.0, top - 1.0)?;
                range("floor", floor, f64::MIN_POSITIVE, 1e6)?;
                range("power", power, 0.1, 4.0)
            }
        }
    }
}

fn frame(n_fft: usize, win: usize, hop: usize) -> Result<(), MediaError> {
    range("n_fft", n_fft as f64, 2.0, 65_536.0)?;
    range("win", win as f64, 2.0, n_fft as f64)?;
    range("hop", hop as f64, 1.0, 65_536.0)
}

fn range(name: &str, value: f64, low: f64, high: f64) -> Result<(), MediaError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(MediaError::malformed(format!("front-end setting `{name}`"), format!("{value} is not within {low} to {high}")))
}

fn rate_16k() -> u32 {
    16_000
}
fn yes() -> bool {
    true
}
fn one() -> f64 {
    1.0
}
fn ogm_n_fft() -> usize {
    256
}
fn ogm_hop() -> usize {
    128
}
fn fbank_bands() -> usize {
    128
}
fn fbank_frames() -> usize {
    1024
}
/// VGGSound's mean and std as audio transformers publish them.
fn fbank_mean() -> f64 {
    -4.503877
}
fn fbank_std() -> f64 {
    5.141276
}
fn mel_n_fft() -> usize {
    512
}
fn mel_hop() -> usize {
    160
}
fn mel_bands() -> usize {
    64
}
fn mel_floor() -> f64 {
    1e-5
}
