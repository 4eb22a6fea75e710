//! `test`: everything a change must pass, cheapest first; `check`: what needs more than that.

mod cuda;
mod fuzz;

use crate::out::note;
use anyhow::{Context, bail};
use clap::Subcommand;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Checks that are no part of `test`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build with CUDA and cuDNN and compile every kernel, without a GPU; the first time takes about half an hour.
    Cuda(cuda::Args),
    /// Damaged files for every parser of untrusted bytes, with caps on time and memory.
    Fuzz(fuzz::Args),
}

/// Ask the tests for their full tier.
const FULL: &[(&str, &str)] = &[("UMT_FULL", "1"), ("UMT_FUZZ_INPUTS", "20000")];

pub fn check(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Cuda(args) => cuda::run(args),
        Verb::Fuzz(args) => fuzz::run(args),
    }
}

/// Name, and arguments of cargo.
const STEPS: [(&str, &[&str]); 4] = [
    ("formatting", &["fmt", "--all", "--check"]),
    ("clippy", &["clippy", "--release", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    // With --workspace as below: for one package alone cargo would build the dependencies a second time, with other
    // features.
    ("house rules", &["test", "--release", "--locked", "--workspace", "--test", "it", "tidy::"]),
    ("tests", &["test", "--release", "--locked", "--workspace"]),
];

pub fn run(full: bool) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    for (name, arguments) in STEPS {
        step(name, arguments, if full { FULL } else { &[] })?;
    }
    if cargo(&["deny", "--version"]).output().is_ok_and(|o| o.status.success()) {
        step("licences and sources", &["deny", "check", "bans", "licenses", "sources"], &[])?;
    } else {
        note!("SKIPPED: licences and sources, because cargo-deny is not installed (cargo install cargo-deny)");
    }
    note!("all checks passed in {:.0} s", started.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

fn step(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<()> {
    note!("== {name}: cargo {}", arguments.join(" "));
    let started = Instant::now();
    let status = cargo(arguments)
        .envs(variables.iter().copied())
        .status()
        .with_context(|| format!("running cargo {}", arguments.join(" ")))?;
    if !status.success() {
        bail!("{name} failed: cargo {}", arguments.join(" "));
    }
    note!("== {name}: passed in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// The cargo that started this program, in the project's root.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
