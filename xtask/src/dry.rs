//! `reproduce --dry-run`: the plan with what each stage will cost, measured here by a few steps of each network on a few
//! samples. Nothing of the run's folder is touched.

use crate::out::{note, say};
use crate::pace::spoken;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use umt_data::{Dataset, Split};
use umt_eval::Table;
use umt_nn::timing::record;
use umt_recipe::{Loaded, Stage};
use umt_report::render;
use umt_run::folder::MODEL;
use umt_run::{Now, Options, Stages, Watch};
use umt_store::tensors;
use umt_train::StepReport;

/// The first step warms caches up, the others are measured.
const STEPS: u64 = 4;

/// What a training step of a network costs.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    parameters: usize,
    /// Floating-point operations of the kernels for a sample, teachers included.
    flops: f64,
    samples_per_second: f64,
}

/// Prints the plan of a recipe.
pub fn show(loaded: &Loaded, options: &Options, stop: &Arc<AtomicUsize>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut few = small(loaded);
    let few_options = Options { out: folder.path().to_owned(), seeds: Some(vec![1]), ..options.clone() };
    note!("measuring a few steps of each network ...");
    // What the measured networks read of others is finished after one step of each.
    let run = umt_run::run(&few, &few_options, &mut Clock::default(), stop)?;
    let (on, rows) = (run.loaded.clone(), run.stages.rows.clone());
    drop(run);
    let mut costs = BTreeMap::new();
    for at in 0..few.recipe.stage.len() {
        let Stage { id, weights, task, .. } = &few.recipe.stage[at];
        if rows.contains(id) && weights.is_none() && task.is_network() {
            let id = id.clone();
            costs.insert(id.clone(), cost(&mut few, at, &Options { only: vec![id], ..few_options.clone() }, stop)?);
        }
    }
    say!("{}", text(loaded, &on, &rows, options, &costs)?);
    note!("Nothing was written. Times are of {} thread(s) of this machine, measured just now.", options.threads);
    Ok(())
}

/// The recipe with one step of a batch for each network.
fn small(loaded: &Loaded) -> Loaded {
    let mut few = loaded.clone();
    let batch = few.recipe.stage.iter().map(|stage| stage.train.batch).max().unwrap_or(1);
    // A batch for training after the held-out share has gone.
    few.recipe.data.config.limit = Some(2 * batch);
    few.recipe.data.config.validation.group_by = Some(umt_data::NO_GROUPS.into());
    for stage in &mut few.recipe.stage {
        (stage.train.epochs, stage.train.steps) = (None, Some(1));
    }
    few
}

/// A stage with one step and with several: what they differ by is the steps.
fn cost(few: &mut Loaded, at: usize, options: &Options, stop: &Arc<AtomicUsize>) -> anyhow::Result<Cost> {
    let (id, batch) = (few.recipe.stage[at].id.clone(), few.recipe.stage[at].train.batch as f64);
    let lr = few.recipe.stage[at].train.lr;
    let mut cost = Cost::default();
    let mut all = [0.0; 2];
    for (steps, all) in [1, STEPS].into_iter().zip(&mut all) {
        let mut clock = Clock::default();
        few.recipe.stage[at].train.steps = Some(steps);
        // Another rate is another stage: none that is finished is taken for it.
        few.recipe.stage[at].train.lr *= 1.001;
        let (run, timed) = record(|| umt_run::run(few, options, &mut clock, stop));
        *all = timed.iter().map(|kernel| kernel.flops).sum();
        cost.parameters = parameters(&run?.stages, &id)?;
        if let (Some((first, begun)), Some((last, ended))) = (clock.first, clock.last)
            && last > first
        {
            cost.samples_per_second = batch * (last - first) as f64 / (ended - begun).as_secs_f64().max(1e-9);
        }
    }
    (few.recipe.stage[at].train.steps, few.recipe.stage[at].train.lr) = (Some(1), lr);
    cost.flops = (all[1] - all[0]) / (STEPS - 1) as f64 / batch;
    Ok(cost)
}

