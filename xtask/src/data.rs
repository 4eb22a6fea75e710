//! `data check`: what is there, missing, broken. `data make`: frames in a set's own form. `data init` and `data fetch-weights` are
//! in files of their own.

use crate::out::say;
use crate::progress::{Progress, bar};
use crate::recipes::{Change, DataArgs, load};
use crate::{fetch, init};
use anyhow::bail;
use clap::Subcommand;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use umt_data::{CheckOptions, Frames, Usage, check_with, generate};
use umt_recipe::RecipeError;
use umt_store::Store;

/// Begin with data of your own, look at a set, make frames in its form, or fetch pretrained weights.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Init(init::Args),
    /// What is there, missing, broken, shared by train and test. Exit code 6 with any problem; notes alone are none.
    Check(Check),
    /// Frames made by code in the form of a set's own files, to try a recipe without the set.
    Make(Make),
    FetchWeights(fetch::Args),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask data check DIR --dataset av-digits\n  \
    cargo xtask data check my.csv --csv found.csv            a manifest needs no --dataset\n  \
    cargo xtask data check my.csv --recipe av-digits --set 'data.tolerate=[\"silent\"]'")]
struct Check {
    /// A folder in the set's own form, or a manifest (.csv).
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    place: DataArgs,
    /// Read the set as this recipe does, and print the samples that it trains on and measures.
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,
    #[command(flatten)]
    change: Change,
    /// Look only whether files are there; decode nothing.
    #[arg(long)]
    list_only: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Write every problem and note to this file: kind, list, line, id, reason, remedy.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
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
        Verb::Init(args) => init::run(args),
        Verb::Check(args) => look(args),
        Verb::Make(args) => make(&args),
        Verb::FetchWeights(args) => fetch::run(args),
    }
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
    let Check { dir, place: DataArgs { data, dataset }, recipe, change, list_only, json, csv } = args;
    if recipe.is_none() && (change.quick || !change.sets.is_empty()) {
        bail!(RecipeError::Usage("--set and --quick change a recipe: name it with --recipe".into()));
    }
    let recipe = recipe.map(|name| load(&name, &change)).transpose()?.map(|loaded| (loaded.name, loaded.recipe.data));
    // As in a run, a recipe's own root belongs to its own set.
    let own_root = recipe.as_ref().and_then(|(_, data)| data.root.clone()).filter(|_| dataset.is_none());
    let root = dir.or(data).or(own_root);
    let manifest = root.as_deref().is_some_and(umt_data::is_manifest).then(|| "manifest".to_owned());
    let own = recipe.as_ref().map(|(_, data)| data.set.clone());
    let Some(set) = dataset.or(manifest).or(own) else {
        let known: Vec<&str> = umt_data::KINDS.iter().map(|k| k.name()).collect();
        bail!(RecipeError::Usage(format!(
            "--dataset NAME is needed, or a manifest (a csv with the header id,label,split,audio,video): one of {}",
            known.join(", ")
        )));
    };
    let set = &set;
    let usage = recipe.map(|(recipe, data)| Usage { own: data.set == *set, recipe, config: data.config });
    let options = CheckOptions { decode: !list_only, recipe: usage, ..CheckOptions::default() };
    let mut progress = Progress::new(&Arc::default(), "test", false);
    let report = check_with(root.as_deref(), set, &options, &mut |p| progress.count("checking", p.done, p.total))?;
    progress.end();
    if let Some(path) = csv {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Store::shared(folder)?.commit_with(&path, |out| report.write_csv(out))?;
    }
    if json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say!("{}", report.to_string().trim_end());
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(6) })
}
