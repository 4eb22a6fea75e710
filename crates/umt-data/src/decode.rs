//! One sample's files to what is stored: spectrogram or waveform, and small frames.

use crate::{
    AudioInput, AudioWindow, DataConfig, DataError, Dataset, Problem, Sample, SceneData, Source, VideoInput,
    scene::SceneReader, synth,
};
use std::path::{Path, PathBuf};
use umt_audio::{FrontEnd, Resampler, Waveform, fit};
use umt_media::{Array, Limits, MediaError, Modality, read_bounded};
use umt_video::{Frame, Pick, Select};

/// A decoded sample, as the cache stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The sound, if the set is read with sound.
    pub audio: Option<AudioData>,
    /// The frames, if the set is read with video.
    pub video: Option<VideoData>,
    /// Colours, depth and classes, in sets with a class for every pixel.
    pub scene: Option<SceneData>,
}

/// What is counted while decoding, so that figures of any set of samples follow without them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Over the spectrogram.
    pub sound: Sums,
    /// Over the measured depths, in millimetres.
    pub depth: Sums,
    /// Pixels of each class.
    pub pixels: Vec<u64>,
    /// Length of the whole audio in seconds.
    pub seconds: Option<f64>,
    /// Whether the installed `ffmpeg` decoded the audio.
    pub by_ffmpeg: bool,
}

/// Stored sound.
#[derive(Clone, Debug, PartialEq)]
pub enum AudioData {
    /// Log-spectrogram of a fixed window, `[bins, frames]`.
    Spectrogram(Array),
    /// Mono waveform at the front-end's rate, 16 bit, for a window drawn anew each epoch.
    Waveform(Vec<i16>),
}

/// Stored frames, 8-bit RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoData {
    /// Frames, height and width.
    pub shape: [usize; 3],
    /// `[frames, height, width, 3]`.
    pub rgb: Vec<u8>,
}

/// Sums over values, from which mean and deviation of any set of samples follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sums {
    /// Number of values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

impl Sums {
    pub(crate) fn of(values: &[f32]) -> Self {
        let (mut sum, mut squares) = (0.0f64, 0.0f64);
        for &value in values {
            let value = f64::from(value);
            sum += value;
            squares += value * value;
        }
        Self { count: values.len() as u64, sum, squares }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// Mean and standard deviation.
    pub(crate) fn moments(&self) -> [f32; 2] {
        let count = self.count.max(1) as f64;
        let mean = self.sum / count;
        let variance = (self.squares / count - mean * mean).max(0.0);
        [mean as f32, variance.sqrt() as f32]
    }
}

/// Why a sample cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of problem.
    pub problem: Problem,
    /// The file.
    pub path: String,
    /// The reason in words.
    pub reason: String,
}

/// Decodes the samples of one set; each thread has its own.
pub(crate) struct Decoder<'a> {
    config: &'a DataConfig,
    front_end: Option<FrontEnd>,
    /// The planned conversion from the rate of the clip before, which most clips share.
    resampler: Option<(u32, Resampler)>,
    generator: Option<synth::Generator>,
    scenes: Option<SceneReader<'a>>,
    classes: usize,
    limits: Limits,
}

impl<'a> Decoder<'a> {
    pub fn new(set: &'a Dataset, config: &'a DataConfig) -> Result<Self, DataError> {
        let front_end = config.audio.as_ref().map(front_end).transpose()?;
        Ok(Self {
            config,
            front_end,
            resampler: None,
            generator: set.synthetic.as_ref().map(synth::Generator::new),
            scenes: SceneReader::new(set, config),
            classes: set.classes.len(),
            limits: Limits::default(),
        })
    }

