//! `check fuzz`: every parser of untrusted bytes on damaged files, in one process.

use std::process::ExitCode;

use anyhow::{Context, bail};

/// How many inputs.
#[derive(clap::Args)]
pub struct Args {
    /// Inputs of each target; the tests of every day try 2,000.
    #[arg(long, default_value_t = 20_000)]
    inputs: u64,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // With --workspace, as in `test`: for one package alone cargo would build the dependencies again.
    let arguments = ["test", "--release", "--locked", "--workspace", "--test", "fuzz", "--", "--nocapture"];
    let status = super::cargo(&arguments).env("UMT_FUZZ_INPUTS", args.inputs.to_string()).status();
    if !status.context("running the fuzz targets")?.success() {
        bail!("a target has findings: each is repeated by its number; add its input to the target's seeds once mended");
    }
    Ok(ExitCode::SUCCESS)
}
