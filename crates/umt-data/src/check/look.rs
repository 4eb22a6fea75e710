//! One sample as training would read it.

use super::{depth::Range, files};
use crate::{
    AudioInput, AudioNormalise, AudioWindow, DataConfig, Dataset, DenseInput, DepthInput, Failure, Problem, RgbInput,
    Sample, Source, VideoInput, VideoNormalise,
    cache::Outcome,
    finding::{Finding, FindingKind},
    shard,
};
use std::path::Path;
use umt_audio::{Fill, FrontEndConfig};
use umt_media::{Limits, Modality, read_bounded};
use umt_video::Select;

/// What is seen of one sample.
#[derive(Default)]
pub(super) struct Look {
    /// Whether a run could use it.
    pub usable: bool,
    pub findings: Vec<Finding>,
    pub bytes: u64,
    /// Length of its audio.
    pub seconds: Option<f64>,
    /// Pixels of each class.
    pub pixels: Vec<u64>,
    pub depth: Option<Range>,
    /// The first half of the SHA-256 of each input's files.
    pub contents: Vec<(Modality, u128)>,
    /// Digest of what the cache would store.
    pub record: Option<u128>,
}

impl Look {
    /// Only whether its files are named and there.
    pub fn of_list(sample: Sample<'_>, config: &DataConfig) -> Self {
        let mut look = Self::empty_cells(sample, config);
        if look.usable
            && let Some(finding) = files::missing(sample, config)
        {
            look.reject(sample, finding);
        }
        look
    }

    /// All that its files hold; `stored`: also what the cache would store.
    pub fn of_files(sample: Sample<'_>, config: &DataConfig, outcome: Outcome, stored: bool) -> Self {
        let mut look = Self::empty_cells(sample, config);
        match outcome {
            Ok((decoded, counts)) => {
                look.seconds = counts.seconds;
                look.pixels = counts.pixels;
                look.depth = decoded.scene.as_ref().and_then(|scene| scene.depth.as_ref()).map(Range::of);
                if stored {
                    look.record = half(&shard::record_digest(&decoded));
                }
                if counts.by_ffmpeg {
                    let path = sample.source(Modality::Audio).and_then(|source| Some(source.path()?.to_owned()));
                    let reason = format!("{}", path.unwrap_or_default().display());
                    look.say(sample, Finding::new(FindingKind::ThroughFfmpeg, reason));
                }
            }
            // An empty cell has been named already.
            Err(_) if !look.usable => {}
            Err(failure) => {
                let missing = files::missing(sample, config).filter(|_| failure.problem == Problem::Missing);
                look.reject(sample, missing.unwrap_or_else(|| described(failure)));
            }
        }
        look.read_files(sample, config);
        look
    }

    /// The cells of the list that a run would miss.
    fn empty_cells(sample: Sample<'_>, config: &DataConfig) -> Self {
        let mut look = Self { usable: true, ..Self::default() };
        let listed = sample.set().samples.modalities().map(Modality::name);
        let map = sample.set().dense.is_some().then_some("label-map");
        for name in listed.chain(map).filter(|name| config.reads(name)) {
            if sample.part(name).is_none() {
                look.reject(sample, Finding::new(FindingKind::EmptyCell, format!("`{name}` is empty")));
            }
        }
        look
    }

    fn say(&mut self, sample: Sample<'_>, finding: Finding) {
        let list = sample.set().list(sample.split());
        let list = list.as_deref().unwrap_or(Path::new(""));
        self.findings.push(finding.at(list, sample.line(), sample.id()));
    }

    fn reject(&mut self, sample: Sample<'_>, finding: Finding) {
        self.usable = false;
        self.say(sample, finding);
    }

