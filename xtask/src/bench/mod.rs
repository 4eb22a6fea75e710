//! How fast things are: reading data, kernels, whole training steps, inference; and how fast a peer is in the same call.

mod case;
mod duel;
mod gpu;
mod kernels;
mod load;
mod networks;
mod probe;
mod rgbd;
mod side;
mod stock_candle;
mod worker;

use clap::Subcommand;
use std::process::ExitCode;

/// Measure how fast something is.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Read every clip of a set once: decode, resize, spectrogram.
    Load(load::Args),
    /// Training steps of whole networks, ours and a peer's in turn.
    #[command(after_help = "Examples:\n  cargo xtask bench train\n  \
        cargo xtask bench train --peer .venv/bin/python --json train.json\n\
        The interpreter needs torch and torchvision.")]
    Train(duel::Args),
    /// Inference of whole networks, ours and ONNX Runtime's in turn.
    #[command(after_help = "Examples:\n  cargo xtask bench infer\n  \
        cargo xtask bench infer --peer .venv/bin/python --json infer.json\n\
        The interpreter needs numpy and onnxruntime.")]
    Infer(duel::Args),
    /// Each layer of the networks: GFLOP/s, share of the measured peak, share of the memory's bandwidth.
    Kernels(kernels::Args),
    /// A CUDA device against the host, operator by operator and in whole steps, and its timings.
    GpuCheck(gpu::Args),
    /// One side of `train` and `infer`, driven through its standard input.
    #[command(hide = true)]
    Worker(worker::Args),
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Load(args) => load::run(&args),
        Verb::Train(args) => duel::run(&args, networks::Work::Train),
        Verb::Infer(args) => duel::run(&args, networks::Work::Infer),
        Verb::Kernels(args) => kernels::run(&args),
        Verb::GpuCheck(args) => gpu::run(&args),
        Verb::Worker(args) => worker::run(&args),
    }
}
