//! `bench load`: how fast clips become decoded, resized samples.

use crate::recipes::{self, Change, Place};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use umt_data::Cache;
use umt_store::Store;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench load --data DIR\n  cargo xtask bench load --recipe synthetic-av"
)]
pub struct Args {
    /// The recipe whose [data] is read.
    #[arg(long, value_name = "NAME", default_value = "av-digits")]
    recipe: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    change: Change,
    /// Threads that decode; all cores when left out.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// The folder for bench-load.json.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Measured {
    dataset: String,
    samples: usize,
    skipped: usize,
    threads: usize,
    seconds: f64,
    clips_per_second: f64,
    cache_bytes: u64,
    isa: &'static str,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = recipes::load(&args.recipe, &args.change)?;
    let data = &loaded.recipe.data;
    let mut config = data.config.clone();
    config.decode_threads = args.threads;
    let set = args.place.dataset.as_deref().unwrap_or(&data.set);
    let root = args.place.data.as_deref().or(data.root.as_deref());
    let store = Store::open(&args.out)?;
    let scratch = store.path("bench-load");
    store.remove(&scratch)?;
    let measured = load(set, root, &config, &scratch, &store);
    store.remove(&scratch)?;
    let measured = measured?;
    println!(
        "{}: {} clips in {:.2} s on {} thread(s): {:.1} clips/s",
        measured.dataset, measured.samples, measured.seconds, measured.threads, measured.clips_per_second
    );
    store.commit_json(&store.path("bench-load.json"), &measured)?;
    eprintln!("written to {}", store.path("bench-load.json").display());
    Ok(ExitCode::SUCCESS)
}

fn load(
    set: &str,
    root: Option<&Path>,
    config: &umt_data::DataConfig,
    scratch: &Path,
    store: &Store,
) -> anyhow::Result<Measured> {
    let started = Instant::now();
    let dataset = umt_data::open(set, root, config)?;
    let mut bytes = 0;
    let cache = Cache::build(&dataset, config, scratch, &mut |p| bytes = p.bytes, store)?;
    let seconds = started.elapsed().as_secs_f64();
    let threads = match config.decode_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let samples = dataset.samples.len();
    Ok(Measured {
        dataset: set.to_owned(),
        samples,
        skipped: cache.skipped().len(),
        threads,
        seconds,
        clips_per_second: samples as f64 / seconds.max(1e-9),
        cache_bytes: bytes,
        isa: umt_nn::kernels::isa().as_str(),
    })
}