    /// The contents of the inputs, and what their images ask for.
    fn read_files(&mut self, sample: Sample<'_>, config: &DataConfig) {
        let mut before: Option<Source> = None;
        for (modality, source) in sample.sources().filter(|(modality, _)| config.reads(modality.name())) {
            let Source::Path(path) = &source else { continue };
            if before.as_ref() == Some(&source) {
                continue;
            }
            let (mut text, mut whole, mut turned) = (String::new(), true, None);
            for file in files::visible(path) {
                let Ok(bytes) = read_bounded(&file, &Limits::default()) else {
                    whole = false;
                    continue;
                };
                self.bytes += bytes.len() as u64;
                text.push_str(&umt_store::sha256_hex(&bytes));
                if turned.is_none() {
                    turned = umt_video::exif_orientation(&bytes).map(|number| (file, number));
                }
            }
            // An empty folder equals every other, and has been named.
            if whole && !text.is_empty() {
                let digest = if text.len() == 64 { text } else { umt_store::sha256_hex(text.as_bytes()) };
                self.contents.extend(half(&digest).map(|digest| (modality, digest)));
            }
            if let Some((file, number)) = turned {
                let kind = match modality {
                    Modality::Video => FindingKind::Rotated,
                    _ => FindingKind::Orientation,
                };
                let reason = format!("{}: the EXIF orientation is {number}", file.display());
                self.say(sample, Finding::new(kind, reason));
            }
            before = Some(source);
        }
    }
}

fn described(failure: Failure) -> Finding {
    let reason = match failure.reason.contains(&failure.path) {
        true => failure.reason,
        false => format!("{}: {}", failure.path, failure.reason),
    };
    Finding::new(failure.problem.into(), reason)
}

/// The first 128 bits of a digest in hexadecimal digits.
fn half(digest: &str) -> Option<u128> {
    u128::from_str_radix(digest.get(..32)?, 16).ok()
}

/// Settings that read all that a set has.
pub(super) fn everything(set: &Dataset) -> DataConfig {
    let has = |modality| set.samples.modalities().any(|other| other == modality);
    let dense = set.dense.is_some();
    let audio = || AudioInput {
        front_end: FrontEndConfig::log_mel(16_000, 64),
        seconds: 1.0,
        window: AudioWindow::Start,
        fill: Fill::Zero,
        normalise: AudioNormalise::None,
        min_seconds: Some(0.0),
    };
    // The last of several frames: nearly the whole clip must decode.
    let video = || VideoInput {
        select: Select::Count { count: 8 },
        candidates: 1,
        size: [16, 16],
        crop: [16, 16],
        normalise: VideoNormalise::Half,
    };
    DataConfig {
        audio: (!dense && has(Modality::Audio)).then(audio),
        video: (!dense && has(Modality::Video)).then(video),
        rgb: (dense && has(Modality::Rgb)).then(RgbInput::default),
        depth: (dense && has(Modality::Depth)).then(DepthInput::default),
        dense: dense.then_some(DenseInput { size: [1, 1], classes: None }),
        ..DataConfig::default()
    }
}

/// Shortest, median and longest audio in seconds.
pub(super) fn range(seconds: &[(u32, f32)]) -> Option<[f64; 3]> {
    let mut lengths: Vec<f32> = seconds.iter().map(|&(_, length)| length).collect();
    lengths.sort_by(f32::total_cmp);
    let at = |index: usize| lengths.get(index).map(|&length| f64::from(length));
    Some([at(0)?, at(lengths.len() / 2)?, at(lengths.len() - 1)?])
}

/// Where no recipe says what is short: samples with less than half the median of audio.
pub(super) fn short(set: &Dataset, seconds: &[(u32, f32)]) -> Vec<(usize, Finding)> {
    let least = range(seconds).map_or(0.0, |[_, median, _]| median / 2.0);
    let short = seconds.iter().filter(|&&(_, length)| f64::from(length) < least);
    let finding = |&(row, length): &(u32, f32)| {
        let sample = set.sample(row as usize);
        let reason = format!("{length:.2} s of audio, less than half the median of {:.2} s", 2.0 * least);
        let list = set.list(sample.split()).unwrap_or_default();
        let finding = Finding::new(Problem::Short.into(), reason).at(&list, sample.line(), sample.id());
        (row as usize, finding)
    };
    short.map(finding).collect()
}
