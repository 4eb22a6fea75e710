//! A stage that trains a network.

use super::{Work, network_config};
use crate::error::RecipeError;
use crate::folder::{MODEL, features_file};
use crate::record::Record;
use crate::watch::Relay;
use std::collections::BTreeMap;
use std::time::Instant;
use umt_data::Split;
use umt_distill::{NetworkTask, ObjectiveConfig};
use umt_fusion::Network;
use umt_store::tensors;

impl Work<'_> {
    pub(super) fn network(&mut self) -> Result<Record, RecipeError> {
        let stage = &self.recipe.stage[self.node.unit.stage];
        let config =
            network_config(self.recipe, &self.node.unit.modalities, &stage.task, self.material.classes().len());
        let network = Network::new(&config, self.node.seed).map_err(|e| self.nn(e))?;
        let mut teachers = BTreeMap::new();
        for parent in &self.parents {
            for &modality in &parent.node.unit.modalities {
                teachers.insert(modality, self.teacher(parent)?);
            }
        }
        let objective = stage.distill.clone().unwrap_or(ObjectiveConfig::Task).build();
        let borrowed = teachers.iter().map(|(m, n)| (*m, n)).collect();
        let mut task = NetworkTask::new(network, objective, borrowed).map_err(|e| self.nn(e))?;

        let refit = stage.train.refit;
        let train = self.loader(Split::Train, refit, true)?;
        let validation = match refit {
            true => None,
            false => self.optional_loader(Split::Validation, refit)?,
        };
        let outcome = {
            let mut relay = Relay { now: self.now, watch: &mut *self.watch };
            let mut env = umt_train::Env {
                stage: &self.node.unit.id,
                dir: &self.dir,
                store: self.store,
                seed: self.node.seed,
                observer: &mut relay,
                stop: self.stop,
            };
            let validation = validation.as_ref().map(|v| v as &dyn umt_train::BatchSource);
            umt_train::train(&mut task, &train, validation, &stage.train, &mut env)
        };
        let outcome = outcome.map_err(|source| RecipeError::Train {
            stage: self.node.unit.id.clone(),
            seed: self.node.seed,
            source: Box::new(source),
        })?;
        let network = task.into_network();

        let started = Instant::now();
        let mut files = BTreeMap::new();
        let bytes = tensors::write(&network.params().to_tensors())?;
        let output = self.file(&mut files, MODEL, &bytes)?;
        let mut figures = Vec::new();
        let probed = self.probed();
        for split in [Split::Train, Split::Validation, Split::Test] {
            let wanted = match split {
                Split::Test => true,
                Split::Validation => probed || !refit,
                _ => probed,
            };
            // Under refit the network has seen validation: its figures there would say nothing.
            let reported = split == Split::Test || (split == Split::Validation && !refit);
            let Some(loader) = self.optional_loader(split, refit)?.filter(|_| wanted) else { continue };
            let pass = self.pass(&network, &loader)?;
            if probed {
                self.file(&mut files, &features_file(split), &pass.features.to_bytes()?)?;
            }
            if reported {
                self.predictions(&mut files, &mut figures, split, &pass.predictions)?;
            }
        }
        for name in ["metrics.jsonl", "timing.jsonl"] {
            let path = self.dir.join(name);
            if path.exists() {
                files.insert(name.to_owned(), umt_store::digest_file(&path)?);
            }
        }
        let samples = self.material.samples(refit, self.store, self.watch)?;
        let which = if outcome.kept.best { "best by validation" } else { "last" };
        let on = if refit { ", trained on train and validation" } else { "" };
        Ok(Record {
            steps: outcome.steps,
            note: format!("{which} weights, epoch {}{on}", outcome.kept.epoch),
            wall_seconds: outcome.seconds + started.elapsed().as_secs_f64(),
            samples_per_second: Some(outcome.samples_per_second),
            samples: Some(samples),
            classes: self.material.classes().to_vec(),
            audio_stats: self.material.cache(refit, self.store, self.watch)?.audio_stats(),
            ..self.record(figures, files, output)
        })
    }

    /// Whether some probe of the recipe reads this stage's features.
    fn probed(&self) -> bool {
        self.recipe.units().iter().any(|u| u.probed == Some(self.node.unit.stage))
    }
}
