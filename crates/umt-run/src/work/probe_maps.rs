//! Probes of the encoders of segmentation networks: a 1x1 convolution on frozen maps.

use super::Work;
use crate::error::RunError;
use crate::pass::{Shift, over};
use crate::record::Record;
use crate::segmented::Segmented;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use umt_data::Split;
use umt_eval::{Confusion, EvalError, LinearProbe, ProbeConfig, Scores};
use umt_fusion::Network;
use umt_fusion::decoder::{Places, sample_places};
use umt_media::Modality;

/// The maps that a probe reads, side by side: behind each of the four stages.
const PROBED: [usize; 4] = [1, 2, 3, 4];
/// Places of each picture that a probe is fitted on, and tested on.
const FITTED_PLACES: usize = 64;
const TESTED_PLACES: usize = 1024;

/// Places of the pictures of a split.
#[derive(Default)]
struct Sampled {
    places: Places,
    /// The pictures' places in the list of the set, in the order of `places`.
    indices: Vec<usize>,
}

impl Work<'_> {
    /// A 1x1 convolution on the frozen maps of one encoder: a linear classifier of their places.
    pub(super) fn probe_maps(&mut self, config: &ProbeConfig) -> Result<Record, RunError> {
        let Some(&modality) = self.node.unit.modalities.first() else {
            return Err(RunError::Usage(format!("`{}` has no modality to probe", self.node.unit.id)));
        };
        let network = self.teacher(self.parents[0])?;
        let (mut files, mut figures) = (BTreeMap::new(), Vec::new());
        let (segmented, note) = self.probe_encoder(&network, modality, false, config)?;
        let output = self.pixels(&mut files, &mut figures, Split::Test, &segmented, None)?;
        // The published form feeds depth into the RGB encoder: what that encoder holds by itself is another metric.
        if !network.is_unimodal(modality) {
            let (alone, _) = self.probe_encoder(&network, modality, true, config)?;
            self.pixels(&mut files, &mut figures, Split::Test, &alone, Some(vec![modality]))?;
        }
        Ok(Record { note, ..self.record(figures, files, output) })
    }

    /// Fits a probe and counts its places on test. `alone`: depth's contribution to the encoder is set to zero.
    fn probe_encoder(
        &mut self,
        network: &Network,
        modality: Modality,
        alone: bool,
        config: &ProbeConfig,
    ) -> Result<(Segmented, String), RunError> {
        let classes = self.material.classes().len();
        let mut read = |split, most| self.places(network, modality, alone, split, most);
        let train = read(Split::Train, FITTED_PLACES)?;
        let held = read(Split::Validation, FITTED_PLACES)?;
        let test = read(Split::Test, TESTED_PLACES)?;
        let view = |places| view(places, classes).map_err(|e| self.eval(e));
        let (Some(fitted_on), Some(tested_on)) = (view(&train.places)?, view(&test.places)?) else {
            return Err(self.eval(EvalError::Empty { what: "labelled places" }));
        };
        let fitted = LinearProbe::fit(fitted_on, view(&held.places)?, config).map_err(|e| self.eval(e))?;
        let logits = fitted.model.predict(tested_on.values()).map_err(|e| self.eval(e))?;
        let segmented = tally(&test, &logits, classes).map_err(|e| self.eval(e))?;
        let note = format!(
            "1x1 convolution on the maps of the four stages, l2 {:e}, {} places",
            fitted.l2,
            train.places.labels.len()
        );
        Ok((segmented, note))
    }

    fn places(
        &mut self,
        network: &Network,
        modality: Modality,
        alone: bool,
        split: Split,
        most: usize,
    ) -> Result<Sampled, RunError> {
        let refit = self.recipe.stage[self.parents[0].node.unit.stage].train.refit;
        let mut sampled = Sampled::default();
        let Some(loader) = self.optional_loader(split, refit)? else { return Ok(sampled) };
        let stages = BTreeSet::from(PROBED);
        let stopped = || self.stop.load(Ordering::Relaxed) != 0;
        let taken = over(&loader, &Shift::default(), &network.params().device(), &stopped, |batch| {
            let maps = match (alone, batch.inputs().get(&modality)) {
                (true, Some(input)) => network.maps_alone(modality, input, &stages)?,
                _ => network.maps(batch.inputs(), &stages)?.remove(&modality).unwrap_or_default(),
            };
            let Some(labels) = &batch.maps else { return Ok(()) };
            let size = [labels.shape[1], labels.shape[2]];
            let maps: Vec<_> = maps.into_values().collect();
            let some = sample_places(&maps, &labels.data, size, &batch.ids, most)?;
            sampled.places.rows.extend(some.rows);
            sampled.places.labels.extend(some.labels);
            sampled.places.pictures.extend(some.pictures);
            sampled.indices.extend(&batch.indices);
            Ok(())
        });
        taken.map_err(|error| self.passed(error))?;
        Ok(sampled)
    }
}

/// Places as features; none where there are none.
fn view(places: &Places, classes: usize) -> Result<Option<umt_eval::Features<'_>>, EvalError> {
    match places.labels.len() {
        0 => Ok(None),
        n => umt_eval::Features::new(&places.rows, places.rows.len() / n, &places.labels, classes).map(Some),
    }
}

/// Counts of each picture's places.
fn tally(sampled: &Sampled, logits: &[f32], classes: usize) -> Result<Segmented, EvalError> {
    let scores = Scores::new(logits, classes, &sampled.places.labels)?;
    let mut said = sampled.places.labels.iter().zip(scores.predicted());
    let mut pictures = BTreeMap::new();
    for (&index, &places) in sampled.indices.iter().zip(&sampled.places.pictures) {
        let mut own = Confusion::new(classes);
        for (&label, predicted) in said.by_ref().take(places) {
            own.add(index, label, predicted)?;
        }
        pictures.insert(index, own);
    }
    Segmented::of(classes, &pictures)
}
