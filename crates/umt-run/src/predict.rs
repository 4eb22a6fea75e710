//! Networks of a finished run on files that nobody has labelled.

use crate::error::RunError;
use crate::folder::{MODEL, load_network};
use crate::opened::Opened;
use crate::pass::{PassError, over};
use crate::record::Record;
use crate::watch::Watch;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use umt_data::{
    Cache, DataConfig, Dataset, DenseForm, DepthCode, DepthNormalise, Input, Loader, LoaderConfig, OnError, RgbPixels,
    Split,
};
use umt_distill::predicted_map;
use umt_eval::diagnosis::shapley;
use umt_fusion::Network;
use umt_media::Modality;
use umt_nn::{Array, Device, NnError, Stop};
use umt_recipe::{Recipe, glob, network_config};
use umt_store::Store;

/// What `predict` is asked for.
#[derive(Debug, Clone)]
pub struct PredictOptions {
    /// The folder of a finished run.
    pub run: PathBuf,
    /// Network stages by id, `*` allowed; when empty, the one of most modalities that is best on validation.
    pub only: Vec<String>,
    /// The seed of the networks; the run's first when left out.
    pub seed: Option<u64>,
    /// The inputs, from [`inputs`].
    pub inputs: Vec<Input>,
    /// Where networks compute.
    pub device: Device,
}

/// What one network predicts of one input.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// The input's id.
    pub id: String,
    /// The network's stage.
    pub stage: String,
    /// Its seed.
    pub seed: u64,
    /// The modalities that it was given.
    pub given: Vec<Modality>,
    /// The answer.
    pub answer: Answer,
}

/// An answer of a network.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Of the whole sample.
    Classes {
        /// The probability of each class.
        probabilities: Vec<f32>,
        /// What each modality adds to the probability of the most probable class: its Shapley value over the subsets of what was
        /// given, nothing given counting as 1 / classes. The values sum to that probability less 1 / classes.
        shares: BTreeMap<Modality, f64>,
    },
    /// Of each pixel, at the input's own size.
    Pixels {
        /// Height and width.
        size: [usize; 2],
        /// The class of each pixel.
        classes: Vec<u8>,
        /// Its colours, where the network was given any.
        rgb: Option<RgbPixels>,
    },
}

/// All predictions, and the inputs that could not be read.
#[derive(Debug)]
pub struct Predictions {
    /// Class names.
    pub classes: Vec<String>,
    /// By input, then by stage.
    pub predictions: Vec<Prediction>,
    /// Id and reason.
    pub unread: Vec<(String, String)>,
}

const AUDIO: [&str; 9] = ["wav", "mp3", "flac", "ogg", "oga", "opus", "m4a", "aac", "wma"];
const IMAGES: [&str; 3] = ["png", "jpg", "jpeg"];

