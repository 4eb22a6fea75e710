//! `diagnose`: what is wrong with the networks of a finished run, read from what the run left behind.

use crate::compare::{hits, probe_of};
use crate::error::{ReportError, eval};
use crate::pictures::{self, BarGroup, Curve};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use umt_data::Split;
use umt_distill::ObjectiveConfig;
use umt_eval::diagnosis::{self, EncoderFigures, Interval, NetworkFigures, Verdict};
use umt_eval::{Predictions, Results, ensemble, metrics, paired};
use umt_media::Modality;
use umt_recipe::glob;
use umt_recipe::{Recipe, Task};
use umt_run::Opened;
use umt_run::folder::features_file;
use umt_run::pass::Features;
use umt_run::{Done, RunError};
use umt_store::{Store, StoreError};

/// What `diagnose` is asked for.
#[derive(Debug, Clone)]
pub struct DiagnoseOptions {
    /// The folder of a finished run.
    pub run: PathBuf,
    /// Stages by id, `*` allowed; the first network that fuses without an objective of its own when empty.
    pub only: Vec<String>,
    /// The loss of a probe, as a fraction, that is not worth acting on.
    pub margin: f64,
}

/// What was found of one network.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// The figures.
    pub figures: NetworkFigures,
    /// What they say.
    pub verdict: Verdict,
    /// Class names, for the numbers of lost classes.
    pub classes: Vec<String>,
}

/// What was found of the networks of a run.
#[derive(Debug)]
pub struct Diagnoses {
    /// One for each network.
    pub found: Vec<Diagnosis>,
    /// Why nothing was stored, where the run's folder may not be written.
    pub unwritten: Option<StoreError>,
}

/// Diagnoses networks of a finished run; writes `diagnosis.json` and a picture for each into its folder, if it may.
///
/// # Errors
/// A folder that is no finished run, a stage that is not there, does not fuse, or has no probes.
pub fn diagnose(options: &DiagnoseOptions) -> Result<Diagnoses, ReportError> {
    let run = Opened::open(&options.run)?;
    let recipe = &run.loaded.recipe;
    if recipe.data.config.dense.is_some() {
        let text = "diagnose compares predictions of samples, and this run classifies pixels: the probes and the modalities \
                    given alone in its results.md say what its encoders learned";
        return Err(usage(text.into()));
    }
    let fuses = |i: &usize| matches!(recipe.stage[*i].task, Task::Fusion { .. });
    let all: Vec<usize> = (0..recipe.stage.len()).filter(fuses).collect();
    let wanted: Vec<usize> = match options.only.is_empty() {
        true => all
            .iter()
            .copied()
            .find(|&i| recipe.stage[i].distill.is_none())
            .or(all.first().copied())
            .into_iter()
            .collect(),
        false => all.iter().copied().filter(|&i| options.only.iter().any(|p| glob(p, &recipe.stage[i].id))).collect(),
    };
    if wanted.is_empty() {
        let known = umt_recipe::list(all.iter().map(|&i| &recipe.stage[i].id));
        return Err(usage(format!("no stage that fuses modalities fits; there are: {known}")));
    }
    let store = Store::shared(&options.run)?;
    let (mut found, mut plots) = (Vec::new(), Vec::new());
    for stage in wanted {
        let figures = network(&run, stage)?;
        let verdict = diagnosis::judge(&figures, options.margin);
        let name = format!("diagnosis.{}.svg", figures.stage);
        let svg = diagnosis_plot(&figures)?;
        plots.push((name, svg));
        found.push(Diagnosis { figures, verdict, classes: run.classes() });
    }
    let write = || {
        for (name, svg) in &plots {
            store.commit(&store.path(name), svg.as_bytes())?;
        }
        store.commit_json(&store.path("diagnosis.json"), &found).map(drop)
    };
    let unwritten = write().err();
    match unwritten {
        Some(error) if !error.is_denied() => Err(error.into()),
        unwritten => Ok(Diagnoses { found, unwritten }),
    }
}