/// When steps of one stage were done.
#[derive(Default)]
struct Clock {
    first: Option<(u64, Instant)>,
    last: Option<(u64, Instant)>,
}

impl Watch for Clock {
    fn on_begin(&mut self, _now: Now<'_>) {
        (self.first, self.last) = (None, None);
    }

    fn on_step(&mut self, _now: Now<'_>, report: &StepReport<'_>) {
        self.last = Some((report.step, Instant::now()));
        self.first = self.first.or(self.last);
    }
}

/// Values of a finished stage's model, running statistics left out.
fn parameters(stages: &Stages, id: &str) -> anyhow::Result<usize> {
    let Some(done) = stages.done.iter().find(|done| done.record.stage == id) else { return Ok(0) };
    let all = tensors::read(&done.read(MODEL)?)?;
    let trained = all.iter().filter(|(name, _)| !name.contains("running_") && !name.contains("num_batches"));
    Ok(trained.map(|(_, (_, values))| values.len()).sum())
}

fn text(
    loaded: &Loaded,
    on: &Loaded,
    rows: &[String],
    options: &Options,
    costs: &BTreeMap<String, Cost>,
) -> anyhow::Result<String> {
    let data = &on.recipe.data;
    let mut config = data.config.clone();
    config.limit = loaded.recipe.data.config.limit;
    // Groups as the recipe has them: the measured steps had none.
    config.validation = loaded.recipe.data.config.validation.clone();
    let mut set: Dataset = umt_data::open(&data.set, data.root.as_deref().or(options.data.as_deref()), &config)?;
    let (validation, _) = config.validation.for_set(&set);
    let whole = set.indices(Split::Train).len();
    set.split_validation(0, &validation)?;
    let counts = set.counts();
    let seeds = options.seeds.as_ref().unwrap_or(&loaded.recipe.seeds).len();
    let mut total = 0.0;
    let mut table = Vec::new();
    for row in rows {
        let dash = || "–".to_owned();
        let cost = costs.get(row).zip(loaded.recipe.find(row));
        table.push(match cost {
            None => vec![row.clone(), dash(), dash(), dash(), dash()],
            Some((cost, stage)) => {
                let train = if stage.train.refit { whole } else { counts.train };
                let trained = match (stage.train.epochs, stage.train.steps) {
                    (Some(epochs), _) => epochs as f64 * train as f64,
                    (None, steps) => steps.unwrap_or(0) as f64 * stage.train.batch as f64,
                };
                // An evaluation costs a third of a training step.
                let epochs = trained / train.max(1) as f64;
                let held_out = if stage.train.refit { 0.0 } else { epochs * counts.validation as f64 };
                let evaluated = held_out + (train + counts.validation + counts.test) as f64;
                let seconds = (trained + evaluated / 3.0) / cost.samples_per_second.max(1e-9);
                total += seconds;
                vec![
                    row.clone(),
                    format!("{:.3}", cost.parameters as f64 / 1e6),
                    format!("{:.1}", cost.flops / 1e6),
                    format!("{:.0}", cost.samples_per_second),
                    spoken(Duration::from_secs_f64(seconds)),
                ]
            }
        });
    }
    let header = ["stage", "M parameters", "MFLOP/sample", "samples/s", "one seed"];
    let table = Table {
        title: format!("{}: {}", loaded.name, loaded.recipe.about),
        header: header.map(String::from).to_vec(),
        rows: table,
        note: String::new(),
    };
    Ok(format!(
        "{}\n{} training, {} validation, {} test samples; {seeds} seed(s): about {} in all, decoding and probes not counted.\n\
         FLOP are of a training step, its backward pass and its teachers included.",
        render(&table).trim_end(),
        counts.train,
        counts.validation,
        counts.test,
        spoken(Duration::from_secs_f64(total * seeds as f64)),
    ))
}
