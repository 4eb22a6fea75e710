//! Stages whose networks give a class to every pixel, and probes of their encoders.

use super::Work;
use crate::error::RecipeError;
use crate::folder::{MODEL, read};
use crate::pass::{Shift, inputs};
use crate::recipe::{ClassWeights, Recipe, Stage, Task};
use crate::record::{Figure, Record};
use crate::scenes::{self, FRAMES};
use std::collections::BTreeMap;
use std::time::Instant;
use umt_data::{LabelMaps, Loader, Split};
use umt_distill::{DenseLossConfig, DenseTask, predicted_map};
use umt_eval::{Confusion, EvalError, LinearProbe, ProbeConfig, dense};
use umt_fusion::segmenter::{DecoderConfig, Fused, Places, map_rows, sample_rows};
use umt_fusion::{Segmenter, SegmenterConfig};
use umt_media::Modality;
use umt_nn::Array;
use umt_store::{Digest, tensors};
use umt_train::Outcome;

/// The file of a stage's confusion matrix on test: counts `[true class, predicted class]`.
pub(crate) const COUNTS: &str = "confusion.test.json";
/// The maps that a probe reads, side by side: behind each of the four stages.
const PROBED: [usize; 4] = [1, 2, 3, 4];
/// Places of each picture that a probe is fitted on, and tested on.
const FITTED_PLACES: usize = 64;
const TESTED_PLACES: usize = 1024;

/// The decoder of a stage's network.
pub(crate) fn decoder(recipe: &Recipe, modalities: &[Modality]) -> DecoderConfig {
    let encoders = modalities.iter().filter_map(|m| recipe.encoder.get(m).map(|e| (*m, e.clone()))).collect();
    recipe.decoder.clone().unwrap_or_else(|| SegmenterConfig::scaled(encoders, 1).decoder)
}

/// The network of a stage.
pub(crate) fn segmenter_config(recipe: &Recipe, modalities: &[Modality], classes: usize) -> SegmenterConfig {
    let encoders = modalities.iter().filter_map(|m| recipe.encoder.get(m).map(|e| (*m, e.clone()))).collect();
    SegmenterConfig { encoders, decoder: decoder(recipe, modalities), classes }
}