/// Clips, audio files, images and the rows of manifests as inputs; of a folder every such file directly in it. What a file is follows from the
/// end of its name: a clip is audio and video.
///
/// # Errors
/// A path that is not there, and a folder without such a file.
pub fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>, RunError> {
    let (mut found, mut listed) = (Vec::new(), Vec::new());
    for path in paths {
        if !path.exists() {
            return Err(RunError::Usage(format!("{}: no such file", path.display())));
        }
        if umt_data::is_manifest(path) {
            listed.extend(umt_data::listed(path)?);
            continue;
        }
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let io = |source| RunError::Io { path: path.clone(), source };
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(io)? {
            let file = entry.map_err(io)?.path();
            let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if file.is_file() && !hidden && extension(&file).is_some() {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            return Err(RunError::Usage(format!("{}: the folder has no file to predict", path.display())));
        }
        inside.sort();
        found.extend(inside);
    }
    let sample = |path: PathBuf| {
        let ends = |with: &[&str]| extension(&path).is_some_and(|end| with.contains(&end.as_str()));
        let modalities: &[Modality] = match (ends(&AUDIO), ends(&IMAGES)) {
            (true, _) => &[Modality::Audio],
            (_, true) => &[Modality::Video],
            _ => &[Modality::Audio, Modality::Video],
        };
        input(path.display().to_string(), modalities.iter().map(|&m| (m, path.clone())))
    };
    Ok(found.into_iter().map(sample).chain(listed).collect())
}

/// One input with a file for each modality, such as colours and depth.
pub fn input(id: String, files: impl IntoIterator<Item = (Modality, PathBuf)>) -> Input {
    Input { id, files: files.into_iter().collect() }
}

fn extension(path: &Path) -> Option<String> {
    path.extension().map(|end| end.to_string_lossy().to_lowercase())
}

/// The predictions of networks of a finished run; writes nothing into its folder.
///
/// # Errors
/// A folder that is no finished run, a stage that is not there, an input that no network takes.
pub fn predict(
    options: &PredictOptions,
    watch: &mut dyn Watch,
    stop: &Arc<AtomicUsize>,
) -> Result<Predictions, RunError> {
    let opened = Opened::open(&options.run)?;
    let recipe = &opened.loaded.recipe;
    let classes = opened.classes();
    let mut all = Predictions { classes: classes.clone(), predictions: Vec::new(), unread: Vec::new() };
    let mut unread = BTreeMap::new();
    for id in stages(&opened, &options.only)? {
        let wanted = |done: &&&crate::Done| options.seed.is_none_or(|seed| done.record.seed == seed);
        let stages = opened.stages(&id);
        let Some(done) = stages.iter().find(wanted) else {
            let seeds = umt_recipe::list(stages.iter().map(|done| done.record.seed.to_string()));
            return Err(RunError::Usage(format!("`{id}` has no such seed; there are {seeds}")));
        };
        let Record { stage, seed, .. } = &done.record;
        let Some(own) = recipe.find(&id) else { continue };
        let config = network_config(recipe, &done.node.unit.modalities, own, classes.len());
        let mut network = load_network(stage, &config, *seed, &done.read(MODEL)?)?;
        network.params_mut().stop_on(Stop::on(stop));
        let failed = |source| RunError::Network { stage: stage.clone(), source };
        network.params_mut().to_device(&options.device).map_err(failed)?;
        let work = One { recipe, network: &network, record: &done.record, stop };
        for (given, samples) in by_modality(&options.inputs, &network)? {
            let (answers, problems) = work.answers(&given, samples, watch)?;
            unread.extend(problems);
            all.predictions.extend(answers.into_iter().map(|(id, answer)| Prediction {
                id,
                stage: stage.clone(),
                seed: *seed,
                given: given.clone(),
                answer,
            }));
        }
    }
    let order: BTreeMap<&str, usize> = options.inputs.iter().map(|s| s.id.as_str()).zip(0..).collect();
    all.predictions.sort_by_key(|p| order.get(p.id.as_str()).copied());
    all.unread = unread.into_iter().collect();
    Ok(all)
}

/// The network stages asked for; the best by validation among those of most modalities where none is named.
fn stages(opened: &Opened, only: &[String]) -> Result<Vec<String>, RunError> {
    let recipe = &opened.loaded.recipe;
    let networks = || recipe.stage.iter().filter(|s| s.task.is_network() && !opened.stages(&s.id).is_empty());
    let known = || umt_recipe::list(networks().map(|s| &s.id));
    if !only.is_empty() {
        let mut found = Vec::new();
        for pattern in only {
            let before = found.len();
            found.extend(networks().filter(|s| glob(pattern, &s.id)).map(|s| s.id.clone()));
            if found.len() == before {
                return Err(RunError::Usage(format!("{pattern}: no such network; networks of the run: {}", known())));
            }
        }
        return Ok(found);
    }
    let most = networks().map(|s| recipe.modalities(s).len()).max().unwrap_or(0);
    let metric = if recipe.data.config.dense.is_some() { "miou" } else { "top1" };
    let score = |id: &str| {
        let on = |split| opened.results.summary_of(id, split, metric).map(|s| s.mean);
        // Without a validation split there is nothing to choose by: the first stands.
        on("validation").unwrap_or(0.0)
    };
    let best = networks()
        .filter(|s| recipe.modalities(s).len() == most)
        .map(|s| s.id.clone())
        .reduce(|best, other| if score(&other) > score(&best) { other } else { best });
    best.map(|id| vec![id]).ok_or_else(|| RunError::Usage("the run has no finished network".into()))
}

/// The inputs by the modalities that the network takes of them.
fn by_modality(inputs: &[Input], network: &Network) -> Result<BTreeMap<Vec<Modality>, Vec<Input>>, RunError> {
    let needed: BTreeSet<Modality> = network.modalities().collect();
    let mut groups: BTreeMap<Vec<Modality>, Vec<Input>> = BTreeMap::new();
    for sample in inputs {
        let mut sample = sample.clone();
        // A picture is a video of one frame, or colours.
        if !needed.contains(&Modality::Video)
            && needed.contains(&Modality::Rgb)
            && let Some(source) = sample.files.remove(&Modality::Video)
        {
            sample.files.entry(Modality::Rgb).or_insert(source);
        }
        sample.files.retain(|m, _| needed.contains(m));
        if sample.files.is_empty() {
            let names = umt_recipe::list(needed.iter().map(|m| m.name()));
            return Err(RunError::Usage(format!("{}: nothing for this network, which reads {names}", sample.id)));
        }
        groups.entry(sample.files.keys().copied().collect()).or_default().push(sample);
    }
    Ok(groups)
}

/// One network on inputs.
struct One<'a> {
    recipe: &'a Recipe,
    network: &'a Network,
    record: &'a Record,
    stop: &'a Arc<AtomicUsize>,
}

