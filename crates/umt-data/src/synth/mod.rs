//! The embedded audio-visual set, drawn and synthesised by code.
//!
//! A sample shows a glyph of its class drifting over a textured ground behind pieces of other
//! glyphs, while a "word" of the same class is spoken by a synthetic voice in pink noise and the
//! babble of two other words. As in real sets, few pictures and few recordings serve many samples in
//! new combinations, and test uses pictures and recordings that train does not: so there is something
//! to memorise, and something to generalise. Sound and picture of a sample are unclear independently
//! of one another, so one of them alone does not suffice. All of it is a function of the design.

mod draw;
mod glyphs;
mod relief;
mod voice;
mod words;

use crate::{
    DataError, Dataset, DepthPixels, Split,
    dataset::Lists,
    samples::{NewSample, NewSource, Samples},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use umt_audio::Waveform;
use umt_media::Modality;
use umt_random::{id_hash, stream};
use umt_video::Frame;

/// Number of classes.
pub(crate) const CLASSES: usize = 10;

/// The design of the synthetic set: every knob of its difficulty, in one place.
///
/// Each sample draws how clear its sound and its picture are, from 0 to 1; ranges are read there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct SyntheticAvConfig {
    /// Another seed is another set.
    pub seed: u64,
    /// Training samples, validation included.
    pub train: usize,
    /// Test samples.
    pub test: usize,
    /// Recordings of each class in train; test has as many for its share, of other voices.
    pub recordings: usize,
    /// Pictures of each class in train.
    pub pictures: usize,
    /// Voices in train; test has as many others.
    pub voices: usize,
    /// How often sound and picture trade places: 1 makes the picture clear where the sound is not and
    /// the other way round, 0 draws them independently. A high value lets a joint network fit each
    /// sample by its clear side, so that neither encoder learns its unclear samples.
    pub trade: f32,
    /// Level of the pink noise below the word, dB, from the least clear sound to the clearest.
    pub noise_db: [f32; 2],
    /// Level of the two other words below the word, dB, likewise.
    pub babble_db: [f32; 2],
    /// How far a recording strays from its word: formants, timing, pitch. 0 to 1.
    pub word_jitter: f32,
    /// Difference of the glyph from the ground, of the 8-bit range, from the least clear picture to
    /// the clearest.
    pub contrast: [f32; 2],
    /// Strength of the ground's texture, of the 8-bit range, likewise.
    pub texture: [f32; 2],
    /// Pieces of other glyphs in front, likewise.
    pub distractors: [f32; 2],
    /// Standard deviation of the pixels' noise, of the 8-bit range.
    pub pixel_noise: f32,
    /// How far a picture strays from its glyph: turn, shear, size, strokes. 0 to 1.
    pub glyph_jitter: f32,
}

impl Default for SyntheticAvConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            train: 2_000,
            test: 500,
            recordings: 100,
            pictures: 150,
            voices: 24,
            trade: 0.6,
            noise_db: [-4.0, 16.0],
            babble_db: [-3.0, 15.0],
            word_jitter: 0.6,
            contrast: [0.1, 0.55],
            texture: [0.22, 0.06],
            distractors: [5.0, 1.0],
            pixel_noise: 0.04,
            glyph_jitter: 0.6,
        }
    }
}

/// The list of the synthetic set: classes in turn, pictures and recordings drawn.
pub(crate) fn dataset(config: &SyntheticAvConfig) -> Result<Dataset, DataError> {
    for (key, value) in [
        ("train", config.train),
        ("test", config.test),
        ("recordings", config.recordings),
        ("pictures", config.pictures),
        ("voices", config.voices),
    ] {
        if !(1..=1_000_000).contains(&value) {
            return Err(DataError::config(format!("synthetic.{key}"), format!("{value} is not within 1..=1000000")));
        }
    }
    let total = config.train + config.test;
    let mut samples = Samples::default();
    for number in 0..total as u64 {
        let label = label_of(config, number);
        let parts = Parts::of(config, number);
        let split = parts.split;
        let group = |made_from| format!("{}-{label}-{made_from}", split.name());
        let source = NewSource::Made(number);
        samples.push(NewSample {
            id: &format!("{}-{number:05}", split.name()),
            label: label as u32,
            split,
            line: 0,
            groups: &[&group(parts.picture), &group(parts.recording)],
            sources: &[(Modality::Audio, source), (Modality::Video, source)],
            map: None,
        });
    }
    Ok(Dataset {
        name: "synthetic-av".into(),
        root: PathBuf::new(),
        lists: Lists::None,
        classes: (0..CLASSES).map(|class| format!("class-{class}")).collect(),
        samples,
        group_names: vec!["picture".into(), "recording".into()],
        hold_out: Some("recording".into()),
        synthetic: Some(config.clone()),
        rooms: None,
        dense: None,
    })
}

/// Classes in turn, from 0 again at the start of test.
fn label_of(config: &SyntheticAvConfig, number: u64) -> usize {
    let train = config.train as u64;
    (if number < train { number } else { number - train }) as usize % CLASSES
}

