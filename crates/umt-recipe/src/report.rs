//! Records of finished stages become `results.json`, `results.md`, pictures and the table that is printed.

use crate::claim::Figure;
use crate::error::RecipeError;
use crate::folder::read_predictions;
use crate::graph::Unit;
use crate::pictures::{self, BarGroup, Curve};
use crate::recipe::{Loaded, Recipe, Task};
use crate::run::{Done, Finished};
use comfy_table::{CellAlignment, ContentArrangement, presets};
use std::collections::{BTreeMap, BTreeSet};
use umt_data::Split;
use umt_eval::{Confusion, EvalError, Expectation, PairedRow, Results, Row, metrics, paired, summary, tables};
use umt_media::Modality;
use umt_store::Store;

/// What a run leaves behind.
#[derive(Debug)]
pub struct Report {
    /// The figures.
    pub results: Results,
    /// The tables for a terminal.
    pub text: String,
    /// Stages that ran in this call; 0 when all were reused.
    pub ran: usize,
    /// The run's folder.
    pub folder: std::path::PathBuf,
}

impl Report {
    /// The expectations that do not hold.
    pub fn unmet(&self) -> impl Iterator<Item = &Expectation> {
        self.results.expect.iter().filter(|e| !e.held)
    }
}

/// Writes the report of a finished run.
///
/// # Errors
/// A file that cannot be read or written.
pub(crate) fn write(loaded: &Loaded, finished: &Finished, store: &Store) -> Result<Report, RecipeError> {
    let results = results(loaded, finished)?;
    let json = results.to_json().map_err(|e| eval("report", e))?;
    store.commit(&store.path("results.json"), json.as_bytes())?;
    let notes = notes(&loaded.recipe, finished);
    store.commit(&store.path("results.md"), tables::markdown(&results, &notes).as_bytes())?;
    draw(loaded, finished, &results, store)?;
    let text = text(&results, &notes);
    Ok(Report { results, text, ran: finished.ran, folder: finished.folder.clone() })
}

/// All figures, from records alone.
fn results(loaded: &Loaded, finished: &Finished) -> Result<Results, RecipeError> {
    let mut rows = Vec::new();
    for id in &finished.rows {
        for done in of(finished, id) {
            rows.extend(done.record.figures.iter().map(|f| Row {
                stage: id.clone(),
                seed: done.record.seed,
                split: f.split.clone(),
                metric: f.metric.clone(),
                value: f.value,
                given: None,
                key: done.record.key.clone(),
            }));
        }
    }
    let records = || finished.done.iter().map(|d| &d.record);
    let joined = |name: &dyn Fn(&Done) -> String| {
        let all: BTreeSet<String> = finished.done.iter().map(name).collect();
        all.into_iter().collect::<Vec<_>>().join("+")
    };
    let mut speeds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for record in records() {
        if let Some(speed) = record.samples_per_second {
            speeds.entry(record.stage.clone()).or_default().push(speed);
        }
    }
    let mut results = Results {
        recipe: loaded.name.clone(),
        device: joined(&|d| d.record.device.clone()),
        isa: joined(&|d| d.record.isa.clone()),
        threads: records().map(|r| r.threads).max().unwrap_or(0),
        data_digest: finished.digest.clone(),
        summary: summary::of_rows(&rows),
        rows,
        paired: differences(&loaded.recipe, finished)?,
        expect: Vec::new(),
        wall_seconds: records().map(|r| r.wall_seconds).sum(),
        samples_per_second: speeds.into_iter().filter_map(|(s, v)| Some((s, summary::of(&v)?.mean))).collect(),
    };
    results.expect = expectations(&loaded.recipe, &results);
    Ok(results)
}

fn of<'f>(finished: &'f Finished, id: &str) -> Vec<&'f Done> {
    finished.done.iter().filter(|d| d.record.stage == id).collect()
}

/// Claims whose rows were run, each with the figures it was measured by, and the time.
fn expectations(recipe: &Recipe, results: &Results) -> Vec<Expectation> {
    let look = |f: &Figure| results.summary_of(&f.stage, "test", &f.metric).map(|s| s.mean);
    let mut all: Vec<Expectation> = recipe
        .expect
        .claims
        .iter()
        .filter_map(|claim| {
            let held = claim.holds(look)?;
            let measured: Vec<String> =
                claim.figures().into_iter().filter_map(|f| look(f).map(|v| format!("{f} is {v:.4}"))).collect();
            Some(Expectation { text: format!("{claim} ({})", measured.join(", ")), held })
        })
        .collect();
    if let Some(minutes) = recipe.expect.minutes {
        let took = results.wall_seconds / 60.0;
        all.push(Expectation {
            text: format!("all stages within {minutes} minutes (took {took:.1})"),
            held: took <= minutes,
        });
    }
    all
}