    /// The stored form of a sample, and what was counted.
    pub fn decode(&mut self, sample: Sample<'_>) -> Result<(Decoded, Counts), Failure> {
        if let Some(scenes) = &mut self.scenes {
            let scene = scenes.read(sample)?;
            let counts = Counts { depth: scene.depth_sums(), pixels: scene.pixels(self.classes), ..Counts::default() };
            return Ok((Decoded { audio: None, video: None, scene: Some(scene) }, counts));
        }
        let config = self.config;
        let mut made = self.make(sample)?;
        let mut bytes = None;
        let mut counts = Counts::default();
        let mut audio = None;
        if let Some(input) = &config.audio {
            let (waveform, path) = match made.as_mut().and_then(|made| made.waveform.take()) {
                Some(waveform) => (waveform, sample.id().to_owned()),
                None => self.read_audio(sample, &mut bytes)?,
            };
            let (data, sums) =
                self.audio(input, &waveform).map_err(|(problem, reason)| Failure { problem, path, reason })?;
            audio = Some(data);
            counts.sound = sums;
            counts.seconds = Some(waveform.len() as f64 / f64::from(waveform.rate));
            counts.by_ffmpeg = waveform.by_ffmpeg;
        }
        let mut video = None;
        let scene = made.as_mut().and_then(|made| made.relief.take()).map(SceneData::of_depth);
        if let Some(input) = &config.video {
            let frames = match made {
                Some(made) => made.frames,
                None => self.read_video(sample, input, bytes)?,
            };
            video = Some(pack(frames, input));
        }
        counts.depth = scene.as_ref().map_or(Sums::default(), SceneData::depth_sums);
        Ok((Decoded { audio, video, scene }, counts))
    }

    fn make(&self, sample: Sample<'_>) -> Result<Option<synth::Made>, Failure> {
        let number = sample.sources().find_map(|(_, source)| match source {
            Source::Synthetic(number) => Some(number),
            Source::Path(_) | Source::Frame(..) => None,
        });
        let (Some(number), Some(generator)) = (number, &self.generator) else {
            return Ok(None);
        };
        let size = self.config.video.as_ref().map(|v| (v.size, stored(v).count()));
        let audio = self.config.audio.as_ref().map(|a| (a.front_end.rate(), a.seconds));
        let depth = self.config.depth.as_ref().and_then(|depth| depth.size);
        Ok(Some(generator.make(number, sample.label(), audio, size, depth)))
    }

    /// The waveform, its path, and in `bytes` the file for a video track in the same one.
    fn read_audio(&self, sample: Sample<'_>, bytes: &mut Option<Vec<u8>>) -> Result<(Waveform, String), Failure> {
        let path = path_of(sample, Modality::Audio)?;
        let fail = |error: MediaError| failure(&path, &error, Modality::Audio);
        let read = read_bounded(&path, &self.limits).map_err(fail)?;
        let waveform = umt_audio::decode_file(&path, &read, &self.limits).map_err(fail)?;
        if sample.source(Modality::Video) == sample.source(Modality::Audio) {
            *bytes = Some(read);
        }
        Ok((waveform, path.display().to_string()))
    }

    fn read_video(
        &self,
        sample: Sample<'_>,
        input: &VideoInput,
        bytes: Option<Vec<u8>>,
    ) -> Result<Vec<Frame>, Failure> {
        let path = path_of(sample, Modality::Video)?;
        let size = Some((input.size[0], input.size[1]));
        let select = stored(input);
        let frames = match bytes {
            Some(bytes) => umt_video::decode_file(&path, &bytes, &select, Pick::Middle, size, &self.limits),
            None => umt_video::decode_path(&path, &select, Pick::Middle, size, &self.limits),
        };
        let frames = frames.map_err(|error| failure(&path, &error, Modality::Video))?;
        let fits = |f: &Frame| {
            f.width == input.size[0] && f.height == input.size[1] && f.rgb.len() == input.size[0] * input.size[1] * 3
        };
        if frames.len() == select.count() && frames.iter().all(fits) {
            return Ok(frames);
        }
        Err(Failure {
            problem: Problem::Corrupt,
            path: path.display().to_string(),
            reason: format!("{} frames instead of {}", frames.len(), select.count()),
        })
    }

