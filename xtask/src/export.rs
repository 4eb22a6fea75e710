//! `export`: a finished network as a folder for others.

use crate::out::note;
use std::path::PathBuf;
use std::process::ExitCode;
use umt_media::Modality;
use umt_run::export::{ExportOptions, FILES, export};

/// Writes a network of a finished run for use elsewhere: weights, settings and a model card.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask export runs/av-digits teacher.video --out exported\n  \
    cargo xtask export runs/nyuv2 umt --seed 2 --out exported\n  \
    cargo xtask export runs/av-digits umt --encoder audio --out audio-encoder\n\n\
    A classifier of one modality and an encoder have torchvision's names, a segmentation network those of the published ESANet, a network \
    with a fusion the project's own. The folder's model.safetensors is what `weights` and `pretrained` of a recipe read back.")]
pub struct Args {
    /// The folder of a finished run.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// A network of it, such as umt.
    #[arg(value_name = "STAGE")]
    stage: String,
    /// Its seed; the first of the run when left out.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// One encoder alone: audio, video, rgb or depth.
    #[arg(long, value_name = "MODALITY")]
    encoder: Option<Modality>,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { run, stage, seed, encoder, out } = args;
    export(&ExportOptions { run, stage, seed, encoder, out: out.clone() })?;
    note!("{}: {}", out.display(), FILES.join(", "));
    note!("fill in the licence in README.md before it is published");
    Ok(ExitCode::SUCCESS)
}
