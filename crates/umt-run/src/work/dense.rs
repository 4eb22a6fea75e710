//! Stages whose networks give a class to every pixel.

use super::Work;
use super::network::End;
use crate::error::RunError;
use crate::folder::{COUNTS, FRAMES, MODEL, TALLIES};
use crate::frames;
use crate::record::{Figure, Record};
use crate::segment::{self, Segmented};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;
use umt_data::{Loader, Split};
use umt_distill::{DenseLossConfig, DenseTask, predicted_map};
use umt_eval::{Confusion, metrics::Measured};
use umt_fusion::Segmenter;
use umt_media::Modality;
use umt_nn::NnError;
use umt_recipe::{ClassWeights, Recipe, Stage, Task, segmenter_config};
use umt_store::{Digest, tensors};
use umt_train::{Feed, Outcome};

/// The network of a finished stage's model file.
pub(crate) fn load_segmenter(
    recipe: &Recipe,
    modalities: &[Modality],
    classes: usize,
    seed: u64,
    model: &[u8],
) -> Result<Segmenter, Result<RunError, NnError>> {
    let mut network = Segmenter::new(&segmenter_config(recipe, modalities, classes), seed).map_err(Err)?;
    network.load(tensors::read(model).map_err(|e| Ok(e.into()))?).map_err(Err)?;
    Ok(network)
}

impl Work<'_> {
    pub(super) fn segmentation(&mut self) -> Result<Record, RunError> {
        let recipe = self.recipe;
        let stage = &recipe.stage[self.node.unit.stage];
        let refit = stage.train.refit;
        let (mut network, begin) = self.begin_segmenter(stage)?;
        let (network, outcome) = match stage.weights {
            Some(_) => {
                self.place(network.params_mut())?;
                (network, None)
            }
            None => self.train_segmenter(stage, network).map(|(network, outcome)| (network, Some(outcome)))?,
        };
        let steps = outcome.as_ref().map_or(0, |o| o.steps);

        let started = Instant::now();
        let mut files = BTreeMap::new();
        let bytes =
            tensors::write_with_counters(&network.params().to_tensors(), &network.params().batch_counters(steps))?;
        let output = self.file(&mut files, MODEL, &bytes)?;
        let mut figures = Vec::new();
        for split in [Split::Validation, Split::Test] {
            // Under refit the network has seen validation: its figures there would say nothing.
            let Some(loader) = self.optional_loader(split, refit)?.filter(|_| split == Split::Test || !refit) else {
                continue;
            };
            let segmented = self.segment(&network, &loader)?;
            self.map_figures(&mut figures, split, &segmented.confusion, None)?;
            if split == Split::Test {
                self.counts(&mut files, &segmented)?;
                let frames = self.frames(&network, &loader)?;
                self.file(&mut files, FRAMES, &tensors::write(&frames)?)?;
            }
        }
        let end = End { refit, outcome, begin, evaluating: started };
        self.trained(end, figures, files, output)
    }

    /// The stage's network as it begins, and what there is to say about given weights.
    fn begin_segmenter(&self, stage: &Stage) -> Result<(Segmenter, String), RunError> {
        let modalities = &self.node.unit.modalities;
        let config = segmenter_config(self.recipe, modalities, self.material.classes().len());
        let mut network = Segmenter::new(&config, self.node.seed).map_err(|e| self.nn(e))?;
        let note = match &stage.weights {
            Some(weights) => self.given.give_whole(weights, &mut |tensors| network.load(tensors))?,
            None => self.given.give_encoders(modalities, &self.recipe.pretrained, &mut |m, tensors, how| {
                network.load_encoder(m, tensors, how)
            })?,
        };
        Ok((network, note))
    }

    fn train_segmenter(&mut self, stage: &Stage, network: Segmenter) -> Result<(Segmenter, Outcome), RunError> {
        let Task::Segmentation { distance, class_weights, .. } = &stage.task else {
            return Err(RunError::Usage(format!("stage `{}` is no segmentation", stage.id)));
        };
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
        Ok((task.into_network(), outcome))
    }

    /// The trained network of a finished stage.
    pub(super) fn segmenter(&self, parent: usize) -> Result<Segmenter, RunError> {
        let parent = self.parents[parent];
        let classes = self.material.classes().len();
        let model = self.read(parent, MODEL)?;
        let loaded = load_segmenter(self.recipe, &parent.node.unit.modalities, classes, parent.node.seed, &model);
        let mut network = loaded.map_err(|e| e.unwrap_or_else(|source| self.nn(source)))?;
        self.place(network.params_mut())?;
        Ok(network)
    }

    /// Counts the pixels of a split, each prediction at its label's own size.
    fn segment(&self, network: &Segmenter, loader: &Loader) -> Result<Segmented, RunError> {
        let own: Vec<u32> = (0..network.config().classes as u32).collect();
        segment::run(network, loader, &own, &|| self.stop.load(Ordering::Relaxed) != 0).map_err(|e| self.passed(e))
    }

    pub(super) fn map_figures(
        &self,
        figures: &mut Vec<Figure>,
        split: Split,
        confusion: &Confusion,
        given: Option<Vec<Modality>>,
    ) -> Result<(), RunError> {
        let values = Measured::Pixels(confusion).reported().map_err(|e| self.eval(e))?;
        let figure = |(id, value)| Figure { given: given.clone(), ..Figure::whole(split.name(), id, value) };
        figures.extend(values.into_iter().map(figure));
        Ok(())
    }

    pub(super) fn counts(
        &self,
        files: &mut BTreeMap<String, Digest>,
        segmented: &Segmented,
    ) -> Result<String, RunError> {
        let names = self.material.classes().to_vec();
        let matrix = segmented.confusion.to_csv(&names).map_err(|e| self.eval(e))?;
        self.file(files, "confusion.test.csv", matrix.as_bytes())?;
        let json = |counts: &[u64]| serde_json::to_vec(counts).unwrap_or_default();
        self.file(files, TALLIES, &json(segmented.tallies.counts()))?;
        self.file(files, COUNTS, &json(segmented.confusion.counts()))
    }

    /// Some test frames, evenly over the list, with what the network says of them.
    fn frames(&self, network: &Segmenter, loader: &Loader) -> Result<tensors::Tensors, RunError> {
        let (cache, samples) = (loader.cache(), loader.samples());
        let mut kept = tensors::Tensors::new();
        let count = frames::COUNT.min(samples.len());
        for k in 0..count {
            let index = samples[k * samples.len() / count];
            let settings = umt_data::LoaderConfig { batch: 1, workers: 0, ..loader.config().clone() };
            let one = Loader::new(cache.clone(), vec![index], settings)?;
            let Some(batch) = one.epoch(0, 0).next().transpose()? else { continue };
            let Some(scene) = cache.get(index)?.scene else { continue };
            let size = scene.map.shape;
            let batch = Feed::new(batch, &network.params().device()).map_err(|e| self.nn(e))?;
            let logits = network.predict(batch.inputs()).map_err(|e| self.nn(e))?;
            let predicted = predicted_map(&logits, 0, size).map_err(|e| self.nn(e))?;
            frames::keep(&mut kept, k, &scene, &predicted);
        }
        Ok(kept)
    }
}