    fn audio(&mut self, input: &AudioInput, waveform: &Waveform) -> Result<(AudioData, Sums), (Problem, String)> {
        let Some(front_end) = self.front_end.as_mut() else {
            return Err((Problem::Unsupported, "no front-end".into()));
        };
        let rate = front_end.rate();
        let mono = waveform.mono();
        let tolerate = |problem| self.config.tolerate.contains(&problem);
        if let Some(at) = mono.iter().position(|value| !value.is_finite()) {
            let reason = format!("sample {at} of the sound is not finite");
            return Err((Problem::Corrupt, reason));
        }
        if mono.iter().all(|&value| value == 0.0) && !tolerate(Problem::Silent) {
            return Err((Problem::Silent, "every sample of the sound is zero".into()));
        }
        let seconds = mono.len() as f64 / f64::from(waveform.rate);
        let least = input.min_seconds.unwrap_or(input.seconds / 2.0);
        if seconds < least && !tolerate(Problem::Short) {
            let reason = format!(
                "{seconds:.2} s of audio, at least {least:.2} s are asked for; data.audio.seconds sets how much, and data.tolerate = [\"short\"] fills the rest"
            );
            return Err((Problem::Short, reason));
        }
        let mono = if waveform.rate == rate {
            mono
        } else {
            resample(&mut self.resampler, &mono, waveform.rate, rate)
                .map_err(|error| (Problem::Corrupt, error.to_string()))?
        };
        let window = fit(&mono, input.samples(rate), input.window(None), input.fill);
        let spectrogram = front_end.run(&window);
        let sums = Sums::of(&spectrogram.data);
        if !(sums.sum.is_finite() && sums.squares.is_finite()) {
            return Err((Problem::Corrupt, "the spectrogram is not finite".into()));
        }
        let data = match input.window {
            AudioWindow::Random => AudioData::Waveform(mono.iter().map(|&v| to_i16(v)).collect()),
            _ => AudioData::Spectrogram(spectrogram),
        };
        Ok((data, sums))
    }
}

fn resample(planned: &mut Option<(u32, Resampler)>, mono: &[f32], from: u32, to: u32) -> Result<Vec<f32>, MediaError> {
    match planned {
        Some((rate, resampler)) if *rate == from => resampler.run(mono),
        _ => planned.insert((from, Resampler::new(from, to)?)).1.run(mono),
    }
}

pub(crate) fn front_end(input: &AudioInput) -> Result<FrontEnd, DataError> {
    FrontEnd::new(&input.front_end).map_err(|error| DataError::config("audio.front-end", error.to_string()))
}

/// The frames that are stored: `candidates` for each one that is used.
pub(crate) fn stored(input: &VideoInput) -> Select {
    match input.select {
        Select::Rate { fps, count } => {
            Select::Rate { fps: fps * input.candidates as f64, count: count * input.candidates }
        }
        Select::Count { count } => Select::Count { count: count * input.candidates },
    }
}

fn pack(frames: Vec<Frame>, input: &VideoInput) -> VideoData {
    let mut rgb = Vec::with_capacity(frames.len() * input.size[0] * input.size[1] * 3);
    for frame in &frames {
        rgb.extend_from_slice(&frame.rgb);
    }
    VideoData { shape: [frames.len(), input.size[1], input.size[0]], rgb }
}

fn path_of(sample: Sample<'_>, modality: Modality) -> Result<PathBuf, Failure> {
    match sample.source(modality) {
        Some(Source::Path(path)) => Ok(path),
        _ => Err(Failure {
            problem: Problem::Missing,
            path: format!("the {modality} column"),
            reason: "no file is named".into(),
        }),
    }
}

fn failure(path: &Path, error: &MediaError, modality: Modality) -> Failure {
    Failure { problem: Problem::of(error, modality), path: path.display().to_string(), reason: error.to_string() }
}

fn to_i16(value: f32) -> i16 {
    (value * 32768.0).round().clamp(-32768.0, 32767.0) as i16
}

pub(crate) fn from_i16(value: i16) -> f32 {
    f32::from(value) / 32768.0
}