fn network(run: &Opened, stage: usize) -> Result<NetworkFigures, ReportError> {
    let recipe = &run.loaded.recipe;
    let id = &recipe.stage[stage].id;
    let own = run.stages(id);
    let Some(first) = own.first() else {
        return Err(usage(format!("stage `{id}` was not run")));
    };
    let test = first.predictions(Split::Test)?;
    let (labels, classes) = (test.labels().to_vec(), test.classes());
    let common = most_frequent(&labels, classes);
    let chance = labels.iter().filter(|&&l| l == common).count() as f64 / labels.len().max(1) as f64;
    let modalities = recipe.modalities(&recipe.stage[stage]);
    let given = given(&run.results, id);
    let value = |subset: &[Modality]| match subset {
        [] => Some(chance),
        all if all.len() == modalities.len() => Some(run.results.summary_of(id, "test", "top1")?.mean),
        some => given.get(&names(some)).copied(),
    };
    let shapley = diagnosis::shapley(&modalities, &value);
    let mut encoders = Vec::new();
    for &modality in &modalities {
        let shapley = shapley.as_ref().and_then(|all| all.get(&modality)).copied();
        encoders.push(encoder(run, stage, modality, &labels, (classes, common), shapley)?);
    }
    let mine = keyed(run, id)?;
    let against = |other: BTreeMap<u64, Vec<bool>>| difference(id, &other, &mine);
    let twin = recipe.stage.iter().find(|s| {
        s.task == recipe.stage[stage].task && matches!(s.distill, Some(ObjectiveConfig::Feature { .. })) && s.id != *id
    });
    Ok(NetworkFigures {
        stage: id.clone(),
        top1: run.results.summary_of(id, "test", "top1").map_or(f64::NAN, |s| s.mean),
        ece: run.results.summary_of(id, "test", "ece").map(|s| s.mean),
        chance,
        ensemble: against(teachers_mean(run, &modalities)?)?,
        umt: twin.map(|s| keyed(run, &s.id).and_then(against)).transpose()?.flatten(),
        given,
        encoders,
    })
}

fn encoder(
    run: &Opened,
    stage: usize,
    modality: Modality,
    labels: &[u32],
    (classes, common): (usize, u32),
    shapley: Option<f64>,
) -> Result<EncoderFigures, ReportError> {
    let recipe = &run.loaded.recipe;
    let id = &recipe.stage[stage].id;
    let teacher = teacher_of(recipe, modality);
    let probe =
        |stage: Option<usize>| stage.and_then(|s| probe_of(recipe, s, modality)).filter(|p| !run.stages(p).is_empty());
    let (Some(teacher), Some(inside), Some(alone)) = (teacher, probe(Some(stage)), probe(teacher)) else {
        return Err(usage(format!(
            "the run has no linear probe of the {modality} encoder both inside `{id}` and alone: add the two stages to \
             `of` of a `linear-probe` stage and run `reproduce` again, which reuses everything else"
        )));
    };
    let (inside_hits, alone_hits) = (keyed(run, &inside)?, keyed(run, &alone)?);
    let constant: BTreeMap<u64, Vec<bool>> =
        alone_hits.keys().map(|&seed| (seed, labels.iter().map(|&l| l == common).collect())).collect();
    let rows = |of: &BTreeMap<u64, Vec<bool>>| of.values().cloned().collect::<Vec<_>>();
    let lost = diagnosis::lost_classes(&rows(&alone_hits), &rows(&inside_hits), labels, classes);
    let top1 = |row: &str| run.results.summary_of(row, "test", "top1").map_or(f64::NAN, |s| s.mean);
    let missing = || usage(format!("`{inside}` and `{alone}` have no seed in common"));
    Ok(EncoderFigures {
        modality: modality.to_string(),
        alone: top1(&alone),
        inside: top1(&inside),
        gap: difference(&inside, &inside_hits, &alone_hits)?.ok_or_else(missing)?,
        signal: difference(&alone, &alone_hits, &constant)?.ok_or_else(missing)?,
        shapley,
        gradient_share: gradient_share(run, id, modality)?,
        cka: similarity(run, id, &recipe.stage[teacher].id, modality)?,
        lost: lost.map_err(|e| eval(id, e))?,
    })
}

fn teacher_of(recipe: &Recipe, modality: Modality) -> Option<usize> {
    recipe.stage.iter().position(|s| s.task == Task::Single { modality })
}

fn keyed(run: &Opened, id: &str) -> Result<BTreeMap<u64, Vec<bool>>, ReportError> {
    Ok(hits(run.stages(id).into_iter(), id)?.into_iter().collect())
}

/// a - b over the seeds that both have.
fn difference(
    id: &str,
    a: &BTreeMap<u64, Vec<bool>>,
    b: &BTreeMap<u64, Vec<bool>>,
) -> Result<Option<Interval>, ReportError> {
    let (a, b): (Vec<_>, Vec<_>) = a.iter().filter_map(|(seed, a)| Some((a.clone(), b.get(seed)?.clone()))).unzip();
    if a.is_empty() {
        return Ok(None);
    }
    let d = paired::of_hits(&a, &b).map_err(|e| eval(id, e))?;
    Ok(Some(d.into()))
}

