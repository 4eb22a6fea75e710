//! `bench load`: how fast files become decoded samples, and those augmented batches on one core.

use crate::out::{note, say};
use crate::recipes::{self, Change, DataArgs};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use umt_data::{Cache, Loader, LoaderConfig, Split};
use umt_store::Store;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench load --data DIR\n  cargo xtask bench load --recipe synthetic-av\n  cargo xtask bench load --recipe nyuv2 --data DIR --threads 1   (tests/peers/load_rgbd.py is the peer)"
)]
pub struct Args {
    /// The recipe whose [data] is read.
    #[arg(long, value_name = "NAME", default_value = "av-digits")]
    recipe: String,
    #[command(flatten)]
    place: DataArgs,
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
    /// Milliseconds of one core for a training sample on its way from the cache into a batch.
    augment_ms: f64,
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
    say!(
        "{}: {} clips in {:.2} s on {} thread(s): {:.1} clips/s",
        measured.dataset,
        measured.samples,
        measured.seconds,
        measured.threads,
        measured.clips_per_second
    );
    let decode_ms = 1e3 * measured.seconds * measured.threads as f64 / measured.samples.max(1) as f64;
    say!("a sample: {decode_ms:.2} ms of a core decoded and stored, {:.2} ms augmented", measured.augment_ms);
    store.commit_json(&store.path("bench-load.json"), &measured)?;
    note!("written to {}", store.path("bench-load.json").display());
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
    let samples = dataset.len();
    let cache = Arc::new(cache);
    let settings = LoaderConfig { batch: 8, workers: 0, train: true, ..LoaderConfig::default() };
    let loader = Loader::new(Arc::clone(&cache), cache.indices(Split::Train), settings)?;
    // The first epoch also compares digests.
    let mut augment_ms = 0.0;
    for epoch in 0..2 {
        let started = Instant::now();
        for batch in loader.epoch(epoch, 0) {
            batch?;
        }
        augment_ms = 1e3 * started.elapsed().as_secs_f64() / loader.samples().len().max(1) as f64;
    }
    Ok(Measured {
        dataset: set.to_owned(),
        samples,
        skipped: cache.skipped().len(),
        threads,
        seconds,
        clips_per_second: samples as f64 / seconds.max(1e-9),
        augment_ms,
        cache_bytes: bytes,
        isa: umt_nn::kernels::isa().as_str(),
    })
}
