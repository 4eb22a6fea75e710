//! `reproduce`: every stage of a recipe, the table, the report.

use crate::out::{note, program, say};
use crate::progress::Progress;
use crate::recipes::{self, Change, DataArgs};
use crate::session::{Compute, Seeds, stop_flag};
use crate::{dry, hub};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use umt_recipe::Loaded;
use umt_report::Call;
use umt_run::Options;

/// Run every stage of a recipe and print its table.
///
/// Finished stages are reused, interrupted ones go on where they were, and a changed setting repeats only what depends
/// on it. Everything lands in runs/<recipe>/: results.json, results.md, pictures, predictions, the recipe as run.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask reproduce                                     both experiments on the embedded sets\n  \
    cargo xtask reproduce --quick                             minutes, to see that everything works\n  \
    cargo xtask reproduce av-digits --data DIR                real clips\n  \
    cargo xtask reproduce av-digits --data my.csv --set train.epochs=5\n  \
    cargo xtask reproduce my-recipe.toml --only umt,probe --seeds 1\n  \
    cargo xtask reproduce my-recipe.toml --seeds 5            five seeds, 1 to 5\n  \
    cargo xtask reproduce my-recipe.toml --dry-run            what each stage will cost\n  \
    cargo xtask reproduce my-recipe.toml --json --quiet       events as JSON lines, for other programs\n\n\
A terminal shows bars, a file gets a line for each epoch. `cargo xtask status RUN` tells in another terminal where the run\n\
is; `tensorboard --logdir runs/NAME/tensorboard` shows its curves. NO_COLOR is honoured.")]
pub struct Args {
    /// A recipe by name (av-digits, methods, nyuv2-small, ...) or a path to a .toml file; when left out the embedded
    /// ones, synthetic-av and synthetic-rooms, and with --data, --dataset, --set or --only the first of them alone.
    #[arg(value_name = "NAME")]
    recipe: Option<String>,
    #[command(flatten)]
    source: DataArgs,
    #[command(flatten)]
    change: Change,
    /// Only these stages and what they need; `probe` stands for all probes.
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',')]
    only: Vec<String>,
    /// How many seeds, 1 to N, in place of the recipe's; or which: 1,2,5 (a single one with a comma: 7,).
    #[arg(long, value_name = "N|N,M,...")]
    seeds: Option<Seeds>,
    /// The folder that holds <recipe>/.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Exit with 7 when an expectation of the recipe does not hold.
    #[arg(long)]
    strict: bool,
    /// Print the plan: parameters, FLOP and time of each stage, measured by a few steps. Writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Events as JSON lines on standard output, in place of the tables: plan, begin, resume, epoch, finish, warning, results.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let source = &args.source;
    // What names a part of one recipe is not meant for another.
    let particular =
        source.data.is_some() || source.dataset.is_some() || !args.change.sets.is_empty() || !args.only.is_empty();
    let names: Vec<&str> = match &args.recipe {
        Some(name) => vec![name],
        None if particular => recipes::DEFAULTS[..1].to_vec(),
        None => recipes::DEFAULTS.to_vec(),
    };
    let loaded: Vec<Loaded> = names.iter().map(|name| recipes::load(name, &args.change)).collect::<Result<_, _>>()?;
    let (device, threads) = (args.compute.device()?, args.compute.begin()?);
    let stop = stop_flag()?;
    let options = Options {
        out: args.out,
        data: args.source.data,
        dataset: args.source.dataset,
        seeds: args.seeds.map(|seeds| seeds.0),
        only: args.only,
        hub: hub::settings()?,
        device,
        threads,
    };
    if args.dry_run {
        loaded.iter().try_for_each(|loaded| dry::show(loaded, &options, &stop))?;
        return Ok(ExitCode::SUCCESS);
    }
    let call = Call { command: command(std::env::args().skip(1)), quick: args.change.quick };
    let (mut unmet, mut failure) = (0, None);
    for loaded in &loaded {
        let (own, failed) = one(loaded, &options, &call, &stop, args.json)?;
        unmet += own;
        failure = failure.or(failed);
    }
    if let Some(code) = failure {
        return Ok(ExitCode::from(code));
    }
    Ok(if args.strict && unmet > 0 { ExitCode::from(7) } else { ExitCode::SUCCESS })
}

/// Runs a recipe and prints its table; the number of expectations that do not hold, and the exit code of a stage that failed.
fn one(
    loaded: &Loaded,
    options: &Options,
    call: &Call,
    stop: &Arc<AtomicUsize>,
    json: bool,
) -> anyhow::Result<(usize, Option<u8>)> {
    let mut progress = Progress::new(stop, "test", json);
    let finished = umt_run::run(loaded, options, &mut progress, stop)?;
    let report = umt_report::write(&finished, call)?;
    progress.end();
    match json {
        true => say!("{}", serde_json::json!({ "event": "results", "results": report.results })),
        false => say!("{}", report.text.trim_end()),
    }
    match report.ran {
        0 => note!("\nnothing to do: every stage was finished before (0 steps)"),
        n => note!("\n{n} stage(s) ran, {:.0} s of stages in all", report.results.wall_seconds),
    }
    note!("digest of the run: {}", report.results.digest);
    let folder = report.folder.display();
    note!("report: {folder}/report.html (open it in a browser), {folder}/results.md\n");
    let unmet = report.unmet().count();
    if unmet > 0 {
        note!("{unmet} expectation(s) did not hold");
    }
    if report.failure.is_some() {
        note!("{} stage(s) failed, see the table; the same command tries them again", report.results.failed.len());
    }
    Ok((unmet, report.failure))
}

/// The command line as it could be typed again.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./,:+@".contains(c);
    let quoted = |argument: String| match !argument.is_empty() && argument.chars().all(plain) {
        true => argument,
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    };
    let arguments: Vec<String> = arguments.map(quoted).collect();
    format!("{} {}", program(), arguments.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_typed_again() {
        let given = ["reproduce", "my recipe.toml", "--set", "train.lr=0.1", "it's"].map(String::from);
        let expected = "reproduce 'my recipe.toml' --set train.lr=0.1 'it'\\''s'";
        assert_eq!(command(given.into_iter()), format!("{} {expected}", program()));
    }
}
