//! The settings of `[data]`: what is read, how it is stored, augmented and divided.

use crate::{
    AudioInput, AudioNormalise, AudioWindow, DataError, DenseInput, DepthInput, Problem, ResizedCrop, RgbInput,
    SyntheticAvConfig, SyntheticRoomsConfig,
};
use serde::{Deserialize, Serialize};
use umt_audio::{Fill, FrontEndConfig, MelNorm, MelScale, Padding};
use umt_media::Modality;
use umt_video::Select;

/// All settings of a data set. The defaults read nothing: name at least one modality.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct DataConfig {
    /// How sound enters the network; `None` leaves it out.
    pub audio: Option<AudioInput>,
    /// How video enters the network; `None` leaves it out.
    pub video: Option<VideoInput>,
    /// How colour pictures with a class for every pixel enter the network; `None` leaves them out.
    pub rgb: Option<RgbInput>,
    /// How depth enters the network; `None` leaves it out.
    pub depth: Option<DepthInput>,
    /// What `rgb` and `depth` have in common with their label maps; needed where one of them is.
    pub dense: Option<DenseInput>,
    /// Random changes of the training samples.
    pub augment: AugmentConfig,
    /// The share of train that is held out.
    pub validation: ValidationConfig,
    /// What happens when a sample cannot be used.
    pub on_error: OnError,
    /// Problems that do not count as errors: `silent` and `short` samples can still be used.
    pub tolerate: Vec<Problem>,
    /// At most this many samples of each split, spread evenly over the classes.
    pub limit: Option<usize>,
    /// Threads that decode when the cache is made; 0 takes all cores. No result depends on it.
    pub decode_threads: usize,
    /// The design of the embedded synthetic set; used by `synthetic-av` alone.
    pub synthetic: SyntheticAvConfig,
    /// The design of the embedded rooms; used by `synthetic-rooms` alone.
    pub rooms: SyntheticRoomsConfig,
}

/// What happens when a sample cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// Stop with the file and the reason.
    #[default]
    Stop,
    /// Leave the sample out and count it; the order of the others does not change.
    Skip,
}

/// How video enters the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VideoInput {
    /// Which frames of a clip.
    pub select: Select,
    /// Frames stored around each selected one; training draws one of them, evaluation takes the
    /// middle. 1 stores only the frames that are used.
    #[serde(default = "one")]
    pub candidates: usize,
    /// Width and height of a stored frame.
    pub size: [usize; 2],
    /// Width and height of what the network sees.
    pub crop: [usize; 2],
    /// Shift and scale of the 8-bit values.
    #[serde(default)]
    pub normalise: VideoNormalise,
}

fn one() -> usize {
    1
}

/// Shift and scale of 8-bit colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VideoNormalise {
    /// x / 127.5 - 1.
    #[default]
    Half,
    /// (x / 255 - mean) / std with ImageNet's mean and standard deviation per channel.
    Imagenet,
}

impl VideoNormalise {
    /// `(scale, bias)` per channel, so that a value is `scale * x + bias`.
    pub fn affine(self) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::Half => ([1.0 / 127.5; 3], [-1.0; 3]),
            Self::Imagenet => {
                let mean = [0.485f32, 0.456, 0.406];
                let std = [0.229f32, 0.224, 0.225];
                (std.map(|s| 1.0 / (255.0 * s)), [0, 1, 2].map(|c| -mean[c] / std[c]))
            }
        }
    }
}

