//! A linear classifier on the frozen features of one encoder of a finished stage.

use super::Work;
use crate::error::RunError;
use crate::folder::features_file;
use crate::pass::{Features, Subsets};
use crate::record::{Figure, Record};
use std::collections::BTreeMap;
use umt_data::Split;
use umt_eval::{EvalError, LinearProbe, Predictions, ProbeConfig};
use umt_media::Modality;

impl Work<'_> {
    pub(super) fn probe(&mut self, config: &ProbeConfig) -> Result<Record, RunError> {
        let Some(&modality) = self.node.unit.modalities.first() else {
            return Err(RunError::Usage(format!("`{}` has no modality to probe", self.node.unit.id)));
        };
        let train = self.features(Split::Train)?;
        let validation = self.features(Split::Validation)?;
        let test = self.features(Split::Test)?;
        let classes = self.material.classes().len();
        let (Some(train), Some(test)) = (view(&train, modality, classes), view(&test, modality, classes)) else {
            return Err(self.eval(EvalError::Empty { what: "features" }));
        };
        let (train, test) = (train.map_err(|e| self.eval(e))?, test.map_err(|e| self.eval(e))?);
        let held = view(&validation, modality, classes).transpose().map_err(|e| self.eval(e))?;
        self.stop_if_asked()?;
        let fitted = LinearProbe::fit(train, held, config).map_err(|e| self.eval(e))?;

        let ids = self.predictions_of(self.parents[0], Split::Test)?.ids().to_vec();
        let logits = fitted.model.predict(test.values()).map_err(|e| self.eval(e))?;
        let predictions = Predictions::new(ids, test.labels().to_vec(), classes, logits).map_err(|e| self.eval(e))?;
        let (mut files, mut figures) = (BTreeMap::new(), Vec::new());
        let output = self.predictions(&mut files, &mut figures, Split::Test, &predictions)?;
        if let Some(value) = fitted.validation_top1 {
            figures.push(Figure::whole("validation", "top1", value));
        }
        let tried = serde_json::to_vec_pretty(&fitted.candidates).unwrap_or_default();
        self.file(&mut files, "strengths.json", &tried)?;
        let chosen = if held.is_some() { ", chosen on validation" } else { "" };
        let note = format!("l2 {:e}{chosen}", fitted.l2);
        Ok(Record { note, ..self.record(figures, files, output) })
    }

    /// Features of the probed stage: stored with it when its recipe already had the probe, else computed now.
    fn features(&mut self, split: Split) -> Result<Features, RunError> {
        let name = features_file(split);
        let parent = self.parents[0];
        if parent.record.files.contains_key(&name) {
            return Ok(Features::from_bytes(&self.read(parent, &name)?)?);
        }
        if parent.record.files.keys().any(|f| f.starts_with("features.")) {
            return Ok(Features::default());
        }
        let network = self.teacher(parent)?;
        let refit = self.recipe.stage[parent.node.unit.stage].train.refit;
        match self.optional_loader(split, refit)? {
            Some(loader) => Ok(self.pass(&network, &loader, &Subsets::default())?.features),
            None => Ok(Features::default()),
        }
    }
}

fn view(features: &Features, modality: Modality, classes: usize) -> Option<Result<umt_eval::Features<'_>, EvalError>> {
    let (width, values) = features.values.get(&modality)?;
    Some(umt_eval::Features::new(values, *width, &features.labels, classes))
}
