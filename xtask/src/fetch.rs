//! `data fetch-weights`: pretrained weights ahead of time, for machines that are offline later.

use crate::hub;
use crate::out::{note, say};
use crate::progress::Progress;
use crate::recipes::{self, Change};
use crate::session::stop_flag;
use anyhow::bail;
use std::process::ExitCode;
use umt_recipe::{RecipeError, Weights, known_weights};
use umt_run::fetch_weights;

/// Fetch weights of the Hugging Face Hub into the cache that Hugging Face's libraries share.
///
/// Without a name the repositories that are known to fit are listed. Only verified bytes get a name in the cache; an
/// interrupted call goes on where it was. HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are honoured.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask data fetch-weights                               what is known\n  \
    cargo xtask data fetch-weights timm/resnet18.tv_in1k\n  \
    cargo xtask data fetch-weights my-recipe.toml                all that it names\n  \
    cargo xtask data fetch-weights owner/name --revision v2 --file weights.safetensors\n  \
    HF_HOME=/shared/hf cargo xtask data fetch-weights timm/resnet50.a1_in1k")]
pub struct Args {
    /// Repositories of the Hub, owner/name each, or recipes (.toml) whose weights are meant.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A commit, tag or branch; the known commit, else main, when left out.
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// The file in the repository; model.safetensors when left out.
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    /// What the file's SHA-256 must be.
    #[arg(long, value_name = "DIGEST")]
    sha256: Option<String>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.names.is_empty() {
        for known in known_weights() {
            say!("{:<24} {:<9} {:<13} {}", known.id, known.kind, known.licence, known.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.names.len() > 1 && (args.revision.is_some() || args.file.is_some() || args.sha256.is_some()) {
        bail!(RecipeError::Usage("--revision, --file and --sha256 belong to one repository: name one".into()));
    }
    let settings = hub::settings()?;
    let stop = stop_flag()?;
    let mut progress = Progress::new(&stop, "test", false);
    let Args { names, revision, file, sha256 } = args;
    let mut wanted = Vec::new();
    for from in names {
        if from.ends_with(".toml") {
            let change = Change { quick: false, sets: Vec::new() };
            wanted.extend(recipes::load(&from, &change)?.recipe.hub_weights().into_iter().cloned());
            continue;
        }
        let (revision, file, sha256) = (revision.clone(), file.clone(), sha256.clone());
        wanted.push(Weights { from, revision, file, sha256, first_conv: None });
    }
    for weights in wanted {
        let copy = fetch_weights(&weights, &settings, &mut progress)?;
        progress.end();
        say!("{}", copy.path.display());
        note!("{}: commit {}, {} bytes, sha256 {}", weights.from, copy.commit, copy.bytes, copy.sha256);
    }
    Ok(ExitCode::SUCCESS)
}
