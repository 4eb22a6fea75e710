//! `predict`: networks of a finished run on files.

use crate::out::{alert, note, say};
use crate::progress::Progress;
use crate::session::{Compute, stop_flag};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use umt_eval::Table;
use umt_media::Modality;
use umt_recipe::RecipeError;
use umt_report::{overlay, render};
use umt_run::predict::{Answer, PredictOptions, Prediction, Predictions, input, inputs, predict};
use umt_store::Store;

/// What networks of a finished run predict of clips, audio files, images or RGB-D pairs that nobody has labelled.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask predict --model runs/av-digits clip.mp4 voice.wav\n  \
    cargo xtask predict --model runs/av-digits --only joint,umt --format csv folder/ > predictions.csv\n  \
    cargo xtask predict --model runs/nyuv2-small --rgb room.jpg --depth room.png --out overlays\n\n\
    A file ending in .wav, .mp3, .flac, .ogg, .m4a is audio alone, one ending in .png or .jpg is an image alone, any other is \
    a clip: audio and video. A .csv is a manifest: its column id, and audio, video, rgb or depth with paths. Without --only the network \
    of most modalities that is best on validation answers. A modality that is not given is left out: its encoder does not run, and \
    zeros or the learned token are imputed.\n\n\
    The share of a modality is its Shapley value: what it adds to the probability of the predicted class, on average over the orders in \
    which modalities may be added; shares sum to that probability less 1 / classes.")]
pub struct Args {
    /// The folder of a finished run, such as runs/av-digits.
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Clips, audio files, images, folders of such, or manifests (.csv).
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A colour image; with --depth a pair.
    #[arg(long, value_name = "FILE")]
    rgb: Option<PathBuf>,
    /// A depth image, 16-bit PNG in millimetres unless the recipe says otherwise.
    #[arg(long, value_name = "FILE")]
    depth: Option<PathBuf>,
    /// Networks by stage, `*` allowed: their answers are shown next to each other.
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',')]
    only: Vec<String>,
    /// The seed of the networks; the first of the run when left out.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// How many classes are shown of each answer in a table.
    #[arg(long, value_name = "N", default_value_t = 3)]
    top: usize,
    /// A table for people, or all probabilities for machines.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where overlays of segmentation are written.
    #[arg(long, value_name = "DIR", default_value = "predictions")]
    out: PathBuf,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let device = args.compute.device()?;
    args.compute.begin()?;
    let stop = stop_flag()?;
    let mut all = inputs(&args.files)?;
    let pair = [(Modality::Rgb, &args.rgb), (Modality::Depth, &args.depth)];
    let pair: Vec<(Modality, PathBuf)> = pair.into_iter().filter_map(|(m, path)| Some((m, path.clone()?))).collect();
    if let Some((_, first)) = pair.first() {
        all.push(input(first.display().to_string(), pair.clone()));
    }
    if all.is_empty() {
        anyhow::bail!(RecipeError::Usage("nothing to predict: give files, or --rgb and --depth".into()));
    }
    let options = PredictOptions { run: args.model, only: args.only, seed: args.seed, inputs: all, device };
    let mut progress = Progress::new(&stop, "test", false);
    let found = predict(&options, &mut progress, &stop)?;
    progress.end();
    match args.format {
        Format::Table if found.predictions.is_empty() => {}
        Format::Table => say!("{}", render(&table(&found, args.top)).trim_end()),
        Format::Csv => say!("{}", csv(&found).trim_end()),
        Format::Json => say!("{}", serde_json::to_string_pretty(&rows(&found))?),
    }
    write_overlays(&found, &args.out)?;
    for (id, reason) in &found.unread {
        match reason.starts_with(id.as_str()) {
            true => alert!("error: {reason}"),
            false => alert!("error: {id}: {reason}"),
        }
    }
    Ok(if found.unread.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(6) })
}

fn list(given: &[Modality]) -> String {
    given.iter().map(|m| m.name()).collect::<Vec<_>>().join(" + ")
}

