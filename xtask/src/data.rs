//! `data check`: what is there, missing, broken. `data fetch-weights` is in a file of its own.

use crate::fetch;
use crate::recipes::Place;
use anyhow::bail;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use umt_data::{CheckOptions, check_with};
use umt_recipe::RecipeError;

/// Look at a data set, or fetch pretrained weights.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// What is there, missing, broken; class counts. Exit code 6 when something cannot be used.
    Check(Check),
    FetchWeights(fetch::Args),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask data check DIR --dataset av-digits\n  \
    cargo xtask data check my.csv --dataset manifest --json")]
struct Check {
    /// A folder in the set's own form, or a manifest (.csv).
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Look only whether files are there; decode nothing.
    #[arg(long)]
    list_only: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let args = match args.verb {
        Verb::Check(args) => args,
        Verb::FetchWeights(args) => return fetch::run(args),
    };
    let Some(dataset) = args.place.dataset else {
        let known: Vec<&str> = umt_data::KINDS.iter().map(|k| k.name()).collect();
        bail!(RecipeError::Usage(format!("--dataset NAME is needed: one of {}", known.join(", "))));
    };
    let root = args.dir.or(args.place.data);
    let options = CheckOptions { decode: !args.list_only, ..CheckOptions::default() };
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    let report = check_with(root.as_deref(), &dataset, &options, &mut |p| {
        bar.set_length(p.total as u64);
        bar.set_position(p.done as u64);
    })?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(6) })
}