/// Whether the mean of the teachers' probabilities is right, by seed: UME, whether the recipe names it or not.
fn teachers_mean(run: &Opened, modalities: &[Modality]) -> Result<BTreeMap<u64, Vec<bool>>, ReportError> {
    let recipe = &run.loaded.recipe;
    let mut by_seed: BTreeMap<u64, Vec<Predictions>> = BTreeMap::new();
    for &modality in modalities {
        let Some(teacher) = teacher_of(recipe, modality) else { return Ok(BTreeMap::new()) };
        let id = &recipe.stage[teacher].id;
        for done in run.stages(id) {
            by_seed.entry(done.record.seed).or_default().push(done.predictions(Split::Test)?);
        }
    }
    let mut out = BTreeMap::new();
    for (seed, members) in by_seed.into_iter().filter(|(_, m)| m.len() == modalities.len()) {
        let logits: Vec<&[f32]> = members.iter().map(Predictions::logits).collect();
        let equal = vec![1.0 / members.len() as f64; members.len()];
        let first = &members[0];
        let right = ensemble::log_probabilities(&logits, first.classes(), &equal).and_then(|mean| {
            let scores = umt_eval::Scores::new(&mean, first.classes(), first.labels())?;
            metrics::top_k::hits(&scores, 1)
        });
        out.insert(seed, right.map_err(|e| eval("ume", e))?);
    }
    Ok(out)
}

/// Mean over seeds of the CKA of an encoder's test features with its teacher's.
fn similarity(run: &Opened, stage: &str, teacher: &str, modality: Modality) -> Result<Option<f64>, ReportError> {
    let features = |done: &Done| -> Result<Option<(usize, Vec<f32>)>, ReportError> {
        let name = features_file(Split::Test);
        if !done.record.files.contains_key(&name) {
            return Ok(None);
        }
        Ok(Features::from_bytes(&done.read(&name)?)?.values.remove(&modality))
    };
    let mut all = Vec::new();
    for own in run.stages(stage) {
        let Some(other) = run.stages(teacher).into_iter().find(|t| t.record.seed == own.record.seed) else { continue };
        if let (Some((w, x)), Some((v, y))) = (features(own)?, features(other)?) {
            all.push(diagnosis::linear_cka(&x, w, &y, v).map_err(|e| eval(stage, e))?);
        }
    }
    Ok((!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64))
}

/// By epoch, the share of this encoder in the gradient's norm, mean over seeds.
fn gradient_share(run: &Opened, stage: &str, modality: Modality) -> Result<Vec<f64>, ReportError> {
    let key = format!("gradient-share.{modality}");
    let mut seeds: Vec<Vec<f64>> = Vec::new();
    for done in run.stages(stage) {
        seeds.push(done.epochs()?.iter().filter_map(|epoch| epoch.log.get(&key).copied()).collect());
    }
    let epochs = seeds.iter().map(Vec::len).min().unwrap_or(0);
    Ok((0..epochs).map(|e| seeds.iter().map(|s| s[e]).sum::<f64>() / seeds.len() as f64).collect())
}

fn given(results: &Results, stage: &str) -> BTreeMap<String, f64> {
    let own = results.summary.iter().filter(|s| s.stage == stage && s.split == "test" && s.metric == "top1");
    own.filter_map(|s| Some((names(s.given.as_ref()?), s.mean))).collect()
}

fn names(modalities: &[Modality]) -> String {
    let names: Vec<&str> = modalities.iter().map(|m| m.name()).collect();
    names.join("+")
}

fn most_frequent(labels: &[u32], classes: usize) -> u32 {
    let count = |class: u32| labels.iter().filter(|&&l| l == class).count();
    (0..classes as u32).rev().max_by_key(|&class| count(class)).unwrap_or(0)
}

/// A diagnosis as SVG: each encoder alone and inside the network, its contribution and its share of the gradient.
///
/// # Errors
/// [`ReportError::Plot`] when it cannot be drawn.
pub fn diagnosis_plot(figures: &NetworkFigures) -> Result<String, ReportError> {
    let inside = format!("inside {}", figures.stage);
    let half = |i: Interval| (i.high - i.low) / 2.0;
    let group = |e: &EncoderFigures| {
        let mut bars = vec![("alone".to_owned(), e.alone, 0.0), (inside.clone(), e.inside, half(e.gap))];
        bars.extend(e.shapley.map(|s| ("contribution (Shapley)".to_owned(), s, 0.0)));
        bars.extend(e.cka.map(|c| ("likeness to teacher (CKA)".to_owned(), c, 0.0)));
        BarGroup { label: e.modality.clone(), bars }
    };
    let shares: Vec<Curve> = figures
        .encoders
        .iter()
        .filter(|e| !e.gradient_share.is_empty())
        .map(|e| Curve {
            label: e.modality.clone(),
            points: e.gradient_share.iter().enumerate().map(|(i, &s)| (i as f64 + 1.0, s)).collect(),
        })
        .collect();
    let groups: Vec<BarGroup> = figures.encoders.iter().map(group).collect();
    let title = format!("{}: top-1 {:.1} %", figures.stage, 100.0 * figures.top1);
    pictures::diagnosis(&title, &groups, &shares)
        .map_err(|e| ReportError::Plot { name: format!("diagnosis of {}", figures.stage), reason: e.to_string() })
}

fn usage(message: String) -> ReportError {
    RunError::Usage(message).into()
}