impl Work<'_> {
    pub(super) fn segmentation(&mut self) -> Result<Record, RecipeError> {
        let recipe = self.recipe;
        let stage = &recipe.stage[self.node.unit.stage];
        let refit = stage.train.refit;
        let (network, outcome, begin) = self.train_segmenter(stage)?;

        let started = Instant::now();
        let mut files = BTreeMap::new();
        let bytes = tensors::write_module(&network.params().to_tensors(), outcome.steps)?;
        let output = self.file(&mut files, MODEL, &bytes)?;
        let mut figures = Vec::new();
        for split in [Split::Validation, Split::Test] {
            // Under refit the network has seen validation: its figures there would say nothing.
            let Some(loader) = self.optional_loader(split, refit)?.filter(|_| split == Split::Test || !refit) else {
                continue;
            };
            let confusion = self.segment(&network, &loader)?;
            self.map_figures(&mut figures, split, &confusion, None)?;
            if split == Split::Test {
                self.counts(&mut files, &confusion)?;
                let frames = self.frames(&network, &loader)?;
                self.file(&mut files, FRAMES, &tensors::write(&frames)?)?;
            }
        }
        for name in ["metrics.jsonl", "timing.jsonl"] {
            let path = self.dir.join(name);
            if path.exists() {
                files.insert(name.to_owned(), umt_store::digest_file(&path)?);
            }
        }
        let which = if outcome.kept.best { "best by validation" } else { "last" };
        let on = if refit { ", trained on train and validation" } else { "" };
        Ok(Record {
            steps: outcome.steps,
            note: format!("{which} weights, epoch {}{on}{begin}", outcome.kept.epoch),
            wall_seconds: outcome.seconds + started.elapsed().as_secs_f64(),
            samples_per_second: Some(outcome.samples_per_second),
            samples: Some(self.material.samples(refit, self.store, self.watch)?),
            classes: self.material.classes().to_vec(),
            ..self.record(figures, files, output)
        })
    }

    fn train_segmenter(&mut self, stage: &Stage) -> Result<(Segmenter, Outcome, String), RecipeError> {
        let Task::Segmentation { distance, class_weights, .. } = &stage.task else {
            return Err(RecipeError::Usage(format!("stage `{}` is no segmentation", stage.id)));
        };
        let modalities = &self.node.unit.modalities;
        let config = segmenter_config(self.recipe, modalities, self.material.classes().len());
        let mut network = Segmenter::new(&config, self.node.seed).map_err(|e| self.nn(e))?;
        let begin = self.given.give_encoders(modalities, &self.recipe.pretrained, &mut |m, tensors, how| {
            network.load_encoder(m, tensors, how)
        })?;
        let mut teachers = BTreeMap::new();
        for index in 0..self.parents.len() {
            let teacher = self.segmenter(index)?;
            teachers.extend(self.parents[index].node.unit.modalities.first().map(|&modality| (modality, teacher)));
        }
        let cache = self.material.cache(stage.train.refit, self.store, self.watch)?;
        let weights = (*class_weights == ClassWeights::MedianFrequency).then(|| cache.class_weights());
        let loss = DenseLossConfig { class_weights: weights, ..DenseLossConfig::default() };
        let borrowed = teachers.iter().map(|(m, n)| (*m, n)).collect();
        let mut task = DenseTask::new(network, loss, distance.clone(), borrowed).map_err(|e| self.nn(e))?;
        let outcome = self.fit(stage, &mut task)?;
        Ok((task.into_network(), outcome, begin))
    }

    /// The trained network of a finished stage.
    fn segmenter(&self, parent: usize) -> Result<Segmenter, RecipeError> {
        let parent = &self.parents[parent];
        let classes = self.material.classes().len();
        let config = segmenter_config(self.recipe, &parent.node.unit.modalities, classes);
        let mut network = Segmenter::new(&config, parent.node.seed).map_err(|e| self.nn(e))?;
        let stored = tensors::read(&read(&parent.dir.join(MODEL))?)?;
        network.load(stored).map_err(|e| self.nn(e))?;
        Ok(network)
    }

    /// Counts the pixels of a split, each prediction at its label's own size.
    fn segment(&self, network: &Segmenter, loader: &Loader) -> Result<Confusion, RecipeError> {
        let mut confusion = Confusion::new(self.material.classes().len());
        for batch in loader.epoch(0, 0) {
            self.stop_if_asked()?;
            let batch = batch?;
            let logits = self.logits(network, &batch)?;
            let Some(maps) = &batch.maps else { continue };
            for i in 0..maps.shape[0] {
                let predicted = predicted_map(&logits, i, [maps.shape[1], maps.shape[2]]).map_err(|e| self.nn(e))?;
                confusion.add_maps(maps.map(i), &predicted, LabelMaps::VOID).map_err(|e| self.eval(e))?;
            }
        }
        Ok(confusion)
    }

    fn logits(&self, network: &Segmenter, batch: &umt_data::Batch) -> Result<Array, RecipeError> {
        let inputs = inputs(batch, &Shift::default()).map_err(|e| self.nn(e))?;
        network.predict(&inputs).map_err(|e| self.nn(e))
    }

    fn map_figures(
        &self,
        figures: &mut Vec<Figure>,
        split: Split,
        confusion: &Confusion,
        given: Option<Vec<Modality>>,
    ) -> Result<(), RecipeError> {
        for metric in &dense::METRICS {
            let value = metric.value(confusion).map_err(|e| self.eval(e))?;
            figures.push(Figure { given: given.clone(), ..Figure::whole(split.name(), metric.id(), value) });
        }
        Ok(())
    }

    fn counts(&self, files: &mut BTreeMap<String, Digest>, confusion: &Confusion) -> Result<(), RecipeError> {
        let names = self.material.classes().to_vec();
        let matrix = confusion.to_csv(&names).map_err(|e| self.eval(e))?;
        self.file(files, "confusion.test.csv", matrix.as_bytes())?;
        let counts = serde_json::to_vec(confusion.counts()).unwrap_or_default();
        self.file(files, COUNTS, &counts)?;
        Ok(())
    }

    /// Some test frames, evenly over the list, with what the network says of them.
    fn frames(&self, network: &Segmenter, loader: &Loader) -> Result<tensors::Tensors, RecipeError> {
        let (cache, samples) = (loader.cache(), loader.samples());
        let mut frames = tensors::Tensors::new();
        let count = scenes::COUNT.min(samples.len());
        for k in 0..count {
            let index = samples[k * samples.len() / count];
            let settings = umt_data::LoaderConfig { batch: 1, workers: 0, ..loader.config().clone() };
            let one = Loader::new(cache.clone(), vec![index], settings)?;
            let Some(batch) = one.epoch(0, 0).next().transpose()? else { continue };
            let Some(scene) = cache.get(index)?.scene else { continue };
            let size = scene.map.shape;
            let logits = self.logits(network, &batch)?;
            let predicted = predicted_map(&logits, 0, size).map_err(|e| self.nn(e))?;
            scenes::keep(&mut frames, k, &scene, &predicted);
        }
        Ok(frames)
    }

    /// A 1x1 convolution on the frozen maps of one encoder: a linear classifier of their places.
    pub(super) fn probe_maps(&mut self, config: &ProbeConfig) -> Result<Record, RecipeError> {
        let Some(&modality) = self.node.unit.modalities.first() else {
            return Err(RecipeError::Usage(format!("`{}` has no modality to probe", self.node.unit.id)));
        };
        let network = self.segmenter(0)?;
        let (mut files, mut figures) = (BTreeMap::new(), Vec::new());
        let (confusion, note) = self.probe_encoder(&network, modality, false, config)?;
        self.map_figures(&mut figures, Split::Test, &confusion, None)?;
        self.counts(&mut files, &confusion)?;
        // The published form feeds depth into the RGB encoder: what that encoder holds by itself is another figure.
        let mixed = network.modalities().count() > 1 && network.config().decoder.fused == Fused::Rgb;
        if mixed && modality == Modality::Rgb {
            let (alone, _) = self.probe_encoder(&network, modality, true, config)?;
            self.map_figures(&mut figures, Split::Test, &alone, Some(vec![modality]))?;
        }
        let output = files.get(COUNTS).map_or(String::new(), |digest| digest.sha256.clone());
        Ok(Record { note, ..self.record(figures, files, output) })
    }

    /// Fits a probe and counts its places on test. `alone`: depth's contribution to the encoder is set to zero.
    fn probe_encoder(
        &mut self,
        network: &Segmenter,
        modality: Modality,
        alone: bool,
        config: &ProbeConfig,
    ) -> Result<(Confusion, String), RecipeError> {
        let classes = self.material.classes().len();
        let mut read = |split, most| self.places(network, modality, alone, split, most);
        let train = read(Split::Train, FITTED_PLACES)?;
        let held = read(Split::Validation, FITTED_PLACES)?;
        let test = read(Split::Test, TESTED_PLACES)?;
        let view = |places| view(places, classes).map_err(|e| self.eval(e));
        let (Some(fitted_on), Some(tested_on)) = (view(&train)?, view(&test)?) else {
            return Err(self.eval(EvalError::Empty { what: "labelled places" }));
        };
        let fitted = LinearProbe::fit(fitted_on, view(&held)?, config).map_err(|e| self.eval(e))?;
        let logits = fitted.model.predict(tested_on.values()).map_err(|e| self.eval(e))?;
        let scores = umt_eval::Scores::new(&logits, classes, &test.labels).map_err(|e| self.eval(e))?;
        let note = format!(
            "1x1 convolution on the maps of the four stages, l2 {:e}, {} places",
            fitted.l2,
            train.labels.len()
        );
        Ok((Confusion::of(&scores), note))
    }

    fn places(
        &mut self,
        network: &Segmenter,
        modality: Modality,
        alone: bool,
        split: Split,
        most: usize,
    ) -> Result<Places, RecipeError> {
        let refit = self.recipe.stage[self.parents[0].node.unit.stage].train.refit;
        let mut places = Places::default();
        let Some(loader) = self.optional_loader(split, refit)? else { return Ok(places) };
        for batch in loader.epoch(0, 0) {
            self.stop_if_asked()?;
            let batch = batch?;
            let inputs = inputs(&batch, &Shift::default()).map_err(|e| self.nn(e))?;
            let maps = match (alone, inputs.get(&modality)) {
                (true, Some(input)) => network.maps_alone(modality, input),
                _ => network.maps(&inputs).map(|mut maps| maps.remove(&modality).unwrap_or_default()),
            };
            let rows = maps.and_then(|maps| map_rows(&maps, &PROBED)).map_err(|e| self.nn(e))?;
            let Some(labels) = &batch.maps else { continue };
            let size = [labels.shape[1], labels.shape[2]];
            let some = sample_rows(&rows, &labels.data, size, &batch.ids, most).map_err(|e| self.nn(e))?;
            places.rows.extend(some.rows);
            places.labels.extend(some.labels);
        }
        Ok(places)
    }
}

/// Places as features; none where there are none.
fn view(places: &Places, classes: usize) -> Result<Option<umt_eval::Features<'_>>, EvalError> {
    match places.labels.len() {
        0 => Ok(None),
        n => umt_eval::Features::new(&places.rows, places.rows.len() / n, &places.labels, classes).map(Some),
    }
}
