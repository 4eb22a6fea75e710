//! Paired differences: which rows are compared, and by how much they differ sample by sample.

use crate::error::RecipeError;
use crate::folder::read_predictions;
use crate::recipe::{Recipe, Task};
use crate::report::{eval, of};
use crate::run::{Done, Finished};
use std::collections::{BTreeMap, BTreeSet};
use umt_data::Split;
use umt_eval::{PairedRow, metrics, paired};
use umt_media::Modality;

/// The row that probes the encoder of a modality inside a stage.
pub(crate) fn probe_of(recipe: &Recipe, stage: usize, modality: Modality) -> Option<String> {
    recipe.units().into_iter().find(|u| u.probed == Some(stage) && u.modalities == [modality]).map(|u| u.id)
}

/// Which pairs of rows are compared: each method with its baseline, and each probe with its counterpart.
fn pairs(recipe: &Recipe) -> Vec<(String, String)> {
    let probe = |stage, m| probe_of(recipe, stage, m);
    let fusion = |i: &usize| matches!(recipe.stage[*i].task, Task::Fusion { .. });
    let baselines: Vec<usize> =
        (0..recipe.stage.len()).filter(fusion).filter(|&i| recipe.stage[i].distill.is_none()).collect();
    let mut pairs = Vec::new();
    let mut probes = Vec::new();
    for (i, stage) in recipe.stage.iter().enumerate() {
        if !matches!(stage.task, Task::Fusion { .. } | Task::Ensemble { .. } | Task::Auto { .. }) {
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
            let teacher = recipe.stage.iter().position(|s| s.task == Task::Single { modality });
            probes.extend(probe(base, modality).zip(teacher.and_then(|t| probe(t, modality))));
        }
    }
    pairs.extend(probes);
    pairs
}

pub(crate) fn differences(recipe: &Recipe, finished: &Finished) -> Result<Vec<PairedRow>, RecipeError> {
    // Pixels of a picture are no independent samples.
    if recipe.data.config.dense.is_some() {
        return Ok(Vec::new());
    }
    let mut kept: BTreeMap<String, Vec<(u64, Vec<bool>)>> = BTreeMap::new();
    let mut out = Vec::new();
    for (a, b) in pairs(recipe) {
        for id in [&a, &b] {
            if !kept.contains_key(id) {
                kept.insert(id.clone(), hits(of(finished, id).into_iter(), id)?);
            }
        }
        let (of_a, of_b) = (&kept[&a], &kept[&b]);
        let common: BTreeSet<u64> = of_a.iter().map(|x| x.0).filter(|s| of_b.iter().any(|x| x.0 == *s)).collect();
        if common.is_empty() {
            continue;
        }
        let pick = |all: &[(u64, Vec<bool>)]| -> Vec<Vec<bool>> {
            all.iter().filter(|(s, _)| common.contains(s)).map(|(_, h)| h.clone()).collect()
        };
        let d = paired::bootstrap(&pick(of_a), &pick(of_b), 0, paired::RESAMPLES).map_err(|e| eval(&a, e))?;
        let (split, metric) = ("test".into(), "top1".into());
        out.push(PairedRow { a, b, split, metric, mean: d.mean, low: d.low, high: d.high, n: d.n });
    }
    Ok(out)
}

/// By seed, whether each test sample was classified rightly.
pub(crate) fn hits<'d>(stages: impl Iterator<Item = &'d Done>, id: &str) -> Result<Vec<(u64, Vec<bool>)>, RecipeError> {
    stages
        .map(|done| {
            let predictions = read_predictions(&done.dir, Split::Test, id)?;
            let scores = predictions.scores().map_err(|e| eval(id, e))?;
            Ok((done.record.seed, metrics::top_k::hits(&scores, 1).map_err(|e| eval(id, e))?))
        })
        .collect()
}
