//! Every clip is decoded once; later runs read the decoded samples from one file.

use crate::{
    AudioNormalise, DataConfig, DataError, Dataset, Decoded, DepthNormalise, Failure, OnError, Problem, Sample,
    Skipped, Split, SplitCounts, Sums, cache_key,
    decode::{Counts, Decoder},
    shard,
};
use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};
use umt_store::Store;

/// How far the making of a cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Samples done.
    pub done: usize,
    /// Samples in all.
    pub total: usize,
    /// Bytes written.
    pub bytes: u64,
}

/// The decoded samples of a set.
#[derive(Debug)]
pub struct Cache {
    set: Dataset,
    config: DataConfig,
    pub(crate) shard: shard::Shard,
    /// Mean and standard deviation of the training samples' spectrograms.
    audio_stats: Option<[f32; 2]>,
    /// Mean and standard deviation that depths are normalised with, in millimetres.
    depth_stats: Option<[f32; 2]>,
    digest: String,
    rebuilt: Option<String>,
}

impl Cache {
    /// Opens the cache of `set` in `dir`, decoding all samples first if there is none.
    ///
    /// The file's name is a digest of what decides its content: the samples' files, the stored form, and the
    /// format's version; splits and augmentation are no part of it. Files count with all their bytes in sets of up to
    /// 1 GiB; in larger ones with size, time and both ends. A cache that is damaged is made again, see
    /// [`Cache::rebuilt`].
    /// Decoding runs on several threads with a bounded number of samples in flight; `progress` is
    /// called on this thread after each sample. Under the policy `stop` the first sample of the
    /// list that cannot be used ends it, and nothing is written.
    ///
    /// A training sample whose decoded content equals that of a validation or test sample leaves
    /// train, and a validation sample equal to a test one leaves validation: see [`Cache::counts`].
    pub fn build(
        set: &Dataset,
        config: &DataConfig,
        dir: &Path,
        progress: &mut dyn FnMut(Progress),
        store: &Store,
    ) -> Result<Self, DataError> {
        config.validate()?;
        let key = cache_key::of(set, config)?;
        let path = dir.join(format!("{}-{}.shard", set.name, &key[..16]));
        let (mut shard, mut rebuilt) = (None, None);
        if path.is_file() {
            // What this program made it can make again.
            match shard::Shard::open(&path).and_then(|found| found.verify_small().map(|()| found)) {
                Ok(found) => shard = Some(found),
                Err(DataError::Cache { reason, .. }) => {
                    store.remove(&path)?;
                    rebuilt = Some(reason);
                }
                Err(error) => return Err(error),
            }
        }
        let shard = match shard {
            Some(found) => found,
            None => {
                write(set, config, &path, &key, progress, store)?;
                shard::Shard::open(&path)?
            }
        };
        if shard.index.key != key || shard.index.entries.len() != set.len() {
            return Err(DataError::Cache { path, reason: "it belongs to another set".into() });
        }
        if let (OnError::Stop, Some(first)) = (config.on_error, shard.index.skipped.first()) {
            return Err(stopped(first));
        }
        let mut cache = Self {
            digest: content_digest(&shard.index),
            set: set.clone(),
            config: config.clone(),
            shard,
            audio_stats: None,
            depth_stats: None,
            rebuilt,
        };
        let entries = &cache.shard.index.entries;
        leave_out_copies(&mut cache.set, |i| Some(entries[i].as_ref()?.digest.as_str()));
        cache.depth_stats = cache.depth_moments();
        cache.audio_stats = cache.stats_of(&cache.set.indices(Split::Train));
        Ok(cache)
    }

    /// What was wrong with an earlier cache that had to be made again.
    pub fn rebuilt(&self) -> Option<&str> {
        self.rebuilt.as_deref()
    }

    /// The set, with the splits as they are used.
    pub fn dataset(&self) -> &Dataset {
        &self.set
    }

    /// The settings that it was made with.
    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// Digest of the decoded content, the labels and the splits, 64 hex digits. It changes with any
    /// bit of any sample and is the same wherever the files lie.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The usable samples of a split, in the order of the list: what [`crate::Loader::new`] takes.
    pub fn indices(&self, split: Split) -> Vec<usize> {
        let mut indices = self.set.indices(split);
        indices.retain(|&i| self.has(i));
        indices
    }

    /// Whether sample `i` was decoded.
    pub fn has(&self, i: usize) -> bool {
        self.shard.index.entries.get(i).is_some_and(Option::is_some)
    }

