//! Tables for people, from [`Results`]: stages by metrics, probes by encoder, paired differences.
//!
//! [`of`] gives them as data, for a terminal to draw; [`markdown`] is the text of `results.md`.

use crate::difference::Level;
use crate::methods;
use crate::results::{Results, SummaryRow};
use crate::summary;
use crate::table::{NONE, Table, cell, distinct, heading, probed, scale, seeds_note};

/// Every table of a recipe's results that has rows.
pub fn of(results: &Results) -> Vec<Table> {
    let mut splits: Vec<&str> = Vec::new();
    for s in &results.summary {
        if !splits.contains(&s.split.as_str()) {
            splits.push(&s.split);
        }
    }
    // Test first: it is what the reader came for.
    splits.sort_by_key(|s| ["test", "validation", "train"].iter().position(|k| k == s));
    let mut tables = vec![failed(results)];
    if splits.contains(&"test") {
        tables.push(methods::table(results, "test"));
    }
    for split in splits {
        tables.push(stages(results, split));
        tables.push(probes(results, split));
        tables.push(missing(results, split));
    }
    tables.push(paired(results));
    tables.push(expectations(results));
    tables.retain(|t| !t.rows.is_empty());
    tables
}

/// The text of `results.md`: a heading, where and how long it ran, `notes` (such as which
/// checkpoint was evaluated) and the tables.
pub fn markdown(results: &Results, notes: &[String]) -> String {
    let mut out = format!("# {}\n\n", results.recipe);
    out += &format!(
        "Device {} ({}, {} threads), {:.0} s of stages in all; data {}.\n",
        results.device, results.isa, results.threads, results.wall_seconds, results.data_digest
    );
    for note in notes {
        out += &format!("{note}\n");
    }
    for table in of(results) {
        out += &format!("\n{}", table.to_markdown());
    }
    out
}

/// Stages by metrics.
fn stages(results: &Results, split: &str) -> Table {
    let whole: Vec<&SummaryRow> = results
        .summary
        .iter()
        .filter(|s| s.split == split && s.given.is_none() && probed(&s.stage).is_none())
        .collect();
    let stages = distinct(whole.iter().map(|s| s.stage.as_str()));
    let metrics = distinct(whole.iter().map(|s| s.metric.as_str()));
    let row = |stage: &&str| {
        let cell = |metric: &&str| cell(results.summary_of(stage, split, metric));
        std::iter::once(stage.to_string()).chain(metrics.iter().map(cell)).collect()
    };
    Table {
        title: format!("Stages on {split}"),
        header: std::iter::once("stage".into()).chain(metrics.iter().map(|m| heading(m))).collect(),
        rows: stages.iter().map(row).collect(),
        note: seeds_note(&whole),
    }
}

/// Linear probes: encoders (modalities) by the stage they come from, top-1.
fn probes(results: &Results, split: &str) -> Table {
    let all: Vec<&SummaryRow> = results
        .summary
        .iter()
        .filter(|s| s.split == split && s.metric == "top1" && probed(&s.stage).is_some())
        .collect();
    let parts = || all.iter().filter_map(|s| probed(&s.stage));
    let encoders = distinct(parts().map(|p| p.1));
    let stages = distinct(parts().map(|p| p.0));
    let row = |encoder: &&str| {
        let cell = |stage: &&str| {
            let id = format!("probe.{stage}.{encoder}");
            cell(all.iter().find(|s| s.stage == id).copied())
        };
        std::iter::once(encoder.to_string()).chain(stages.iter().map(cell)).collect()
    };
    Table {
        title: format!("Linear probes on {split}, top-1 %"),
        header: std::iter::once("encoder of").chain(stages.iter().copied()).map(String::from).collect(),
        rows: encoders.iter().map(row).collect(),
        note: "Accuracy of a linear classifier on each encoder's frozen features: a joint encoder \
               below its teacher is Modality Failure."
            .into(),
    }
}

