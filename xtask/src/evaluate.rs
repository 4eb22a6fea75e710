//! `eval`: a finished run on another set or split.

use crate::out::{note, say};
use crate::progress::Progress;
use crate::recipes::DataArgs;
use crate::session::{Compute, stop_flag};
use anyhow::bail;
use std::path::PathBuf;
use std::process::ExitCode;
use umt_data::Split;
use umt_recipe::RecipeError;
use umt_report::render_results;
use umt_run::EvalOptions;

/// Figures of the networks and ensembles of a finished run on another set or split.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask eval runs/av-digits --data DIR --split validation\n  \
    cargo xtask eval runs/av-digits --data my.csv --dataset manifest --only umt")]
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
    let mut progress = Progress::new(&stop, "test");
    let found = umt_run::evaluate(&options, &mut progress, &stop)?;
    progress.end();
    say!("{}", render_results(&found.results).trim_end());
    match found.unwritten {
        None => note!("written to {}/eval.json", options.run.display()),
        Some(error) => note!("warning: not stored: {error}"),
    }
    Ok(ExitCode::SUCCESS)
}