/// Answers by id, and ids with the reason why they could not be read.
type Answers = (Vec<(String, Answer)>, Vec<(String, String)>);

impl One<'_> {
    fn answers(&self, given: &[Modality], samples: Vec<Input>, watch: &mut dyn Watch) -> Result<Answers, RunError> {
        let config = self.data(given);
        let dense = config.dense.is_some();
        let form = dense.then(|| DenseForm::unlabelled(DepthCode::Unit(1.0)));
        let set = Dataset::of_inputs("predict", self.record.classes.clone(), form, &samples);
        let folder = tempfile::tempdir().map_err(|source| RunError::Io { path: std::env::temp_dir(), source })?;
        let store = Store::shared(folder.path())?;
        let mut tell = |p: umt_data::Progress| watch.on_decode(p.done, p.total);
        let cache = Arc::new(Cache::build(&set, &config, store.root(), &mut tell, &store)?);
        let unread = cache
            .skipped()
            .iter()
            .map(|s| {
                let reason =
                    if s.reason.contains(&s.path) { s.reason.clone() } else { format!("{}: {}", s.path, s.reason) };
                (s.id.clone(), reason)
            })
            .collect();
        let indices = cache.indices(Split::Test);
        if indices.is_empty() {
            return Ok((Vec::new(), unread));
        }
        let shift = crate::evaluate::shift(self.record, &cache);
        let batch = if dense { 1 } else { 16 };
        let loader = Loader::new(Arc::clone(&cache), indices, LoaderConfig { batch, ..LoaderConfig::default() })?;
        let stopped = || self.stop.load(Ordering::Relaxed) != 0;
        let mut answers = Vec::new();
        let mut problem = None;
        over(&loader, &shift, &self.network.params().device(), &stopped, |batch| {
            match dense {
                true => {
                    let logits = self.logits(batch.inputs(), given)?;
                    for (i, (id, &index)) in batch.ids.iter().zip(&batch.indices).enumerate() {
                        let Some(scene) = cache.get(index)?.scene else { continue };
                        let size = scene.map.shape;
                        let classes = predicted_map(&logits, i, size)?;
                        answers.push((id.clone(), Answer::Pixels { size, classes, rgb: scene.rgb }));
                    }
                }
                false => match self.classes(batch.inputs(), given, batch.ids.len())? {
                    Some(found) => answers.extend(batch.ids.iter().cloned().zip(found)),
                    None => problem = Some(batch.ids[0].clone()),
                },
            }
            Ok(())
        })
        .map_err(|error| self.error(error))?;
        match problem {
            Some(id) => {
                let reason = format!("{id}: the network's outputs are not finite");
                Err(self.error(PassError::Nn(NnError::Unsupported(reason))))
            }
            None => Ok((answers, unread)),
        }
    }

    /// How the inputs are read: as the network's were, the modalities that are there.
    fn data(&self, given: &[Modality]) -> DataConfig {
        let mut config = self.recipe.data.config.clone();
        let has = |m| given.contains(&m);
        config.audio = config.audio.filter(|_| has(Modality::Audio));
        config.video = config.video.filter(|_| has(Modality::Video));
        config.rgb = config.rgb.filter(|_| has(Modality::Rgb));
        config.depth = config.depth.filter(|_| has(Modality::Depth));
        if let (Some(depth), Some([mean, std])) = (&mut config.depth, self.record.depth_stats) {
            depth.normalise = DepthNormalise::Fixed { mean, std: std.max(1e-6) };
        }
        config.on_error = OnError::Skip;
        config.limit = None;
        config
    }

    fn logits(&self, inputs: &BTreeMap<Modality, Array>, given: &[Modality]) -> Result<Array, NnError> {
        if self.network.modalities().all(|m| given.contains(&m)) {
            return self.network.logits(inputs);
        }
        let some = inputs.iter().filter(|(m, _)| given.contains(m)).map(|(m, x)| (*m, x.clone())).collect();
        self.network.logits_given(&some, &self.network.tokens().unwrap_or_default())
    }

    /// The answer to each sample of a batch; none where a logit is not finite.
    fn classes(
        &self,
        inputs: &BTreeMap<Modality, Array>,
        given: &[Modality],
        samples: usize,
    ) -> Result<Option<Vec<Answer>>, NnError> {
        let subset = |set: usize| -> Vec<Modality> {
            (0..given.len()).filter(|i| set >> i & 1 == 1).map(|i| given[i]).collect()
        };
        // Probabilities `[samples, classes]` of each subset of what is given.
        let mut of: BTreeMap<Vec<Modality>, Vec<f32>> = BTreeMap::new();
        for set in 1..1usize << given.len() {
            let logits = self.logits(inputs, &subset(set))?;
            if !umt_nn::kernels::all_finite(logits.as_slice()) {
                return Ok(None);
            }
            of.insert(subset(set), softmax(logits.as_slice(), self.record.classes.len()));
        }
        let count = self.record.classes.len().max(1);
        let answer = |i: usize| {
            let probabilities = of.get(given).map(|all| all[i * count..][..count].to_vec()).unwrap_or_default();
            let best = (0..count).reduce(|a, b| if probabilities[b] > probabilities[a] { b } else { a }).unwrap_or(0);
            let value = |set: &[Modality]| match set {
                [] => Some(1.0 / count as f64),
                set => of.get(set).map(|all| f64::from(all[i * count + best])),
            };
            Answer::Classes { probabilities, shares: shapley(given, &value).unwrap_or_default() }
        };
        Ok(Some((0..samples).map(answer).collect()))
    }

    fn error(&self, error: PassError) -> RunError {
        crate::evaluate::stage_error(error, &self.record.stage, self.record.seed, self.stop)
    }
}

fn softmax(logits: &[f32], classes: usize) -> Vec<f32> {
    let row = |row: &[f32]| {
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        let exp: Vec<f64> = row.iter().map(|x| f64::from(x - most).exp()).collect();
        let sum: f64 = exp.iter().sum();
        exp.into_iter().map(move |x| (x / sum) as f32).collect::<Vec<_>>()
    };
    logits.chunks_exact(classes.max(1)).flat_map(row).collect()
}
