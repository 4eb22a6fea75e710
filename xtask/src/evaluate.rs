//! `eval`: a finished run on another set or split.

use crate::out::{alert, note, say};
use crate::progress::Progress;
use crate::recipes::DataArgs;
use crate::session::{Compute, stop_flag};
use anyhow::bail;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use umt_data::Split;
use umt_eval::Table;
use umt_recipe::RecipeError;
use umt_report::{render, render_results};
use umt_run::{EvalOptions, Evaluated};

/// Figures of the networks and ensembles of a finished run on another set or split.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask eval runs/av-digits --data DIR --split validation\n  \
    cargo xtask eval runs/av-digits --data my.csv --only umt\n\
    Samples without labels are predicted; what is predicted of each sample is stored in the run's folder `eval`.")]
pub struct Args {
    /// The folder of a finished run, such as runs/av-digits.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    source: DataArgs,
    /// train, validation or test.
    #[arg(long, value_name = "NAME", default_value = "test")]
    split: String,
    /// Only these stages.
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',')]
    only: Vec<String>,
    /// The metrics as JSON on standard output, in place of the tables.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let known = [Split::Train, Split::Validation, Split::Test];
    let Some(split) = known.into_iter().find(|s| s.name() == args.split) else {
        bail!(RecipeError::Usage(format!("--split {}: one of train, validation, test", args.split)));
    };
    let device = args.compute.device()?;
    args.compute.begin()?;
    let stop = stop_flag()?;
    let options = EvalOptions {
        run: args.run,
        data: args.source.data,
        dataset: args.source.dataset,
        split,
        only: args.only,
        device,
    };
    let mut progress = Progress::new(&stop, "test", args.json);
    let found = umt_run::evaluate(&options, &mut progress, &stop)?;
    progress.end();
    match found.predicted.is_empty() {
        _ if args.json => say!("{}", serde_json::json!({ "event": "results", "results": found.results })),
        true => say!("{}", render_results(&found.results).trim_end()),
        false => say!("{}", render(&predicted(&found)).trim_end()),
    }
    match found.unwritten {
        None => note!("metrics and the prediction of each sample: {}", found.folder.display()),
        Some(error) => alert!("warning: not stored: {error}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// How many samples without labels each stage puts into each class.
fn predicted(found: &Evaluated) -> Table {
    let classes: BTreeSet<&String> = found.predicted.values().flat_map(|counts| counts.keys()).collect();
    let header = ["stage", "seed"].map(String::from).into_iter();
    let row = |((stage, seed), counts): (&(String, u64), &BTreeMap<String, usize>)| {
        let cells = classes.iter().map(|&class| counts.get(class).copied().unwrap_or(0).to_string());
        [stage.clone(), seed.to_string()].into_iter().chain(cells).collect()
    };
    Table {
        title: "Predicted classes: samples of each".into(),
        header: header.chain(classes.iter().map(|&class| class.clone())).collect(),
        rows: found.predicted.iter().map(row).collect(),
        note: String::new(),
    }
}
