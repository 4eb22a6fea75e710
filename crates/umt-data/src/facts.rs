//! What a set is like: how many samples, how long, how large, and what will make results doubtful. A starter recipe is chosen
//! by it.

use crate::{DataConfig, DataError, Dataset, Defects, Sample, Split, kinds};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use umt_media::{Limits, Modality, read_bounded};
use umt_video::{Pick, Select};

/// So many samples are opened to see how long and how large they are.
const OPENED: usize = 24;

/// What a set is like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Classes of samples, or of pixels.
    pub classes: usize,
    /// Training samples, validation included if the set names none of its own.
    pub train: usize,
    /// Validation samples that the set names.
    pub validation: usize,
    /// Test samples.
    pub test: usize,
    /// The fewest training samples that a class has; of samples with label maps, 0.
    pub rarest: usize,
    /// The kind of group that validation should not tear apart.
    pub group: Option<String>,
    /// Groups of that kind among the training samples.
    pub groups: usize,
    /// Audio, where samples have it.
    pub audio: Option<AudioFacts>,
    /// Width and height of the median frame, and whether every clip is a still image.
    pub video: Option<([usize; 2], bool)>,
    /// Width and height of the median colour picture, where pixels have classes.
    pub scenes: Option<[usize; 2]>,
    /// What will make results doubtful, in sentences.
    pub concerns: Vec<String>,
}

/// What audio is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AudioFacts {
    /// The median sampling rate.
    pub rate: u32,
    /// Shortest, median and longest clip in seconds, of those that were opened.
    pub seconds: [f64; 3],
}

/// Looks at a set: its list, and a few of its files.
///
/// # Errors
/// What [`crate::open`] gives about the list.
pub fn facts(dataset: &str, root: Option<&Path>) -> Result<Facts, DataError> {
    let set = kinds::read_list(dataset, root, &DataConfig::default(), &mut Defects::stop())?;
    let count = |split| set.indices(split).len();
    let group = set.hold_out.clone();
    let column = group.as_ref().and_then(|name| set.group_names.iter().position(|known| known == name));
    let train = || set.iter().filter(|sample| sample.split() == Split::Train);
    let groups: BTreeSet<&str> = column.map_or_else(BTreeSet::new, |at| train().map(|s| s.group(at)).collect());
    let mut found = Facts {
        classes: set.classes.len(),
        train: count(Split::Train),
        validation: count(Split::Validation),
        test: count(Split::Test),
        rarest: if set.dense.is_some() { 0 } else { set.class_counts(Split::Train).into_iter().min().unwrap_or(0) },
        groups: groups.len(),
        group,
        ..Facts::default()
    };
    open_some(&set, &mut found);
    concerns(&set, &mut found);
    Ok(found)
}

fn open_some(set: &Dataset, found: &mut Facts) {
    let limits = Limits::default();
    let n = set.len().min(OPENED);
    let some: Vec<Sample<'_>> = (0..n).map(|i| set.sample(i * set.len() / n)).collect();
    let files = |modality| -> Vec<PathBuf> {
        let sources = some.iter().filter_map(|sample| sample.source(modality));
        sources.filter_map(|source| source.path().map(Path::to_owned)).collect()
    };
    let (mut rates, mut seconds) = (Vec::new(), Vec::new());
    for path in &files(Modality::Audio) {
        let Ok(bytes) = read_bounded(path, &limits) else { continue };
        if let Ok(waveform) = umt_audio::decode_file(path, &bytes, &limits) {
            seconds.push(waveform.mono().len() as f64 / f64::from(waveform.rate));
            rates.push(waveform.rate);
        }
    }
    seconds.sort_by(f64::total_cmp);
    rates.sort_unstable();
    if let (Some(&rate), Some(&first), Some(&last)) = (rates.get(rates.len() / 2), seconds.first(), seconds.last()) {
        found.audio = Some(AudioFacts { rate, seconds: [first, seconds[seconds.len() / 2], last] });
    }
    let size = |path: &Path| {
        let frames = umt_video::decode_path(path, &Select::Count { count: 1 }, Pick::Middle, None, &limits).ok()?;
        frames.first().map(|frame| [frame.width, frame.height])
    };
    let median = |modality| {
        let mut sizes: Vec<[usize; 2]> = files(modality).iter().filter_map(|path| size(path)).collect();
        sizes.sort_by_key(|[width, height]| width * height);
        sizes.get(sizes.len() / 2).copied()
    };
    let image = |path: &Path| {
        let extension = path.extension().map(|e| e.to_ascii_lowercase());
        extension.is_some_and(|e| ["png", "jpg", "jpeg"].iter().any(|known| e == *known))
    };
    found.video = median(Modality::Video).map(|size| (size, files(Modality::Video).iter().all(|path| image(path))));
    found.scenes = median(Modality::Rgb).filter(|_| set.dense.is_some());
}

fn concerns(set: &Dataset, found: &mut Facts) {
    let mut say = |text: String| found.concerns.push(text);
    if set.dense.is_none() {
        let (train, test) = (set.class_counts(Split::Train), set.class_counts(Split::Test));
        let names = |wanted: &dyn Fn(usize) -> bool| -> Vec<String> {
            (0..set.classes.len())
                .filter(|&class| wanted(class))
                .map(|class| format!("`{}`", set.classes[class]))
                .collect()
        };
        let shown = |names: Vec<String>| match names.len() {
            n if n > 5 => format!("{} and {} more", names[..5].join(", "), n - 5),
            _ => names.join(", "),
        };
        let few = names(&|class| (1..10).contains(&train[class]));
        if !few.is_empty() {
            say(format!("fewer than 10 training samples of {}: their results will be chance", shown(few)));
        }
        let untested = names(&|class| train[class] > 0 && test[class] == 0);
        if !untested.is_empty() {
            say(format!("no test sample of {}", shown(untested)));
        }
        let (most, least) = (train.iter().max().copied().unwrap_or(0), found.rarest);
        if least > 0 && most > 10 * least {
            say(format!(
                "the largest class has {most} training samples, the smallest {least}: read macro F1, not top-1"
            ));
        }
        if set.classes.len() == 1 {
            say("there is one class only".into());
        }
        if found.test > 0 && found.test < 100 {
            let half = 98.0 / (found.test as f64).sqrt();
            say(format!("{} test samples: an accuracy is known to ±{half:.0} points at best", found.test));
        }
    }
}
