//! Paired differences: which rows are compared, and by how much they differ sample by sample.

use crate::error::{ReportError, eval};
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use umt_data::Split;
use umt_eval::difference::Difference;
use umt_eval::paired;
use umt_eval::tallies::{self, Resampled, Tallies};
use umt_eval::{PairedRow, levels, metrics};
use umt_media::Modality;
use umt_recipe::{Recipe, Stage, Task};
use umt_run::folder::TALLIES;
use umt_run::{Done, Stages};

/// The row that probes the encoder of a modality inside a stage.
pub(crate) fn probe_of(recipe: &Recipe, stage: usize, modality: Modality) -> Option<String> {
    recipe.units().into_iter().find(|u| u.probed == Some(stage) && u.modalities == [modality]).map(|u| u.id)
}

/// Which pairs of rows are compared: each method with its baseline, and each probe with its counterpart.
fn pairs(recipe: &Recipe) -> Vec<(String, String)> {
    let probe = |stage, m| probe_of(recipe, stage, m);
    let several = |stage: &Stage| matches!(stage.task, Task::Fusion { .. });
    let alone = |stage: &Stage| stage.distill.is_none();
    let baselines: Vec<usize> =
        (0..recipe.stage.len()).filter(|&i| several(&recipe.stage[i]) && alone(&recipe.stage[i])).collect();
    let mut pairs = Vec::new();
    let mut probes = Vec::new();
    for (i, stage) in recipe.stage.iter().enumerate() {
        if !several(stage) && !matches!(stage.task, Task::Ensemble { .. } | Task::Auto { .. }) {
            continue;
        }
        // With the baseline of the same fusion, and with the first one, which all rows share.
        let same = |&&b: &&usize| recipe.stage[b].task == stage.task;
        let bases: BTreeSet<usize> =
            baselines.first().into_iter().chain(baselines.iter().find(same)).copied().collect();
        for base in bases.into_iter().filter(|&b| b != i) {
            pairs.push((stage.id.clone(), recipe.stage[base].id.clone()));
            for modality in recipe.modalities(stage) {
                probes.extend(probe(i, modality).zip(probe(base, modality)));
            }
        }
    }
    for &base in &baselines {
        for modality in recipe.modalities(&recipe.stage[base]) {
            let teaches = |s: &Stage| match s.task {
                Task::Single { modality: own } => own == modality,
                _ => false,
            };
            let teacher = recipe.stage.iter().position(teaches);
            probes.extend(probe(base, modality).zip(teacher.and_then(|t| probe(t, modality))));
        }
    }
    pairs.extend(probes);
    pairs
}

/// Each pair over the seeds that both have: accuracy, or mean IoU where each pixel has a class. Pixels of a picture are no
/// independent samples, so pictures are drawn.
pub(crate) fn differences(recipe: &Recipe, finished: &Stages) -> Result<Vec<PairedRow>, ReportError> {
    let maps = recipe.data.config.dense.is_some();
    let metric = if maps { "miou" } else { "top1" };
    let (mut hits_of, mut resampled_of) = (BTreeMap::new(), BTreeMap::new());
    let mut found = Vec::new();
    for (a, b) in pairs(recipe) {
        let seeds = |id: &str| -> BTreeSet<u64> {
            let done = finished.of(id).into_iter();
            done.filter(|d| !maps || d.record.files.contains_key(TALLIES)).map(|d| d.record.seed).collect()
        };
        let common: Vec<u64> = seeds(&a).intersection(&seeds(&b)).copied().collect();
        if common.is_empty() {
            continue;
        }
        let difference = if maps {
            for id in [&a, &b] {
                let key = (id.clone(), common.clone());
                if let Entry::Vacant(place) = resampled_of.entry(key) {
                    place.insert(resampled(finished, id, &common)?);
                }
            }
            let row = |id: &String| &resampled_of[&(id.clone(), common.clone())];
            row(&a).minus(row(&b))
        } else {
            for id in [&a, &b] {
                if !hits_of.contains_key(id) {
                    hits_of.insert(id.clone(), hits(finished.of(id).into_iter(), id)?);
                }
            }
            let pick = |id: &String| -> Vec<Vec<bool>> {
                hits_of[id].iter().filter(|(s, _)| common.contains(s)).map(|(_, h)| h.clone()).collect()
            };
            paired::of_hits(&pick(&a), &pick(&b))
        };
        let d = difference.map_err(|e| eval(&a, e))?;
        found.push((a, b, d));
    }
    // Methods and probes are two tables.
    let probe = |id: &str| id.starts_with("probe.");
    let mut out = Vec::new();
    for kind in [false, true] {
        let rows: Vec<&(String, String, Difference)> = found.iter().filter(|(a, ..)| probe(a) == kind).collect();
        let adjusted = levels::holm(&rows.iter().map(|(_, _, d)| d.p).collect::<Vec<_>>());
        for ((a, b, d), p_adjusted) in rows.into_iter().zip(adjusted) {
            out.push(PairedRow {
                a: a.clone(),
                b: b.clone(),
                split: "test".into(),
                metric: metric.into(),
                mean: d.mean,
                low: d.low,
                high: d.high,
                n: d.n,
                level: d.level,
                p: d.p,
                p_adjusted,
                verdict: levels::verdict(d, p_adjusted, recipe.margin),
            });
        }
    }
    Ok(out)
}

/// Mean IoU of a row on resampled test pictures.
fn resampled(finished: &Stages, id: &str, seeds: &[u64]) -> Result<Resampled, ReportError> {
    let mut all = Vec::new();
    for done in finished.of(id).into_iter().filter(|d| seeds.contains(&d.record.seed)) {
        let counts: Vec<u64> = done.json(TALLIES)?;
        all.push(Tallies::from_counts(finished.classes.len(), counts).map_err(|e| eval(id, e))?);
    }
    Resampled::new(&all, 0, tallies::RESAMPLES).map_err(|e| eval(id, e))
}

/// By seed, whether each test sample was classified rightly.
pub(crate) fn hits<'d>(stages: impl Iterator<Item = &'d Done>, id: &str) -> Result<Vec<(u64, Vec<bool>)>, ReportError> {
    stages
        .map(|done| {
            let predictions = done.predictions(Split::Test)?;
            let scores = predictions.scores().map_err(|e| eval(id, e))?;
            Ok((done.record.seed, metrics::top_k::hits(&scores, 1).map_err(|e| eval(id, e))?))
        })
        .collect()
}
