//! `search`: combinations of settings on validation.

use crate::hub;
use crate::out::{note, say};
use crate::progress::Progress;
use crate::recipes::{self, Change, DataArgs};
use crate::session::{Compute, stop_flag};
use std::path::PathBuf;
use std::process::ExitCode;
use umt_recipe::RecipeError;
use umt_report::render;
use umt_run::{Axis, Options, Text};

/// Try each combination of settings for some stages on validation, with one seed.
///
/// Keys of `train` and `distill` mean the searched stages alone: their teachers are trained once and reused. Nothing is
/// refitted and test is not looked at.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask search av-digits --data DIR --over train.lr=0.02,0.05,0.1 --over train.epochs=12,16\n  \
    cargo xtask search av-digits --data DIR --only umt --over distill.weight=1,3,10,30")]
pub struct Args {
    /// A recipe by name or a path to a .toml file.
    #[arg(value_name = "NAME")]
    recipe: String,
    #[command(flatten)]
    source: DataArgs,
    /// A key and its values; repeatable: all combinations are tried.
    #[arg(long, value_name = "KEY=V1,V2", required = true)]
    over: Vec<String>,
    /// The stages to search; all that fuse modalities when left out.
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',')]
    only: Vec<String>,
    /// The seed; the recipe's first when left out.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    change: Change,
    /// The folder that holds <recipe>/.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Events as JSON lines on standard output, the trials last, in place of the table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let axes: Vec<Axis> = args
        .over
        .iter()
        .map(|o| o.parse().map_err(|e| RecipeError::Usage(format!("--over {e}"))))
        .collect::<Result<_, _>>()?;
    let text = recipes::text(&args.recipe)?;
    let (device, threads) = (args.compute.device()?, args.compute.begin()?);
    let stop = stop_flag()?;
    let options = Options {
        out: args.out,
        data: args.source.data,
        dataset: args.source.dataset,
        seeds: args.seed.map(|s| vec![s]),
        only: args.only,
        hub: hub::settings()?,
        device,
        threads,
    };
    let mut progress = Progress::new(&stop, "validation", args.json);
    let recipe = Text { name: &text.name, file: &text.file, text: &text.text };
    let search = umt_run::search(recipe, &args.change.overrides(), &axes, &options, &mut progress, &stop)?;
    progress.end();
    let table = search.table();
    match args.json {
        true => say!("{}", serde_json::json!({ "event": "trials", "search": search })),
        false => say!("{}\n{}", render(&table).trim_end(), table.note),
    }
    note!("written to {}/search.md and search.json", options.out.join(&search.recipe).display());
    Ok(ExitCode::SUCCESS)
}