    /// Usable samples in each part.
    pub fn counts(&self) -> SplitCounts {
        let count = |split| self.indices(split).len();
        SplitCounts {
            train: count(Split::Train),
            validation: count(Split::Validation),
            test: count(Split::Test),
            left_out: count(Split::LeftOut),
        }
    }

    /// Samples that were left out under the policy `skip`, in the order of the list.
    pub fn skipped(&self) -> &[Skipped] {
        &self.shard.index.skipped
    }

    /// How many samples were left out for each kind of problem.
    pub fn skip_counts(&self) -> BTreeMap<Problem, usize> {
        let mut counts = BTreeMap::new();
        for skipped in self.skipped() {
            *counts.entry(skipped.problem).or_default() += 1;
        }
        counts
    }

    /// Sample `i` as it was decoded, before augmentation and normalisation.
    pub fn get(&self, i: usize) -> Result<Decoded, DataError> {
        self.shard.decoded(i)
    }

    /// Mean and standard deviation of the spectrograms of the training samples; `None` without
    /// sound or where each clip is normalised by itself.
    pub fn audio_stats(&self) -> Option<[f32; 2]> {
        self.audio_stats
    }

    /// `(mean, 1 / std)` that a clip's spectrogram is normalised with.
    pub(crate) fn audio_affine(&self, i: usize) -> (f32, f32) {
        let normalise = self.config.audio.as_ref().map(|audio| audio.normalise);
        let stats = match normalise {
            Some(AudioNormalise::Clip) => self.stats_of(&[i]),
            _ => self.audio_stats,
        };
        stats.map_or((0.0, 1.0), |[mean, std]| (mean, 1.0 / std.max(1e-6)))
    }

    fn stats_of(&self, indices: &[usize]) -> Option<[f32; 2]> {
        let audio = self.config.audio.as_ref()?;
        if audio.normalise == AudioNormalise::None {
            return None;
        }
        let mut all = Sums::default();
        for entry in indices.iter().filter_map(|&i| self.shard.index.entries[i].as_ref()) {
            all.add(&entry.sums);
        }
        Some(all.moments())
    }

    /// Mean and standard deviation that depths are normalised with, in millimetres; `None` without
    /// depth.
    pub fn depth_stats(&self) -> Option<[f32; 2]> {
        self.depth_stats
    }

    fn depth_moments(&self) -> Option<[f32; 2]> {
        match self.config.depth.as_ref()?.normalise {
            DepthNormalise::Fixed { mean, std } => Some([mean, std]),
            DepthNormalise::Train => {
                let mut all = Sums::default();
                self.entries(Split::Train).for_each(|entry| all.add(&entry.depth));
                Some(all.moments())
            }
        }
    }

    fn entries(&self, split: Split) -> impl Iterator<Item = &shard::Entry> {
        self.set.indices(split).into_iter().filter_map(|i| self.shard.index.entries[i].as_ref())
    }

    /// Pixels of each class in a split; empty in sets without a class for every pixel.
    pub fn pixel_counts(&self, split: Split) -> Vec<u64> {
        let mut counts = Vec::new();
        for entry in self.entries(split) {
            counts.resize(counts.len().max(entry.pixels.len()), 0);
            counts.iter_mut().zip(&entry.pixels).for_each(|(all, one)| *all += one);
        }
        counts
    }

    /// A weight for each class, median(f) / f, from the training samples: f is a class's share of
    /// the pixels of those label maps in which it occurs (Eigen and Fergus, ICCV 2015). A class that
    /// never occurs weighs 0. The counts stand in the cache, so this reads no sample.
    pub fn class_weights(&self) -> Vec<f32> {
        let counts = self.pixel_counts(Split::Train);
        let mut around = vec![0u64; counts.len()];
        for entry in self.entries(Split::Train) {
            let area = entry.scene.map_or(0, |scene| (scene.map[0] * scene.map[1]) as u64);
            let present = around.iter_mut().zip(&entry.pixels).filter(|(_, pixels)| **pixels > 0);
            present.for_each(|(around, _)| *around += area);
        }
        let shares: Vec<f64> = counts.iter().zip(&around).map(|(&n, &all)| n as f64 / all.max(1) as f64).collect();
        let mut seen: Vec<f64> = shares.iter().copied().filter(|&share| share > 0.0).collect();
        seen.sort_by(f64::total_cmp);
        let median = match seen.len() {
            0 => 0.0,
            n => (seen[(n - 1) / 2] + seen[n / 2]) / 2.0,
        };
        shares.iter().map(|&share| if share > 0.0 { (median / share) as f32 } else { 0.0 }).collect()
    }
}

