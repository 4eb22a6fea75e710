//! `data check`: what is there, missing and broken. Nothing is written.

use crate::{
    DataConfig, DataError, Dataset, DenseInput, DepthInput, Problem, Progress, RgbInput, SampleInfo, Source, Split,
    decode::Decoder, kinds, ordered,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};
use umt_media::{Limits, MediaError, Modality, read_bounded};
use umt_video::{Pick, Select};

/// How thoroughly a set is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOptions {
    /// Decode every file; otherwise only look whether it is there.
    pub decode: bool,
    /// Sound shorter than this is `short`; `None`: half the median length.
    pub short_seconds: Option<f64>,
    /// Threads; 0 takes all cores.
    pub threads: usize,
    /// How many files are named for each problem.
    pub named: usize,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { decode: true, short_seconds: None, threads: 0, named: 5 }
    }
}

/// What a look at a set found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The set's name.
    pub dataset: String,
    /// Its folder.
    pub root: PathBuf,
    /// Why it cannot be trained on, although it may be evaluated.
    #[serde(default)]
    pub untrainable: Option<String>,
    /// Samples named by the list.
    pub samples: usize,
    /// Samples without any problem.
    pub usable: usize,
    /// Class names.
    pub classes: Vec<String>,
    /// Samples of each class, per split; empty where each pixel has a class of its own.
    pub class_counts: BTreeMap<Split, Vec<usize>>,
    /// Pixels of each class, per split, if label maps were decoded.
    pub pixel_counts: BTreeMap<Split, Vec<u64>>,
    /// Kinds of group, with the number of groups of each.
    pub groups: BTreeMap<String, usize>,
    /// Kinds of problem that occur.
    pub problems: BTreeMap<Problem, Found>,
    /// Files beside the named ones that the list does not name.
    pub unlisted: usize,
    /// Shortest, median and longest sound in seconds, if any was decoded.
    pub seconds: Option<[f64; 3]>,
}

/// Samples with one kind of problem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// How many.
    pub count: usize,
    /// The first few: file and reason.
    pub first: Vec<String>,
}

