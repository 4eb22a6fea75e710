//! `report.html`: all of a run on one page that needs nothing else.
//!
//! One file that opens from disk: no request leaves it, so it can be sent by mail and still opens in ten years. Plots
//! are inside as SVG, small clips as data.

mod classes;
mod curves;
mod html;
mod media;
mod samples;

use crate::call::Call;
use crate::error::ReportError;
use html::escape;
use media::Media;
use samples::Network;
use std::fmt::Write as _;
use umt_data::Split;
use umt_eval::difference::{Level, Verdict};
use umt_eval::{Results, tables};
use umt_recipe::{Loaded, Task};
use umt_run::Stages;
use umt_run::folder::predictions_file;

/// A plot: its title and its SVG.
pub(crate) type Plots = Vec<(String, String)>;

/// The page of a finished run.
///
/// # Errors
/// Files of stages that cannot be read.
pub(crate) fn page(
    loaded: &Loaded,
    stages: &Stages,
    results: &Results,
    notes: &[String],
    plots: &Plots,
    call: &Call,
) -> Result<String, ReportError> {
    let networks = networks(loaded, stages)?;
    let pair = results.paired.iter().map(|p| (p.a.as_str(), p.b.as_str())).find(|(a, b)| {
        let known = |id: &str| networks.iter().any(|n| n.stage == id);
        known(a) && known(b)
    });
    let mut sections: Vec<(&str, &str, String)> = Vec::new();
    let all = tables::of(results);
    let about_test = |t: &&umt_eval::Table| !t.title.contains("validation");
    sections.push(("results", "Results", results_section(results, all.iter().filter(about_test))));
    let plot = |wanted: &dyn Fn(&str) -> bool| -> String {
        plots.iter().filter(|(title, _)| wanted(title)).map(|(title, svg)| html::plot(title, svg)).collect()
    };
    sections.push(("encoders", "How good is each encoder?", plot(&|t| t.starts_with("Probes"))));
    sections.push(("training", "Training", curves::section(&logs(stages)?, validation_metric(loaded))));
    sections.push(("scenes", "Segmentation", plot(&|t| t.starts_with("Scenes") || t.starts_with("Classes"))));
    let mut classes = String::new();
    if let Some((a, b)) = pair
        && let (Some(a), Some(b)) = (networks.iter().find(|n| n.stage == a), networks.iter().find(|n| n.stage == b))
    {
        classes += &html::table(&classes::table(a, b, &stages.classes));
    }
    classes += &plot(&|t| t.starts_with("Confusion"));
    sections.push(("classes", "Classes", classes));
    let mut media = Media::new(&stages.test_files);
    sections.push(("samples", "Samples of test", samples::section(&networks, pair, &stages.classes, &mut media)));
    let validation: String = all.iter().filter(|t| !about_test(t)).map(html::table).collect();
    sections.push(("validation", "On validation", validation));
    sections.push(("settings", "How it was made", settings(loaded, results, notes, call)));
    sections.retain(|(_, _, body)| !body.is_empty());
    Ok(assemble(loaded, call, &sections))
}

fn assemble(loaded: &Loaded, call: &Call, sections: &[(&str, &str, String)]) -> String {
    let name = escape(&loaded.name);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline';script-src 'unsafe-inline';img-src data:;media-src data:\">\
         <link rel=\"icon\" href=\"data:,\"><title>{name}</title><style>{}</style></head><body><header><h1>{name}</h1><p>{}</p>",
        include_str!("style.css"),
        escape(&loaded.recipe.about)
    );
    if call.quick {
        out += "<p><span class=\"mark\">quick run</span> A run with --quick shows that everything works; its numbers say nothing about methods.</p>";
    }
    out += "</header><nav aria-label=\"Sections\"><ul>";
    for (id, title, _) in sections {
        let _ = write!(out, "<li><a href=\"#{id}\">{}</a></li>", escape(title));
    }
    out += "</ul></nav><main>";
    for (id, title, body) in sections {
        let _ = write!(out, "<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{}</h2>{body}</section>", escape(title));
    }
    out + "</main><footer><p class=\"dim\">Written by umt; results.json next to this file holds every number.</p></footer></body></html>\n"
}

