//! `diagnose`: what is wrong with the networks of a finished run, and what to do.

use std::path::PathBuf;
use std::process::ExitCode;
use umt_eval::diagnosis::EncoderFigures;
use umt_report::{DiagnoseOptions, Diagnosis};

/// Which encoder of a finished run fails, by how much, and what to do about it.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask diagnose runs/synthetic-av\n  \
    cargo xtask diagnose runs/methods --stage 'fusion.*,umt' --margin 0.03\n\
    Needs the linear probes of the network and of its uni-modal teachers, which shipped recipes have.\n\
    Writes diagnosis.json and diagnosis.STAGE.svg into the run's folder.")]
pub struct Args {
    /// The folder of a finished run, such as runs/av-digits.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The networks, `*` for any run of characters; the fusion baseline when left out.
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',')]
    stage: Vec<String>,
    /// The loss of a probe, as a fraction of 1, that is not worth acting on.
    #[arg(long, value_name = "X", default_value_t = 0.02)]
    margin: f64,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let options = DiagnoseOptions { run: args.run, only: args.stage, margin: args.margin };
    let found = umt_report::diagnose(&options)?;
    for diagnosis in &found {
        print(diagnosis);
    }
    eprintln!("\nwritten to {}/diagnosis.json, with a picture for each network", options.run.display());
    Ok(ExitCode::SUCCESS)
}

fn print(diagnosis: &Diagnosis) {
    let figures = &diagnosis.figures;
    let percent = |v: f64| format!("{:.1} %", 100.0 * v);
    let ece = figures.ece.map_or(String::new(), |e| format!(", calibration error {}", percent(e)));
    println!(
        "\n{}: top-1 {}{ece}, most frequent class {}",
        figures.stage,
        percent(figures.top1),
        percent(figures.chance)
    );
    for (given, top1) in &figures.given {
        println!("  with {given} alone: {}", percent(*top1));
    }
    for encoder in &figures.encoders {
        println!("  {}", line(encoder));
        for lost in encoder.lost.iter().take(3).filter(|l| l.z < -2.0) {
            let name = diagnosis.classes.get(lost.class).map_or("?", String::as_str);
            println!("    loses `{name}`: {} instead of {}", percent(lost.inside), percent(lost.alone));
        }
    }
    println!();
    for sentence in &diagnosis.verdict.words {
        println!("{sentence}");
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