impl CheckReport {
    /// Whether every sample can be used.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Looks at a set, decoding all of it.
///
/// # Errors
/// What [`crate::open`] refuses about the folder and the list.
pub fn check(root: Option<&Path>, dataset: &str) -> Result<CheckReport, DataError> {
    check_with(root, dataset, &CheckOptions::default(), &mut |_| {})
}

/// [`check`] with settings and progress.
///
/// # Errors
/// As [`check`].
pub fn check_with(
    root: Option<&Path>,
    dataset: &str,
    options: &CheckOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<CheckReport, DataError> {
    let set = kinds::read_list(dataset, root, &DataConfig::default())?;
    let total = set.samples.len();
    let mut bytes = 0;
    let mut looks = Vec::with_capacity(total);
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n.min(256),
    };
    let config = dense_config(&set);
    ordered::in_order(
        total,
        threads,
        8 * threads,
        || set.dense.as_ref().and_then(|_| Decoder::new(&set, &config).ok()),
        |decoder, i| match decoder {
            Some(decoder) => look_at_scene(decoder, &set.samples[i], options.decode),
            None => look(&set.samples[i], options.decode),
        },
        &mut |i, look: Look| {
            bytes += look.bytes;
            looks.push(look);
            progress(Progress { done: i + 1, total, bytes });
            Ok(())
        },
    )
    .map_err(|error| DataError::Worker { reason: error.to_string() })?;
    Ok(report(&set, looks, options))
}

/// What one sample's files are like.
#[derive(Default)]
struct Look {
    bytes: u64,
    seconds: Option<f64>,
    /// Pixels of each class.
    pixels: Vec<u64>,
    /// The first problem, the file and the reason.
    problem: Option<(Problem, String)>,
}

/// Reads every modality that a set with label maps has.
fn dense_config(set: &Dataset) -> DataConfig {
    let has = |modality| set.samples.iter().any(|sample| sample.sources.contains_key(&modality));
    DataConfig {
        rgb: has(Modality::Rgb).then(RgbInput::default),
        depth: has(Modality::Depth).then(DepthInput::default),
        dense: Some(DenseInput { size: [1, 1], classes: None }),
        ..DataConfig::default()
    }
}

/// What training would read, in the way that it would.
fn look_at_scene(decoder: &mut Decoder<'_>, sample: &SampleInfo, decode: bool) -> Look {
    let mut look = Look::default();
    for path in sample.parts().filter_map(|(_, source)| source.path()) {
        match path.metadata() {
            Ok(meta) => look.bytes += meta.len(),
            Err(_) => {
                look.problem = Some((Problem::Missing, path.display().to_string()));
                return look;
            }
        }
    }
    if decode {
        match decoder.decode(sample) {
            Ok((_, counts)) => look.pixels = counts.pixels,
            Err(failure) => look.problem = Some((failure.problem, format!("{}: {}", failure.path, failure.reason))),
        }
    }
    look
}

fn look(sample: &SampleInfo, decode: bool) -> Look {
    let mut look = Look::default();
    let mut before: Option<(&Path, Vec<u8>)> = None;
    if sample.sources.is_empty() {
        look.problem = Some((Problem::Missing, format!("{}: no file is named", sample.id)));
    }
    for (&modality, source) in &sample.sources {
        let Source::Path(path) = source else { continue };
        let mut result = Ok(());
        if !path.exists() {
            look.problem = Some((Problem::Missing, path.display().to_string()));
            return look;
        }
        if decode {
            result = match before.take() {
                // One clip that holds both is read once.
                Some((same, bytes)) if same == path => video(path, Some(&bytes)),
                _ if modality == Modality::Audio => audio(path, &mut look, &mut before),
                _ => video(path, None),
            }
            .map_err(|error| (Problem::of(&error, modality), error.to_string()));
        }
        if let Err((problem, reason)) = result {
            look.problem = Some((problem, format!("{}: {reason}", path.display())));
            return look;
        }
        if look.problem.is_some() {
            return look;
        }
    }
    look
}

fn audio<'a>(path: &'a Path, look: &mut Look, kept: &mut Option<(&'a Path, Vec<u8>)>) -> Result<(), MediaError> {
    let limits = Limits::default();
    let bytes = read_bounded(path, &limits)?;
    look.bytes += bytes.len() as u64;
    let waveform = umt_audio::decode_file(path, &bytes, &limits)?;
    let mono = waveform.mono();
    look.seconds = Some(mono.len() as f64 / f64::from(waveform.rate));
    let problem = if mono.iter().any(|value| !value.is_finite()) {
        Some((Problem::Corrupt, "the sound is not finite"))
    } else if mono.iter().all(|&value| value == 0.0) {
        Some((Problem::Silent, "every sample of the sound is zero"))
    } else {
        None
    };
    look.problem = problem.map(|(problem, reason)| (problem, format!("{}: {reason}", path.display())));
    *kept = Some((path, bytes));
    Ok(())
}

fn video(path: &Path, bytes: Option<&[u8]>) -> Result<(), MediaError> {
    let limits = Limits::default();
    // The last of several frames: nearly the whole clip must decode.
    let select = Select::Count { count: 8 };
    let size = Some((16, 16));
    let frames = match bytes {
        Some(bytes) => umt_video::decode_file(path, bytes, &select, Pick::Middle, size, &limits),
        None => umt_video::decode_path(path, &select, Pick::Middle, size, &limits),
    };
    frames.map(|_| ())
}

fn report(set: &Dataset, looks: Vec<Look>, options: &CheckOptions) -> CheckReport {
    let mut lengths: Vec<f64> = looks.iter().filter_map(|look| look.seconds).collect();
    lengths.sort_by(f64::total_cmp);
    let median = lengths.get(lengths.len() / 2).copied();
    let least = options.short_seconds.or(median.map(|m| m / 2.0)).unwrap_or(0.0);
    let mut problems: BTreeMap<Problem, Found> = BTreeMap::new();
    let mut pixel_counts: BTreeMap<Split, Vec<u64>> = BTreeMap::new();
    for (look, sample) in looks.iter().zip(&set.samples).filter(|(look, _)| !look.pixels.is_empty()) {
        let counts = pixel_counts.entry(sample.split).or_insert_with(|| vec![0; set.classes.len()]);
        counts.iter_mut().zip(&look.pixels).for_each(|(all, one)| *all += one);
    }
    for (look, sample) in looks.into_iter().zip(&set.samples) {
        let short = look.seconds.filter(|&s| s < least).map(|seconds| {
            let reason = format!("{}: {seconds:.2} s of sound, under {least:.2} s", sample.id);
            (Problem::Short, reason)
        });
        if let Some((problem, text)) = look.problem.or(short) {
            let found = problems.entry(problem).or_default();
            found.count += 1;
            if found.first.len() < options.named {
                found.first.push(text);
            }
        }
    }
    let splits = Split::ALL.into_iter().filter_map(|split| {
        let counts = set.class_counts(split);
        (set.dense.is_none() && counts.iter().any(|&n| n > 0)).then_some((split, counts))
    });
    let groups = set.group_names.iter().enumerate().map(|(column, name)| {
        let of = set.samples.iter().map(|s| &s.groups[column]);
        (name.clone(), of.filter(|g| !g.is_empty()).collect::<BTreeSet<_>>().len())
    });
    let broken: usize = problems.values().map(|found| found.count).sum();
    CheckReport {
        dataset: set.name.clone(),
        root: if set.root.as_os_str().is_empty() { ".".into() } else { set.root.clone() },
        untrainable: set.trainable().err().map(|error| error.to_string()),
        samples: set.samples.len(),
        usable: set.samples.len() - broken,
        classes: set.classes.clone(),
        class_counts: splits.collect(),
        pixel_counts,
        groups: groups.collect(),
        problems,
        unlisted: unlisted(set),
        seconds: match (lengths.first(), median, lengths.last()) {
            (Some(&first), Some(median), Some(&last)) => Some([first, median, last]),
            _ => None,
        },
    }
}

/// Media files beside the named ones that no row names.
fn unlisted(set: &Dataset) -> usize {
    let named: BTreeSet<&Path> = set
        .samples
        .iter()
        .flat_map(|sample| sample.parts())
        .filter_map(|(_, source)| match source {
            Source::Path(path) => Some(path.as_path()),
            Source::Synthetic(_) | Source::Frame(..) => None,
        })
        .collect();
    let folders: BTreeSet<&Path> = named.iter().filter_map(|path| path.parent()).collect();
    let clips = ["mp4", "mkv", "webm", "avi", "mov", "wav", "mp3", "flac", "ogg", "m4a"];
    let known: &[&str] = if set.dense.is_some() { &["png", "jpg", "jpeg"] } else { &clips };
    let media = |path: &PathBuf| {
        let extension = path.extension().and_then(|e| e.to_str());
        extension.is_some_and(|e| known.contains(&e))
    };
    folders
        .into_iter()
        .filter_map(|folder| folder.read_dir().ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| media(path) && !named.contains(path.as_path()))
        .count()
}

impl fmt::Display for CheckReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} in {}", self.dataset, self.root.display())?;
        writeln!(out, "  {} samples, {} classes, {} usable", self.samples, self.classes.len(), self.usable)?;
        if let Some([first, median, last]) = self.seconds {
            writeln!(out, "  sound: {first:.2} to {last:.2} s, median {median:.2} s")?;
        }
        for (name, count) in &self.groups {
            writeln!(out, "  {count} groups of kind `{name}`")?;
        }
        let width = self.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
        let pixels = !self.pixel_counts.is_empty();
        write!(out, "  {:width$}", if pixels { "pixels" } else { "class" })?;
        for split in self.class_counts.keys().chain(self.pixel_counts.keys()) {
            write!(out, " {split:>12}")?;
        }
        writeln!(out)?;
        for (class, name) in self.classes.iter().enumerate() {
            write!(out, "  {name:width$}")?;
            let samples = self.class_counts.values().map(|counts| counts[class] as u64);
            for count in samples.chain(self.pixel_counts.values().map(|counts| counts[class])) {
                write!(out, " {count:>12}")?;
            }
            writeln!(out)?;
        }
        if self.unlisted > 0 {
            writeln!(out, "  {} files beside them are in no list", self.unlisted)?;
        }
        for (problem, found) in &self.problems {
            writeln!(out, "  {problem}: {}", found.count)?;
            for text in &found.first {
                writeln!(out, "    {text}")?;
            }
            if found.count > found.first.len() {
                writeln!(out, "    ... and {} more", found.count - found.first.len())?;
            }
        }
        if let Some(reason) = &self.untrainable {
            writeln!(out, "  not to be trained on: {reason}")?;
        }
        if self.is_clean() {
            writeln!(out, "  nothing is missing or broken")?;
        }
        Ok(())
    }
}