/// Random changes of the training samples, drawn anew for each (seed, epoch, sample id).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct AugmentConfig {
    /// Draw the place of the crop (one for all frames of a clip); otherwise it is the centre.
    pub crop: bool,
    /// Draw a region of a clip's frames, one for all of them, and bring it to the size of the crop, in place of `crop`;
    /// evaluation then takes whole frames at that size. Absent: no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<ResizedCrop>,
    /// Probability of mirroring a clip or scene; 0 where left and right differ in meaning (digits).
    pub flip: f64,
    /// Range that the scale of picture, depth and label map is drawn from, at least 1: what the
    /// network sees is cut out of the scene enlarged by it.
    pub scale: [f64; 2],
    /// Hue, saturation and value of the colour picture are each multiplied by a number drawn from
    /// 1 - `hsv` to 1 + `hsv`.
    pub hsv: f64,
    /// Roll the spectrogram in time by up to this many frames either way.
    pub time_shift: usize,
    /// Number of bands of time that are blanked, and their greatest width in frames.
    pub time_masks: usize,
    /// See `time_masks`.
    pub time_mask_width: usize,
    /// Number of bands of frequency that are blanked, and their greatest width in bins.
    pub band_masks: usize,
    /// See `band_masks`.
    pub band_mask_width: usize,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            crop: true,
            resized_crop: None,
            flip: 0.0,
            scale: [1.0, 1.0],
            hsv: 0.0,
            time_shift: 0,
            time_masks: 0,
            time_mask_width: 0,
            band_masks: 0,
            band_mask_width: 0,
        }
    }
}

/// How validation is cut from train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ValidationConfig {
    /// Share of the training samples, 0 to 0.5; 0 holds nothing out.
    pub share: f64,
    /// The group column whose groups are held out whole; `none` for no groups; left out, the set's own choice.
    pub group_by: Option<String>,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self { share: 0.1, group_by: None }
    }
}

impl DataConfig {
    /// Refuses settings that cannot be, before any file is opened.
    pub fn validate(&self) -> Result<(), DataError> {
        // Depth with a size of its own stands beside sound and video.
        let beside = self.depth.as_ref().is_some_and(|depth| depth.size.is_some());
        let dense = self.rgb.is_some() || (self.depth.is_some() && !beside);
        let sequential = self.audio.is_some() || self.video.is_some() || beside;
        if !dense && !sequential {
            return Err(DataError::config("audio, video, rgb, depth", "all are absent; name at least one"));
        }
        if dense && sequential {
            return Err(DataError::config(
                "rgb, depth",
                "they have a class per pixel and cannot stand beside audio or video, which have one per clip; depth of a \
                 clip has a size: depth.size = [32, 32]",
            ));
        }
        if dense != self.dense.is_some() {
            return Err(DataError::config(
                "dense",
                "it belongs to rgb and depth: name all that are meant, such as dense.size = [320, 240]",
            ));
        }
        self.dense.as_ref().map_or(Ok(()), DenseInput::validate)?;
        self.rgb.as_ref().map_or(Ok(()), RgbInput::validate)?;
        self.depth.as_ref().map_or(Ok(()), DepthInput::validate)?;
        self.augment.validate()?;
        if let Some(audio) = &self.audio
            && !(audio.seconds > 0.0 && audio.seconds <= 3600.0)
        {
            return Err(DataError::config("audio.seconds", format!("{} is not in (0, 3600]", audio.seconds)));
        }
        if let Some(video) = &self.video {
            video.validate()?;
        }
        if let Some(problem) = self.tolerate.iter().find(|p| !p.tolerable()) {
            return Err(DataError::config(
                "tolerate",
                format!("`{problem}` cannot be used as it is; allowed: silent, short"),
            ));
        }
        if self.limit == Some(0) {
            return Err(DataError::config("limit", "0 leaves nothing; at least 1"));
        }
        self.validation.validate()
    }
}

impl DataConfig {
    /// Whether a part of a sample is read: a modality's name, or `label-map`.
    pub(crate) fn reads(&self, part: &str) -> bool {
        match part.parse() {
            Ok(Modality::Audio) => self.audio.is_some(),
            Ok(Modality::Depth) => self.depth.is_some(),
            Ok(Modality::Rgb) => self.rgb.is_some(),
            Ok(Modality::Video) => self.video.is_some(),
            // The label map.
            Err(_) => self.dense.is_some(),
        }
    }
}