/// What has no row, and why.
fn failed(results: &Results) -> Table {
    let row = |f: &crate::results::FailedRow| vec![f.stage.clone(), f.seed.to_string(), f.reason.clone()];
    Table {
        title: "Stages that failed".into(),
        header: ["stage", "seed", "reason"].map(String::from).to_vec(),
        rows: results.failed.iter().map(row).collect(),
        note: "They have no value for that seed; means are over the other seeds.".into(),
    }
}

/// Figures measured with some modalities absent.
fn missing(results: &Results, split: &str) -> Table {
    let some = results.summary.iter().filter(|s| s.split == split);
    let rows = some.filter_map(|s| {
        let given: Vec<&str> = s.given.as_ref()?.iter().map(|m| m.name()).collect();
        Some(vec![s.stage.clone(), given.join(" + "), heading(&s.metric), cell(Some(s))])
    });
    Table {
        title: format!("With modalities missing, on {split}"),
        header: ["stage", "given", "metric", "value"].map(String::from).to_vec(),
        rows: rows.collect(),
        note: String::new(),
    }
}

/// Paired differences, with the spread over seeds beside the interval.
fn paired(results: &Results) -> Table {
    let row = |p: &crate::PairedRow| {
        let scale = scale(&p.metric);
        let value = |v: f64| format!("{:+.2}", v * scale);
        let differences = seed_differences(results, p);
        let spread = summary::of(&differences).filter(|s| s.n > 1);
        vec![
            // Long names in two lines: a terminal of 80 columns has room for one.
            match p.a.len() + p.b.len() {
                0..20 => format!("{} − {}", p.a, p.b),
                _ => format!("{} −\n{}", p.a, p.b),
            },
            p.split.clone(),
            heading(&p.metric),
            value(p.mean),
            format!("[{}, {}]", value(p.low), value(p.high)),
            spread.map_or(NONE.into(), |s| format!("{:.2}", s.std * scale)),
            p.n.to_string(),
            format!("{:.3}", p.p_adjusted),
            p.verdict.as_str().to_owned(),
        ]
    };
    let header = ["difference", "split", "metric", "mean", "95 % interval", "std", "samples", "p", "verdict"];
    let mut table = Table {
        title: "Paired differences".into(),
        header: header.map(String::from).to_vec(),
        rows: results.paired.iter().map(row).collect(),
        note: match results.paired.iter().all(|p| p.level == Level::SeedsAndSamples) {
            true => "Intervals and p-values are about other seeds and other test samples (docs/RESULTS.md).".into(),
            false => {
                "With one seed intervals are about other test samples alone, and nothing is called better or worse."
                    .into()
            }
        },
    };
    table.note += " std is over seeds; p is after Holm's correction over the rows.";
    // What all rows share is said once.
    let mut shared = Vec::new();
    for (name, unit) in [("split", ""), ("metric", ""), ("samples", " samples")] {
        shared.extend(table.take_constant(name).map(|value| format!("{value}{unit}")));
    }
    if !shared.is_empty() {
        table.title += &format!(": {}", shared.join(", "));
    }
    table
}

/// a - b of each seed that both have.
fn seed_differences(results: &Results, p: &crate::PairedRow) -> Vec<f64> {
    let of = |stage: &str| {
        let stage = stage.to_string();
        results
            .rows
            .iter()
            .filter(move |r| r.stage == stage && r.split == p.split && r.metric == p.metric && r.given.is_none())
    };
    of(&p.a).filter_map(|a| of(&p.b).find(|b| b.seed == a.seed).map(|b| a.value - b.value)).collect()
}

fn expectations(results: &Results) -> Table {
    let row = |e: &crate::Expectation| vec![e.text.clone(), if e.held { "held" } else { "NOT HELD" }.to_string()];
    Table {
        title: "Expectations".into(),
        header: ["expected".into(), "outcome".into()].to_vec(),
        rows: results.expect.iter().map(row).collect(),
        note: String::new(),
    }
}
