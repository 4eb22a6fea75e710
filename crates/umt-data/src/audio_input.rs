//! How audio enters the network.

use serde::{Deserialize, Serialize};
use umt_audio::{Fill, FrontEndConfig, Window};

/// How sound enters the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "WrittenAudio", rename_all = "kebab-case")]
pub struct AudioInput {
    /// Waveform to spectrogram.
    pub front_end: FrontEndConfig,
    /// Length of the window in seconds.
    pub seconds: f64,
    /// Where the window lies; evaluation always uses the centre instead of a random one.
    pub window: AudioWindow,
    /// What fills the window when the clip is shorter.
    pub fill: Fill,
    /// Shift and scale of the spectrogram; when left out, [`AudioNormalise::of`] the front-end.
    pub normalise: AudioNormalise,
    /// A clip with less sound than this is `short`; default: half the window.
    pub min_seconds: Option<f64>,
}

/// [`AudioInput`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenAudio {
    front_end: FrontEndConfig,
    seconds: f64,
    #[serde(default)]
    window: AudioWindow,
    #[serde(default)]
    fill: Fill,
    #[serde(default)]
    normalise: Option<AudioNormalise>,
    #[serde(default)]
    min_seconds: Option<f64>,
}

impl From<WrittenAudio> for AudioInput {
    fn from(written: WrittenAudio) -> Self {
        let WrittenAudio { front_end, seconds, window, fill, normalise, min_seconds } = written;
        let normalise = normalise.unwrap_or_else(|| AudioNormalise::of(&front_end));
        Self { front_end, seconds, window, fill, normalise, min_seconds }
    }
}

/// Where the window of sound lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AudioWindow {
    /// At the start; the spectrogram is stored.
    #[default]
    Start,
    /// In the middle; the spectrogram is stored.
    Centre,
    /// Anywhere, anew for each epoch; the waveform is stored (16 bit).
    Random,
}

/// Shift and scale of a spectrogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AudioNormalise {
    /// By mean and standard deviation over all values of the training samples.
    #[default]
    Train,
    /// By the clip's own mean and standard deviation (done before any augmentation).
    Clip,
    /// Not at all (the front-end has done it).
    None,
}

impl AudioNormalise {
    /// What a front-end is published with: `ogm-ge` takes its log magnitudes as they are, and `fbank` has a mean and a std of its own;
    /// to standardise them again would be another input. Others are standardised over the training samples.
    pub fn of(front_end: &FrontEndConfig) -> Self {
        match front_end {
            FrontEndConfig::OgmGe { .. } | FrontEndConfig::Fbank { .. } => Self::None,
            FrontEndConfig::VggSound { .. } | FrontEndConfig::LogMel { .. } => Self::Train,
        }
    }
}

impl AudioInput {
    /// The window in samples at the front-end's rate.
    pub(crate) fn samples(&self, rate: u32) -> usize {
        (self.seconds * f64::from(rate)).round() as usize
    }

    /// The place of the window with these random bits (evaluation: `None`).
    pub(crate) fn window(&self, bits: Option<u64>) -> Window {
        match (self.window, bits) {
            (AudioWindow::Start, _) => Window::Start,
            (AudioWindow::Random, Some(bits)) => Window::Random(bits),
            _ => Window::Centre,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published front-ends are what their authors' networks read, unless the recipe says otherwise.
    #[test]
    fn published_front_ends_are_not_standardised_again() {
        let read = |front_end: &str, more: &str| {
            let text = format!(r#"{{"front-end": {{"kind": "{front_end}"}}, "seconds": 5.0{more}}}"#);
            serde_json::from_str::<AudioInput>(&text).unwrap()
        };
        let cases =
            [("ogm-ge", AudioNormalise::None), ("fbank", AudioNormalise::None), ("vgg-sound", AudioNormalise::Train)];
        for (front_end, expected) in cases {
            let left_out = read(front_end, "");
            assert_eq!(left_out.normalise, expected, "{front_end}");
            assert_eq!(read(front_end, r#", "normalise": "clip""#).normalise, AudioNormalise::Clip, "{front_end}");
            // What is stored says it, so that a later default changes no finished stage.
            let stored = serde_json::to_string(&left_out).unwrap();
            assert!(stored.contains("\"normalise\""), "{stored}");
        }
    }
}