/// The classes of an answer, the most probable first; of pixels their shares of the image.
fn ranked(prediction: &Prediction, classes: &[String]) -> Vec<(String, f64)> {
    let values: Vec<f64> = match &prediction.answer {
        Answer::Classes { probabilities, .. } => probabilities.iter().map(|p| f64::from(*p)).collect(),
        Answer::Pixels { classes: pixels, .. } => {
            let mut counts = vec![0.0; classes.len()];
            for &class in pixels {
                if let Some(count) = counts.get_mut(usize::from(class)) {
                    *count += 1.0 / pixels.len().max(1) as f64;
                }
            }
            counts
        }
    };
    let mut ranked: Vec<(String, f64)> = classes.iter().cloned().zip(values).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked
}

fn table(found: &Predictions, top: usize) -> Table {
    let row = |p: &Prediction| {
        let best: Vec<String> = ranked(p, &found.classes)
            .into_iter()
            .take(top.max(1))
            .map(|(class, value)| format!("{class} {:.1} %", 100.0 * value))
            .collect();
        let shares = match &p.answer {
            Answer::Classes { shares, .. } => {
                let all: Vec<String> = shares.iter().map(|(m, s)| format!("{m} {:+.1}", 100.0 * s)).collect();
                all.join(", ")
            }
            Answer::Pixels { .. } => "–".to_owned(),
        };
        vec![p.id.clone(), p.stage.clone(), list(&p.given), best.join(", "), shares]
    };
    let dense = found.predictions.iter().any(|p| matches!(p.answer, Answer::Pixels { .. }));
    let predicted = if dense { "share of pixels" } else { "probability" };
    Table {
        title: "Predictions".into(),
        header: ["input", "network", "given", predicted, "from each modality, points"].map(String::from).to_vec(),
        rows: found.predictions.iter().map(row).collect(),
        note: String::new(),
    }
}

fn rows(found: &Predictions) -> serde_json::Value {
    let row = |p: &Prediction| {
        let given: Vec<&str> = p.given.iter().map(|m| m.name()).collect();
        let ranked = ranked(p, &found.classes);
        let values: serde_json::Map<String, serde_json::Value> =
            ranked.iter().map(|(class, value)| (class.clone(), json!(value))).collect();
        let mut row = json!({ "input": p.id, "stage": p.stage, "seed": p.seed, "given": given });
        match &p.answer {
            Answer::Classes { shares, .. } => {
                let shares: serde_json::Map<String, serde_json::Value> =
                    shares.iter().map(|(m, share)| (m.to_string(), json!(share))).collect();
                row["class"] = json!(ranked.first().map(|(class, _)| class));
                row["probabilities"] = values.into();
                row["shares"] = shares.into();
            }
            Answer::Pixels { size, .. } => {
                row["size"] = json!(size);
                row["pixels"] = values.into();
            }
        }
        row
    };
    let unread: Vec<_> = found.unread.iter().map(|(id, reason)| json!({ "input": id, "error": reason })).collect();
    json!({ "predictions": found.predictions.iter().map(row).collect::<Vec<_>>(), "errors": unread })
}

/// A line for each input, network and class.
fn csv(found: &Predictions) -> String {
    let quoted = |text: &str| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut out = String::from("input,stage,seed,given,class,value\n");
    for p in &found.predictions {
        for (class, value) in ranked(p, &found.classes) {
            let (id, given, class) = (quoted(&p.id), list(&p.given), quoted(&class));
            out += &format!("{id},{},{},{given},{class},{value:.6}\n", p.stage, p.seed);
        }
    }
    out
}

/// For each segmented image a PNG with its classes over it, and the classes by number in a PNG of their own.
fn write_overlays(found: &Predictions, folder: &std::path::Path) -> anyhow::Result<()> {
    let mut store = None;
    for p in &found.predictions {
        let Answer::Pixels { size, classes, rgb } = &p.answer else { continue };
        let store = match &store {
            Some(store) => store,
            None => store.insert(Store::shared(folder)?),
        };
        let stem = std::path::Path::new(&p.id).file_stem().map_or("image".into(), |name| name.to_string_lossy());
        let own = rgb.as_ref().filter(|rgb| rgb.shape == *size).map(|rgb| rgb.data.as_slice());
        if let Some(png) = overlay(*size, classes, own) {
            let path = store.path(format!("{stem}.{}.png", p.stage));
            store.commit(&path, &png)?;
            note!("overlay: {}", path.display());
        }
    }
    Ok(())
}