/// The sentence a reader came for, then the tables.
fn results_section<'t>(results: &Results, shown: impl Iterator<Item = &'t umt_eval::Table>) -> String {
    let mut out = String::new();
    let probes = |id: &str| id.starts_with("probe.");
    if let Some(p) = results.paired.iter().find(|p| !probes(&p.a)) {
        let (kind, verdict) = match p.verdict {
            Verdict::Better => ("good", "better than"),
            Verdict::Worse => ("bad", "worse than"),
            Verdict::Equivalent => ("dim", "equivalent to"),
            Verdict::Undecided => ("dim", "not shown to differ from"),
        };
        let about = match p.level {
            Level::SeedsAndSamples => "other seeds and other samples from the same source would give",
            Level::Samples => {
                "other samples from the same source would give; with one seed, other seeds are not known and nothing is called better or worse"
            }
        };
        let _ = write!(
            out,
            "<p><strong>{}</strong> is <strong class=\"{kind}\">{verdict}</strong> <strong>{}</strong>: {:+.1} points of {} on {}, \
             95 % interval [{:+.1}, {:+.1}], p = {:.3} after correction for all rows. The interval holds what {about}; ± is the \
             standard deviation over seeds.</p>",
            escape(&p.a),
            escape(&p.b),
            100.0 * p.mean,
            escape(&p.metric),
            escape(&p.split),
            100.0 * p.low,
            100.0 * p.high,
            p.p_adjusted
        );
    }
    for table in shown {
        out += &html::table(table);
    }
    out
}

fn settings(loaded: &Loaded, results: &Results, notes: &[String], call: &Call) -> String {
    let mut out = String::from("<dl>");
    let mut entry = |name: &str, value: &str| {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", escape(value));
    };
    entry("command", &call.command);
    entry("device", &format!("{} ({}), {} thread(s)", results.device, results.isa, results.threads));
    entry("time", &format!("{:.0} s of stages in all", results.wall_seconds));
    entry("data digest", &results.data_digest);
    entry("digest of the run", &results.digest);
    for note in notes {
        entry("note", note);
    }
    out += "</dl>";
    let _ = write!(
        out,
        "<details><summary>recipe as run</summary><pre tabindex=\"0\">{}</pre></details>",
        escape(&loaded.effective)
    );
    out
}

fn validation_metric(loaded: &Loaded) -> &'static str {
    if loaded.recipe.data.config.dense.is_some() { "mIoU" } else { "top-1" }
}

/// The epochs of the first seed of each row that was trained.
fn logs(stages: &Stages) -> Result<curves::Logs, ReportError> {
    let mut logs = Vec::new();
    for id in &stages.rows {
        let epochs = stages.of(id).first().map(|done| done.epochs()).transpose()?.unwrap_or_default();
        if !epochs.is_empty() {
            logs.push((id.clone(), epochs));
        }
    }
    Ok(logs)
}

/// Predictions of test by every row that classifies samples, first seed; no probes.
fn networks(loaded: &Loaded, stages: &Stages) -> Result<Vec<Network>, ReportError> {
    let mut networks = Vec::new();
    for id in &stages.rows {
        let probe = loaded.recipe.find(id).is_none_or(|s| matches!(s.task, Task::LinearProbe { .. }));
        let done = stages.of(id);
        let Some(done) = done.first().filter(|d| !probe && d.record.files.contains_key(&predictions_file(Split::Test)))
        else {
            continue;
        };
        let predictions = done.predictions(Split::Test)?;
        networks.push(Network { stage: id.clone(), predictions });
    }
    Ok(networks)
}
