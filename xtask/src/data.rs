//! `data check`: what is there, missing, broken. `data make`: frames in a set's own form. `data fetch-weights` is in a file
//! of its own.

use crate::fetch;
use crate::out::say;
use crate::recipes::DataArgs;
use anyhow::bail;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use umt_data::{CheckOptions, Frames, check_with, generate};
use umt_recipe::RecipeError;

/// Look at a data set, make frames in its form, or fetch pretrained weights.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// What is there, missing, broken; class counts. Exit code 6 when something cannot be used.
    Check(Check),
    /// Frames made by code in the form of a set's own files, to try a recipe without the set.
    Make(Make),
    FetchWeights(fetch::Args),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask data check DIR --dataset av-digits\n  \
    cargo xtask data check my.csv --json                     a manifest needs no --dataset")]
struct Check {
    /// A folder in the set's own form, or a manifest (.csv).
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    place: DataArgs,
    /// Look only whether files are there; decode nothing.
    #[arg(long)]
    list_only: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask data make frames --dataset nyuv2\n  \
    cargo xtask reproduce nyuv2 --data frames --quick")]
struct Make {
    /// A new folder.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The set whose form they have: nyuv2 or sunrgbd.
    #[arg(long, value_name = "NAME")]
    dataset: String,
    /// Training frames.
    #[arg(long, value_name = "N", default_value_t = 24)]
    train: usize,
    /// Test frames.
    #[arg(long, value_name = "N", default_value_t = 8)]
    test: usize,
    /// Another seed gives other frames.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Check(args) => look(args),
        Verb::Make(args) => make(&args),
        Verb::FetchWeights(args) => fetch::run(args),
    }
}

fn bar() -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    ProgressBar::with_draw_target(None, target)
}

fn make(args: &Make) -> anyhow::Result<ExitCode> {
    let Make { dir, dataset, train, test, seed } = args;
    let frames = Frames { train: *train, test: *test, seed: *seed };
    let bar = bar();
    generate(dataset, dir, frames, &mut |p| {
        bar.set_length(p.total as u64);
        bar.set_position(p.done as u64);
    })?;
    bar.finish_and_clear();
    say!("{} frames in the form of {dataset}: {}", train + test, dir.display());
    Ok(ExitCode::SUCCESS)
}

fn look(args: Check) -> anyhow::Result<ExitCode> {
    let root = args.dir.or(args.place.data);
    let own = || root.as_deref().is_some_and(umt_data::is_manifest).then(|| "manifest".to_owned());
    let Some(dataset) = args.place.dataset.or_else(own) else {
        let known: Vec<&str> = umt_data::KINDS.iter().map(|k| k.name()).collect();
        bail!(RecipeError::Usage(format!(
            "--dataset NAME is needed, or a manifest (a csv with the header id,label,split,audio,video): one of {}",
            known.join(", ")
        )));
    };
    let options = CheckOptions { decode: !args.list_only, ..CheckOptions::default() };
    let bar = bar();
    let report = check_with(root.as_deref(), &dataset, &options, &mut |p| {
        bar.set_length(p.total as u64);
        bar.set_position(p.done as u64);
    })?;
    bar.finish_and_clear();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say!("{}", report.to_string().trim_end());
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(6) })
}
