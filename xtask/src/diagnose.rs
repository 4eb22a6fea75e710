//! `diagnose`: what is wrong with the networks of a finished run, and what to do.

use crate::out::{alert, note, say};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use umt_arrays::{ModelArrays, NAMES, Options};
use umt_eval::diagnosis::{EncoderFigures, NetworkFigures, Verdict};
use umt_report::DiagnoseOptions;
use umt_store::Store;

/// Which encoder of a finished run fails, by how much, and what to do about it.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask diagnose runs/synthetic-av\n  \
    cargo xtask diagnose runs/methods --stage 'fusion.*,umt' --margin 0.03\n\
    cargo xtask diagnose --arrays my-model/\n\
    A run needs the linear probes of the network and of its uni-modal teachers, which shipped recipes have.\n\
    Arrays are of any model of any framework: labels.<split>.npy, features.<modality>.<split>.npy and more\n\
    (docs/DIAGNOSE_YOUR_MODEL.md). Writes diagnosis.json and a plot into the run's folder, or next to the arrays.")]
pub struct Args {
    /// The folder of a finished run, such as runs/av-digits.
    #[arg(value_name = "RUN", required_unless_present = "arrays", conflicts_with = "arrays")]
    run: Option<PathBuf>,
    /// Arrays of any model instead of a run: a folder of .npy files, a .npz or a .safetensors file.
    #[arg(long, value_name = "PATH", conflicts_with = "stage")]
    arrays: Option<PathBuf>,
    /// Where the diagnosis of arrays is written; the arrays' folder when left out.
    #[arg(long, value_name = "DIR", requires = "arrays")]
    out: Option<PathBuf>,
    /// The networks, `*` for any run of characters; the fusion baseline when left out.
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',')]
    stage: Vec<String>,
    /// The loss of a probe, as a fraction of 1, that is not worth acting on.
    #[arg(long, value_name = "X", default_value_t = 0.02)]
    margin: f64,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match (args.run, args.arrays) {
        (Some(run), _) => of_run(DiagnoseOptions { run, only: args.stage, margin: args.margin })?,
        (None, Some(arrays)) => of_arrays(&arrays, args.out.as_deref(), args.margin)?,
        (None, None) => anyhow::bail!("give a run or --arrays"),
    }
    Ok(ExitCode::SUCCESS)
}

fn of_run(options: DiagnoseOptions) -> anyhow::Result<()> {
    let diagnoses = umt_report::diagnose(&options)?;
    for diagnosis in &diagnoses.found {
        print(&diagnosis.figures, &diagnosis.verdict, &diagnosis.classes);
    }
    match diagnoses.unwritten {
        None => note!("\nwritten to {}/diagnosis.json, with a plot for each network", options.run.display()),
        Some(error) => alert!("\nwarning: not stored: {error}"),
    }
    Ok(())
}

fn of_arrays(path: &Path, out: Option<&Path>, margin: f64) -> anyhow::Result<()> {
    let name = path.file_stem().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
    let options = Options { name, margin, probe: umt_eval::ProbeConfig::default() };
    let arrays = ModelArrays::new(umt_arrays::read_arrays(path)?)?;
    for name in &arrays.ignored {
        alert!("warning: {name} was not used: the names are {}", NAMES.join(", "));
    }
    let found = umt_arrays::diagnose(&arrays, &options)?;
    let counts: Vec<String> = found.samples.iter().map(|(split, n)| format!("{n} {split}")).collect();
    say!("{}: {} samples, {} classes", options.name, counts.join(", "), found.classes);
    print(&found.figures, &found.verdict, &[]);
    for (modality, top1) in &found.probes {
        if found.figures.encoders.iter().all(|encoder| encoder.modality != *modality) {
            say!("The probe of the {modality} encoder reaches {:.1} %.", 100.0 * top1);
        }
    }
    if found.groups > 0 {
        say!("Intervals are over {} groups of test samples.", found.groups);
    }
    for absent in &found.absent {
        say!("Not known: {absent}.");
    }
    let next_to = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let folder = out.unwrap_or(next_to);
    let plot = umt_report::diagnosis_plot(&found.figures)?;
    let written = Store::shared(folder).and_then(|store| {
        store.commit_json(&store.path("diagnosis.json"), &found)?;
        store.commit(&store.path("diagnosis.svg"), plot.as_bytes())
    });
    match written {
        Ok(_) => note!("\nwritten to {0}/diagnosis.json and {0}/diagnosis.svg", folder.display()),
        // The diagnosis is above; a folder that cannot be written takes nothing away from it.
        Err(error) => alert!("\nwarning: not written ({error}); --out DIR names another folder"),
    }
    Ok(())
}

fn print(figures: &NetworkFigures, verdict: &Verdict, classes: &[String]) {
    let percent = |v: f64| format!("{:.1} %", 100.0 * v);
    let ece = figures.ece.map_or(String::new(), |e| format!(", calibration error {}", percent(e)));
    say!("\n{}: top-1 {}{ece}, most frequent class {}", figures.stage, percent(figures.top1), percent(figures.chance));
    for (given, top1) in &figures.given {
        say!("  with {given} alone: {}", percent(*top1));
    }
    for encoder in &figures.encoders {
        say!("  {}", line(encoder));
        for lost in encoder.lost.iter().take(3).filter(|l| l.z < -2.0) {
            let name = classes.get(lost.class).map_or_else(|| lost.class.to_string(), String::clone);
            say!("    loses `{name}`: {} instead of {}", percent(lost.inside), percent(lost.alone));
        }
    }
    say!("");
    for sentence in &verdict.words {
        say!("{sentence}");
    }
}

fn line(encoder: &EncoderFigures) -> String {
    let mut parts = vec![format!(
        "{}: probe {:.1} % ({:.1} % alone)",
        encoder.modality,
        100.0 * encoder.inside,
        100.0 * encoder.alone
    )];
    parts.extend(encoder.shapley.map(|s| format!("contributes {:.1} points", 100.0 * s)));
    parts.extend(encoder.cka.map(|c| format!("CKA with its teacher {c:.2}")));
    if let (Some(first), Some(last)) = (encoder.gradient_share.first(), encoder.gradient_share.last()) {
        parts.push(format!("gradient share {:.0} % at first, {:.0} % at last", 100.0 * first, 100.0 * last));
    }
    parts.join(", ")
}
