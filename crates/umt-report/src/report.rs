//! Records of finished stages become `results.json`, `results.md`, pictures and the table that is printed.

use crate::call::Call;
use crate::compare;
use crate::error::{ReportError, eval};
use crate::page::{self, Plots};
use crate::pictures::{self, BarGroup, Curve};
use crate::scenes;
use crate::terminal::render;
use std::collections::{BTreeMap, BTreeSet};
use umt_data::Split;
use umt_eval::{Confusion, Expectation, Results, Row, summary, tables};
use umt_recipe::Figure;
use umt_recipe::Unit;
use umt_recipe::{Loaded, Recipe, Task};
use umt_run::folder;
use umt_run::record::Record;
use umt_run::{Done, Finished, RunRecord, Stages};
use umt_store::Store;
use umt_train::EpochRow;

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
    /// The exit code of the first stage that failed.
    pub failure: Option<u8>,
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
pub fn write(run: &Finished, call: &Call) -> Result<Report, ReportError> {
    let Finished { loaded, stages: finished, store } = run;
    let results = results(loaded, finished)?;
    let json = results.to_json().map_err(|e| eval("report", e))?;
    let notes = notes(&loaded.recipe, finished);
    store.commit(&store.path("results.md"), tables::markdown(&results, &notes).as_bytes())?;
    let plots = draw(loaded, finished, &results, store)?;
    let page = page::page(loaded, finished, &results, &notes, &plots, call)?;
    store.commit(&store.path("report.html"), page.as_bytes())?;
    RunRecord::commit(store, &loaded.effective, &json)?;
    let text = text(&results, &notes);
    let failure = finished.failed.first().map(|f| f.exit_code);
    Ok(Report { results, text, ran: finished.ran, folder: store.root().to_owned(), failure })
}