/// Takes samples out whose decoded content, by its digest, another part holds as well; `None` for those without content.
pub(crate) fn leave_out_copies<D: Eq + Hash + Copy>(set: &mut Dataset, digest: impl Fn(usize) -> Option<D>) {
    let mut held: HashMap<D, Split> = HashMap::new();
    // Test first: what is in test decides over validation, and both over train.
    for split in [Split::Test, Split::Validation, Split::Train] {
        for i in set.indices(split) {
            let Some(digest) = digest(i) else { continue };
            match held.get(&digest) {
                Some(&other) if other != split => set.samples.set_split(i, Split::LeftOut),
                Some(_) => {}
                None => {
                    held.insert(digest, split);
                }
            }
        }
    }
}

fn stopped(skipped: &Skipped) -> DataError {
    DataError::Sample {
        id: skipped.id.clone(),
        path: skipped.path.clone(),
        reason: format!("{} ({})", skipped.reason, skipped.problem),
    }
}

fn content_digest(index: &shard::Index) -> String {
    let mut text = String::new();
    for entry in &index.entries {
        text.push_str(entry.as_ref().map_or("-", |e| e.digest.as_str()));
        text.push('\n');
    }
    umt_store::sha256_hex(text.as_bytes())
}

fn write(
    set: &Dataset,
    config: &DataConfig,
    path: &Path,
    key: &str,
    progress: &mut dyn FnMut(Progress),
    store: &Store,
) -> Result<(), DataError> {
    // Settings are tried here once, so that they fail as settings and not in every thread.
    Decoder::new(set, config)?;
    let mut failed = None;
    let result = store.commit_with(path, |out| {
        let mut writer = shard::Writer::new(out, key)?;
        let mut bytes = 0;
        let total = set.len();
        let outcome = decode_all(set, config, |_, decoded| decoded, &mut |i, decoded| {
            match decoded {
                Ok((sample, counts)) => bytes += writer.push(&sample, counts)?,
                Err(failure) => {
                    let skipped = skipped(set, i, failure);
                    if config.on_error == OnError::Stop {
                        failed = Some(stopped(&skipped));
                        return Err(io::Error::other("stopped at a sample"));
                    }
                    writer.skip(skipped);
                }
            }
            progress(Progress { done: i + 1, total, bytes });
            Ok(())
        });
        outcome?;
        writer.finish()
    });
    match failed {
        Some(error) => Err(error),
        None => result.map(|_| ()).map_err(DataError::from),
    }
}

fn skipped(set: &Dataset, index: usize, failure: Failure) -> Skipped {
    Skipped {
        index,
        id: set.sample(index).id().to_owned(),
        problem: failure.problem,
        path: failure.path,
        reason: failure.reason,
    }
}

/// A decoded sample, or why it cannot be used.
pub(crate) type Outcome = Result<(Decoded, Counts), Failure>;

/// Decodes all samples on the set number of threads, has `work` look at each there, and hands its results over in the
/// list's order. At most eight samples per thread are in flight; an error of `take` ends it early.
pub(crate) fn decode_all<T: Send>(
    set: &Dataset,
    config: &DataConfig,
    work: impl Fn(Sample<'_>, Outcome) -> T + Sync,
    take: &mut dyn FnMut(usize, T) -> io::Result<()>,
) -> io::Result<()> {
    let threads = match config.decode_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n.min(256),
    };
    crate::ordered::in_order(
        set.len(),
        threads,
        8 * threads,
        || Decoder::new(set, config).ok(),
        |decoder, i| {
            let sample = set.sample(i);
            let decoded = decoder.as_mut().map(|d| catch_unwind(AssertUnwindSafe(|| d.decode(sample))));
            if let Some(Ok(outcome)) = decoded {
                return work(sample, outcome);
            }
            // A decoder that panicked on a file is not trusted with the next one.
            *decoder = Decoder::new(set, config).ok();
            let path = sample.sources().find_map(|(_, source)| Some(source.path()?.display().to_string()));
            let failure = Failure {
                problem: Problem::Corrupt,
                path: path.unwrap_or_else(|| sample.id().to_owned()),
                reason: "the decoder panicked".into(),
            };
            work(sample, Err(failure))
        },
        take,
    )
}