/// What a sample is made from.
struct Parts {
    split: Split,
    /// How clear sound and picture are, 0 to 1.
    clear: [f32; 2],
    picture: u64,
    recording: u64,
    /// Which relief shows the class to a depth camera, and how clearly.
    cast: u64,
    cast_clear: f32,
}

impl Parts {
    fn of(config: &SyntheticAvConfig, number: u64) -> Self {
        let split = if number < config.train as u64 { Split::Train } else { Split::Test };
        let mut rng = stream(config.seed, "synthetic.parts", number, 0);
        let (picture, recording) = (rng.below(config.pictures as u64), rng.below(config.recordings as u64));
        let sound = rng.uniform();
        let other = rng.uniform();
        let traded = rng.bernoulli(f64::from(config.trade));
        let (cast, cast_clear) = (rng.below(config.pictures as u64), rng.uniform());
        let clear = [sound, if traded { 1.0 - sound } else { other }];
        Self { split, clear, picture, recording, cast, cast_clear }
    }
}

/// One sample as a clip file would give it.
pub(crate) struct Made {
    pub waveform: Option<Waveform>,
    pub frames: Vec<Frame>,
    pub relief: Option<DepthPixels>,
}

/// Makes samples by number.
pub(crate) struct Generator {
    config: SyntheticAvConfig,
}

impl Generator {
    pub fn new(config: &SyntheticAvConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Sample `number`: sound of `(rate, seconds)`, frames of `((width, height), count)`, a depth picture of a size.
    pub fn make(
        &self,
        number: u64,
        label: usize,
        audio: Option<(u32, f64)>,
        video: Option<([usize; 2], usize)>,
        depth: Option<[usize; 2]>,
    ) -> Made {
        let parts = Parts::of(&self.config, number);
        let waveform = audio.map(|(rate, seconds)| {
            let length = (seconds * f64::from(rate)).round() as usize;
            let samples = self.sound(number, label, &parts, rate, length);
            Waveform { rate, channels: vec![samples], by_ffmpeg: false }
        });
        let frames = video.map_or(Vec::new(), |(size, count)| self.frames(number, label, &parts, size, count));
        let relief = depth.map(|size| {
            let pool = id_hash(parts.split.name());
            let mut hand = stream(self.config.seed, "synthetic.cast", pool, parts.cast * 64 + label as u64);
            let glyph = draw::Strokes::written(label, self.config.glyph_jitter, &mut hand);
            let mut rng = stream(self.config.seed, "synthetic.relief", number, 0);
            relief::picture(glyph, label, parts.cast_clear, size, &mut rng)
        });
        Made { waveform, frames, relief }
    }

    fn sound(&self, number: u64, label: usize, parts: &Parts, rate: u32, length: usize) -> Vec<f32> {
        let config = &self.config;
        let pool = id_hash(parts.split.name());
        let speak = |word: usize, recording: u64| {
            let mut rng = stream(config.seed, "synthetic.recording", pool, recording * 64 + word as u64);
            let voice = rng.below(config.voices as u64);
            let voice = voice::Voice::new(&mut stream(config.seed, "synthetic.voice", pool, voice));
            voice.speak(word, config.word_jitter, rate, length, &mut rng)
        };
        let mut rng = stream(config.seed, "synthetic.sound", number, 0);
        let mut sound = speak(label, parts.recording);
        for _ in 0..2 {
            let other = (label + 1 + rng.below(CLASSES as u64 - 1) as usize) % CLASSES;
            let babble = speak(other, rng.below(config.recordings as u64));
            let at = rng.below(length.max(1) as u64) as usize;
            let level = amplitude(at_clearness(config.babble_db, parts.clear[0]));
            for (i, value) in sound.iter_mut().enumerate() {
                *value += level * babble[(i + at) % length];
            }
        }
        let level = amplitude(at_clearness(config.noise_db, parts.clear[0]));
        let noise = voice::pink_noise(length, &mut rng);
        let gain = rng.range(0.3, 1.0);
        for (value, noise) in sound.iter_mut().zip(noise) {
            *value = (gain * (*value + level * noise)).clamp(-1.0, 1.0);
        }
        sound
    }

    fn frames(&self, number: u64, label: usize, parts: &Parts, size: [usize; 2], count: usize) -> Vec<Frame> {
        let config = &self.config;
        let pool = id_hash(parts.split.name());
        let mut hand = stream(config.seed, "synthetic.picture", pool, parts.picture * 64 + label as u64);
        let glyph = draw::Strokes::written(label, config.glyph_jitter, &mut hand);
        let mut rng = stream(config.seed, "synthetic.frames", number, 0);
        let scene = draw::Scene::new(config, glyph, label, parts.clear[1], &mut rng);
        (0..count)
            .map(|frame| {
                let time = (frame as f32 + 0.5) / count as f32;
                scene.frame(time, size, &mut rng)
            })
            .collect()
    }
}

/// The factor for a level in dB below the word.
fn amplitude(decibel: f32) -> f32 {
    10f32.powf(-decibel / 20.0)
}

/// The value of a range from the least clear sample to the clearest.
fn at_clearness(range: [f32; 2], clear: f32) -> f32 {
    range[0] + (range[1] - range[0]) * clear
}