/// All figures, from records alone.
fn results(loaded: &Loaded, finished: &Stages) -> Result<Results, ReportError> {
    let mut rows = Vec::new();
    for id in &finished.rows {
        for done in finished.of(id) {
            rows.extend(done.record.figures.iter().map(|f| Row {
                stage: id.clone(),
                seed: done.record.seed,
                split: f.split.clone(),
                metric: f.metric.clone(),
                value: f.value,
                given: f.given.clone(),
                key: done.record.key.clone(),
            }));
        }
    }
    let records = || finished.done.iter().map(|d| &d.record);
    let joined = |name: &dyn Fn(&Done) -> String| {
        let all: BTreeSet<String> = finished.done.iter().map(name).collect();
        all.into_iter().collect::<Vec<_>>().join("+")
    };
    let means = |of: &dyn Fn(&Record) -> Option<f64>| -> BTreeMap<String, f64> {
        let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for record in records() {
            if let Some(value) = of(record) {
                all.entry(record.stage.clone()).or_default().push(value);
            }
        }
        all.into_iter().filter_map(|(stage, values)| Some((stage, summary::of(&values)?.mean))).collect()
    };
    let epoch = |r: &Record| r.samples.as_ref().zip(r.samples_per_second).map(|(s, speed)| s.train as f64 / speed);
    let mut results = Results {
        recipe: loaded.name.clone(),
        device: joined(&|d| d.record.device.clone()),
        isa: joined(&|d| d.record.isa.clone()),
        threads: records().map(|r| r.threads).max().unwrap_or(0),
        digest: finished.digest(),
        data_digest: finished.data_digest.clone(),
        summary: summary::of_rows(&rows),
        rows,
        paired: compare::differences(&loaded.recipe, finished)?,
        expect: Vec::new(),
        failed: finished.failed.iter().map(|f| f.row.clone()).collect(),
        wall_seconds: records().map(|r| r.wall_seconds).sum(),
        samples_per_second: means(&|r| r.samples_per_second),
        seconds_per_epoch: means(&epoch),
        peak_bytes: means(&|r| r.peak_bytes.filter(|_| r.steps > 0).map(|b| b as f64)),
    };
    results.expect = expectations(&loaded.recipe, &results);
    Ok(results)
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

/// What a reader must know of the figures: how many samples, which weights, where expectations come from.
fn notes(recipe: &Recipe, finished: &Stages) -> Vec<String> {
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
    for done in finished.done.iter().filter(|d| matches!(recipe.stage[d.node.unit.stage].task, Task::Auto { .. })) {
        notes.push(format!("{}, seed {}: {}.", done.record.stage, done.record.seed, done.record.note));
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
    let all = tables::of(results);
    // With many methods one table says what the others say at length; results.md has them all.
    let many = all.iter().any(|t| t.title.starts_with("Methods"));
    let shown = |t: &&umt_eval::Table| match many {
        true => t.title.starts_with("Methods") || t.title == "Expectations",
        false => !t.title.contains("validation"),
    };
    let mut out: String = all.iter().filter(shown).map(render).collect();
    out += "\n";
    for note in notes {
        out += &format!("{note}\n");
    }
    out
}

/// Draws and saves every plot.
fn draw(loaded: &Loaded, finished: &Stages, results: &Results, store: &Store) -> Result<Plots, ReportError> {
    let mut plots = Plots::new();
    let mut save = |title: &str, name: &str, drawn: Result<String, _>| -> Result<(), ReportError> {
        let svg = drawn.map_err(|e: Box<dyn std::error::Error + Send + Sync>| ReportError::Plot {
            name: name.into(),
            reason: e.to_string(),
        })?;
        store.commit(&store.path(name), svg.as_bytes())?;
        plots.push((title.to_owned(), svg));
        Ok(())
    };
    let pixels = loaded.recipe.data.config.dense.is_some();
    let probed = if pixels { "mIoU of a 1x1 convolution, test" } else { "top-1 of a linear probe, test" };
    let (loss, validation) = curves(finished)?;
    if !loss.is_empty() {
        save("Curves", "curves.svg", pictures::curves(&loss, &validation, if pixels { "mIoU" } else { "top-1" }))?;
    }
    let groups = bars(&loaded.recipe, results);
    if !groups.is_empty() {
        save("Probes of each encoder", "probes.svg", pictures::bars("How good is each encoder?", probed, &groups))?;
    }
    if let Some(drawn) = scenes::draw(&finished.classes, &first_seed(finished))? {
        save("Scenes: colour, depth, truth and predictions", "scenes.svg", Ok(drawn))?;
    }
    let classes = class_bars(&finished.classes, &first_seed(finished))?;
    if !classes.is_empty() {
        save(
            "Classes: intersection over union",
            "classes.svg",
            pictures::bars("Each class", "intersection over union, test, first seed", &classes),
        )?;
    }
    let units = loaded.recipe.units();
    let networks = units.iter().filter(|u| u.probed.is_none() && finished.rows.contains(&u.id));
    for unit in networks {
        if let Some(counts) = confusion(finished, unit)? {
            let seeds = finished.of(&unit.id).len();
            let title = format!("{}: true class by row, {seeds} seed(s)", unit.id);
            save(
                &format!("Confusion of {}", unit.id),
                &format!("confusion.{}.svg", unit.id),
                pictures::confusion(&title, &finished.classes, &counts),
            )?;
        }
    }
    Ok(plots)
}

/// The first seed of each row that has a network with a class for every pixel.
fn first_seed(finished: &Stages) -> Vec<&Done> {
    let firsts = finished.rows.iter().filter_map(|id| finished.of(id).into_iter().next());
    firsts.filter(|done| done.record.files.contains_key(folder::FRAMES)).collect()
}

/// Intersection over union by class, a bar for each network.
fn class_bars(classes: &[String], networks: &[&Done]) -> Result<Vec<BarGroup>, ReportError> {
    let mut groups: Vec<BarGroup> =
        classes.iter().map(|class| BarGroup { label: class.clone(), bars: Vec::new() }).collect();
    for done in networks {
        let counts: Vec<u64> = done.json(folder::COUNTS)?;
        let confusion = Confusion::from_counts(classes.len(), counts).map_err(|e| eval(&done.record.stage, e))?;
        for (group, value) in groups.iter_mut().zip(umt_eval::metrics::mean_iou::class_iou(&confusion)) {
            group.bars.push((done.record.stage.clone(), value.unwrap_or(0.0), 0.0));
        }
    }
    Ok(if networks.is_empty() { Vec::new() } else { groups })
}

/// Counts over all seeds; none above 60 classes, where a picture shows nothing.
fn confusion(finished: &Stages, unit: &Unit) -> Result<Option<Vec<u64>>, ReportError> {
    let n = finished.classes.len();
    if n > 60 {
        return Ok(None);
    }
    let mut counts = vec![0; n * n];
    for done in finished.of(&unit.id) {
        if done.record.files.contains_key(folder::COUNTS) {
            let read: Vec<u64> = done.json(folder::COUNTS)?;
            counts.iter_mut().zip(read).for_each(|(sum, count)| *sum += count);
            continue;
        }
        let predictions = done.predictions(Split::Test)?;
        let scores = predictions.scores().map_err(|e| eval(&unit.id, e))?;
        for (sum, count) in counts.iter_mut().zip(Confusion::of(&scores).counts()) {
            *sum += count;
        }
    }
    Ok(Some(counts))
}

/// Loss and validation accuracy of the first seed of each stage.
fn curves(finished: &Stages) -> Result<(Vec<Curve>, Vec<Curve>), ReportError> {
    let (mut loss, mut validation) = (Vec::new(), Vec::new());
    for id in &finished.rows {
        let lines = finished.of(id).first().map(|done| done.epochs()).transpose()?.unwrap_or_default();
        if lines.is_empty() {
            continue;
        }
        let points = |of: &dyn Fn(&EpochRow) -> Option<f64>| Curve {
            label: id.clone(),
            points: lines.iter().filter_map(|row| Some((row.epoch as f64, of(row)?))).collect(),
        };
        loss.push(points(&|row| Some(row.loss)));
        validation.push(points(&|row| Some(row.validation?.main())));
    }
    Ok((loss, validation))
}

/// Probes by modality: the teacher, then each network that fuses.
fn bars(recipe: &Recipe, results: &Results) -> Vec<BarGroup> {
    let units = recipe.units();
    let mut groups = Vec::new();
    for modality in recipe.encoder.keys() {
        let mut bars = Vec::new();
        for unit in units.iter().filter(|u| u.modalities == [*modality]) {
            let Some(stage) = unit.probed.map(|p| &recipe.stage[p]) else { continue };
            let row = |metric| results.summary_of(&unit.id, "test", metric);
            let Some(row) = row("miou").or(row("top1")) else { continue };
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
