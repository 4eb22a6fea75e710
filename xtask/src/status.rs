//! `status`: where a run is, asked from another terminal. Takes no lock and changes nothing.

use crate::live::{STATUS, Status, now};
use crate::out::say;
use crate::pace::spoken;
use anyhow::bail;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use umt_recipe::RecipeError;
use umt_store::{StoreError, holder, read_json};

/// Where a run is, and how long it will take: asked from another terminal while it goes on, or afterwards.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask status                       every run in runs/\n  \
    cargo xtask status runs/av-digits\n  \
    cargo xtask status runs/av-digits --json | jq .seconds_left\n\n\
Exit code 0 while it runs or when it is finished, 1 when it stopped before its end.")]
pub struct Args {
    /// Folders of runs; all of runs/ when left out.
    #[arg(value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The state as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let all = args.runs.is_empty();
    let runs = if all { known(Path::new("runs"))? } else { args.runs };
    let mut code = ExitCode::SUCCESS;
    for folder in &runs {
        let mut status: Status = match read_json(&folder.join(STATUS)) {
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                bail!(RecipeError::Usage(format!(
                    "{} has no {STATUS}: give the folder of a run, such as runs/synthetic-av",
                    folder.display()
                )));
            }
            read => read?,
        };
        // A process that was killed could not say so.
        if status.state == "running" && holder(folder) != Some(status.process) {
            status.state = "stopped".into();
        }
        if status.state == "running" && !alive(status.process) {
            status.state = "killed".into();
        }
        if !all && ["stopped", "killed"].contains(&status.state.as_str()) {
            code = ExitCode::from(1);
        }
        match args.json {
            true => say!("{}", serde_json::to_string(&status)?),
            false => say!("{}", text(folder, &status)),
        }
    }
    Ok(code)
}

/// Folders of runs that have a state.
fn known(runs: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = runs.read_dir().map(|all| all.filter_map(Result::ok).map(|entry| entry.path()));
    let mut found: Vec<PathBuf> = entries.into_iter().flatten().filter(|path| path.join(STATUS).is_file()).collect();
    found.sort();
    if found.is_empty() {
        bail!(RecipeError::Usage("there is no run in runs/: give its folder".into()));
    }
    Ok(found)
}

/// Whether there is a process of that number, where the system tells.
fn alive(process: u32) -> bool {
    if !Path::new("/proc/self").exists() {
        return true;
    }
    // The state follows the name in parentheses; Z has ended, and nobody has asked how.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

fn text(folder: &Path, status: &Status) -> String {
    let Status { finished, stages, .. } = status;
    let mut out = format!("{}: {}, {finished} of {stages} stages", folder.display(), status.state);
    let time = |seconds: f64| spoken(Duration::from_secs_f64(seconds.max(0.0)));
    if status.state == "running" {
        out += &format!(", since {}", time(now() - status.begun));
        if let Some(left) = status.seconds_left {
            out += &format!(", {} left", time((left - (now() - status.updated)).max(0.0)));
        }
    }
    if let (Some(stage), Some(seed), "running") = (&status.stage, status.seed, status.state.as_str()) {
        out += &format!("\n  {stage} seed {seed}");
        if let (Some(step), Some(steps)) = (status.step, status.steps) {
            out += &format!(": step {step} of {steps}");
        }
        out += &status.loss.map_or(String::new(), |loss| format!(", loss {loss:.3}"));
        out += &status.validation.map_or(String::new(), |v| format!(", validation {:.1} %", 100.0 * v));
        out += &status.samples_per_second.map_or(String::new(), |speed| format!(", {speed:.0} samples/s"));
    }
    if ["stopped", "killed"].contains(&status.state.as_str()) {
        out += "\n  the same command goes on from there";
    }
    for warning in &status.warnings {
        out += &format!("\n  warning: {warning}");
    }
    out
}