impl AugmentConfig {
    fn validate(&self) -> Result<(), DataError> {
        if !(0.0..=1.0).contains(&self.flip) {
            return Err(DataError::config("augment.flip", format!("{} is no probability (0 to 1)", self.flip)));
        }
        self.resized_crop.as_ref().map_or(Ok(()), ResizedCrop::validate)?;
        let [low, high] = self.scale;
        if !(low >= 1.0 && high >= low && high <= 16.0) {
            return Err(DataError::config("augment.scale", format!("[{low}, {high}] is no range within 1 to 16")));
        }
        if !(0.0..=1.0).contains(&self.hsv) {
            return Err(DataError::config("augment.hsv", format!("{} is not within 0 to 1", self.hsv)));
        }
        Ok(())
    }
}

impl VideoInput {
    fn validate(&self) -> Result<(), DataError> {
        for (name, value) in [("size", self.size), ("crop", self.crop)] {
            if value.iter().any(|&v| v == 0 || v > 4096) {
                return Err(DataError::config(format!("video.{name}"), format!("{value:?} is not within 1..=4096")));
            }
        }
        if self.crop[0] > self.size[0] || self.crop[1] > self.size[1] {
            return Err(DataError::config(
                "video.crop",
                format!("{:?} does not fit into size {:?}", self.crop, self.size),
            ));
        }
        if !(1..=64).contains(&self.candidates) {
            return Err(DataError::config("video.candidates", format!("{} is not within 1..=64", self.candidates)));
        }
        Ok(())
    }
}

impl ValidationConfig {
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        if (0.0..=0.5).contains(&self.share) {
            return Ok(());
        }
        Err(DataError::config("validation.share", format!("{} is not within 0 to 0.5", self.share)))
    }
}

impl DataConfig {
    /// How the embedded synthetic set is read: 0.752 s of sound at 8 kHz as 32 log-mel bands of 48
    /// frames, and 3 frames of 40x40 cropped to 32x32.
    pub fn synthetic_av() -> Self {
        Self {
            audio: Some(AudioInput {
                front_end: FrontEndConfig::LogMel {
                    rate: 8_000,
                    n_fft: 256,
                    win: None,
                    hop: 128,
                    bands: 32,
                    fmin: 60.0,
                    fmax: None,
                    floor: 1e-5,
                    power: 1.0,
                    centre: true,
                    padding: Padding::Reflect,
                    scale: MelScale::Htk,
                    norm: MelNorm::None,
                },
                seconds: 0.752,
                window: AudioWindow::Start,
                fill: Fill::Zero,
                normalise: AudioNormalise::Train,
                min_seconds: None,
            }),
            video: Some(VideoInput {
                select: Select::Count { count: 3 },
                candidates: 1,
                size: [40, 40],
                crop: [32, 32],
                normalise: VideoNormalise::Half,
            }),
            augment: AugmentConfig { time_shift: 4, ..AugmentConfig::default() },
            ..Self::default()
        }
    }

    /// How audio-visual digits are read: 1.5 s at 16 kHz as 64 log-mel bands of 151 frames, and the
    /// middle frames of three segments at 72x72 cropped to 64x64.
    pub fn av_digits() -> Self {
        Self {
            audio: Some(AudioInput {
                front_end: FrontEndConfig::log_mel(16_000, 64),
                seconds: 1.5,
                window: AudioWindow::Start,
                fill: Fill::Zero,
                normalise: AudioNormalise::Train,
                min_seconds: None,
            }),
            video: Some(VideoInput {
                select: Select::Count { count: 3 },
                candidates: 1,
                size: [72, 72],
                crop: [64, 64],
                normalise: VideoNormalise::Half,
            }),
            augment: AugmentConfig { time_shift: 10, ..AugmentConfig::default() },
            ..Self::default()
        }
    }
}