/// Which pairs of rows are compared: each method with its baseline, and each probe with its counterpart.
fn pairs(recipe: &Recipe) -> Vec<(String, String)> {
    let units = recipe.units();
    let probe = |stage: usize, m: Modality| {
        units.iter().find(|u| u.probed == Some(stage) && u.modalities == [m]).map(|u| u.id.clone())
    };
    let fusion = |i: &usize| matches!(recipe.stage[*i].task, Task::Fusion { .. });
    let baselines: Vec<usize> =
        (0..recipe.stage.len()).filter(fusion).filter(|&i| recipe.stage[i].distill.is_none()).collect();
    let mut pairs = Vec::new();
    let mut probes = Vec::new();
    for (i, stage) in recipe.stage.iter().enumerate() {
        let same = |&&b: &&usize| recipe.stage[b].task == stage.task;
        let Some(&base) = baselines.iter().find(same).or(baselines.first()).filter(|&&b| b != i) else { continue };
        let method = match stage.task {
            Task::Fusion { .. } => stage.distill.is_some(),
            Task::Ensemble { .. } => true,
            _ => false,
        };
        if !method {
            continue;
        }
        pairs.push((stage.id.clone(), recipe.stage[base].id.clone()));
        for modality in recipe.modalities(stage) {
            probes.extend(probe(i, modality).zip(probe(base, modality)));
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

fn differences(recipe: &Recipe, finished: &Finished) -> Result<Vec<PairedRow>, RecipeError> {
    let mut kept: BTreeMap<String, Vec<(u64, Vec<bool>)>> = BTreeMap::new();
    let mut out = Vec::new();
    for (a, b) in pairs(recipe) {
        for id in [&a, &b] {
            if !kept.contains_key(id) {
                kept.insert(id.clone(), hits(finished, id)?);
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
fn hits(finished: &Finished, id: &str) -> Result<Vec<(u64, Vec<bool>)>, RecipeError> {
    of(finished, id)
        .into_iter()
        .map(|done| {
            let predictions = read_predictions(&done.dir, Split::Test, id)?;
            let scores = predictions.scores().map_err(|e| eval(id, e))?;
            Ok((done.record.seed, metrics::top_k::hits(&scores, 1).map_err(|e| eval(id, e))?))
        })
        .collect()
}

/// What a reader must know of the figures: how many samples, which weights, where expectations come from.
fn notes(recipe: &Recipe, finished: &Finished) -> Vec<String> {
    let mut notes = vec![format!("{}.", recipe.about.trim_end_matches('.'))];
    let samples: BTreeSet<String> = finished
        .done
        .iter()
        .filter_map(|d| d.record.samples.as_ref())
        .map(|s| {
            let skipped: Vec<String> = s.skipped.iter().map(|(p, n)| format!("{n} {p}")).collect();
            let skipped = if skipped.is_empty() { "none".into() } else { skipped.join(", ") };
            format!(
                "Samples: {} train, {} validation, {} test; {} left out (they share a group or content with a held-out one); unusable: {skipped}.",
                s.train, s.validation, s.test, s.left_out
            )
        })
        .collect();
    notes.extend(samples);
    let mut refit = BTreeSet::new();
    for done in finished.done.iter().filter(|d| d.record.steps > 0) {
        refit.insert(recipe.stage[done.node.unit.stage].train.refit);
    }
    if refit.contains(&false) {
        notes.push("Weights: the best checkpoint by validation.".into());
    }
    if refit.contains(&true) {
        notes.push("Weights: refit, the last checkpoint after training on all of train (validation included).".into());
    }
    if !recipe.expect.source.is_empty() {
        notes.push(format!("Expected figures: {}.", recipe.expect.source.trim_end_matches('.')));
    }
    if !recipe.expect.command.is_empty() {
        notes.push(format!("Command: `{}`.", recipe.expect.command));
    }
    notes
}

/// The tables as a terminal shows them.
fn text(results: &Results, notes: &[String]) -> String {
    let shown = |t: &&tables::Table| !t.title.contains("validation");
    let mut out: String = tables::of(results).iter().filter(shown).map(render).collect();
    out += "\n";
    for note in notes {
        out += &format!("{note}\n");
    }
    out
}

/// Every table of some results, as a terminal shows them.
pub fn render_results(results: &Results) -> String {
    tables::of(results).iter().map(render).collect()
}

/// A table as a terminal shows it, its title above it.
pub fn render(table: &tables::Table) -> String {
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    drawn.set_header(&table.header);
    for row in &table.rows {
        drawn.add_row(row);
    }
    for column in drawn.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("\n{}\n{drawn}\n", table.title)
}

fn draw(loaded: &Loaded, finished: &Finished, results: &Results, store: &Store) -> Result<(), RecipeError> {
    let save = |name: &str, drawn: Result<String, _>| -> Result<(), RecipeError> {
        let svg = drawn.map_err(|e: Box<dyn std::error::Error + Send + Sync>| RecipeError::Picture {
            name: name.into(),
            reason: e.to_string(),
        })?;
        store.commit(&store.path(name), svg.as_bytes())?;
        Ok(())
    };
    let (loss, validation) = curves(finished);
    if !loss.is_empty() {
        save("curves.svg", pictures::curves(&loss, &validation))?;
    }
    let groups = bars(&loaded.recipe, results);
    if !groups.is_empty() {
        save("probes.svg", pictures::bars("How good is each encoder?", &groups))?;
    }
    let units = loaded.recipe.units();
    let networks = units.iter().filter(|u| u.probed.is_none() && finished.rows.contains(&u.id));
    for unit in networks {
        if let Some(counts) = confusion(finished, unit)? {
            let seeds = of(finished, &unit.id).len();
            let title = format!("{}: true class by row, {seeds} seed(s)", unit.id);
            save(&format!("confusion.{}.svg", unit.id), pictures::confusion(&title, &finished.classes, &counts))?;
        }
    }
    Ok(())
}

/// Counts over all seeds; none above 60 classes, where a picture shows nothing.
fn confusion(finished: &Finished, unit: &Unit) -> Result<Option<Vec<u64>>, RecipeError> {
    let n = finished.classes.len();
    if n > 60 {
        return Ok(None);
    }
    let mut counts = vec![0; n * n];
    for done in of(finished, &unit.id) {
        let predictions = read_predictions(&done.dir, Split::Test, &unit.id)?;
        let scores = predictions.scores().map_err(|e| eval(&unit.id, e))?;
        for (sum, count) in counts.iter_mut().zip(Confusion::of(&scores).counts()) {
            *sum += count;
        }
    }
    Ok(Some(counts))
}

/// Loss and validation accuracy of the first seed of each stage.
fn curves(finished: &Finished) -> (Vec<Curve>, Vec<Curve>) {
    let (mut loss, mut validation) = (Vec::new(), Vec::new());
    for id in &finished.rows {
        let Some(text) =
            of(finished, id).first().and_then(|d| std::fs::read_to_string(d.dir.join("metrics.jsonl")).ok())
        else {
            continue;
        };
        let lines: Vec<serde_json::Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        let points = |of: &dyn Fn(&serde_json::Value) -> Option<f64>| Curve {
            label: id.clone(),
            points: lines.iter().filter_map(|l| Some((l["epoch"].as_f64()?, of(l)?))).collect(),
        };
        loss.push(points(&|l| l["loss"].as_f64()));
        validation.push(points(&|l| l["validation"]["top1"].as_f64()));
    }
    (loss, validation)
}

/// Probes by modality: the teacher, then each network that fuses.
fn bars(recipe: &Recipe, results: &Results) -> Vec<BarGroup> {
    let units = recipe.units();
    let mut groups = Vec::new();
    for modality in recipe.encoder.keys() {
        let mut bars = Vec::new();
        for unit in units.iter().filter(|u| u.modalities == [*modality]) {
            let Some(stage) = unit.probed.map(|p| &recipe.stage[p]) else { continue };
            let Some(row) = results.summary_of(&unit.id, "test", "top1") else { continue };
            let name = match stage.task {
                Task::Single { .. } => "alone".to_owned(),
                _ => format!("inside {}", stage.id),
            };
            bars.push((name, row.mean, row.std));
        }
        if !bars.is_empty() {
            groups.push(BarGroup { label: modality.to_string(), bars });
        }
    }
    groups
}

fn eval(stage: &str, source: EvalError) -> RecipeError {
    RecipeError::Eval { stage: stage.to_owned(), source }
}
