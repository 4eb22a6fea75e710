//! One table for many methods: how good, how different from the baseline, what its encoders are worth, what is left when
//! a modality is missing, and what it costs.

use crate::difference::Verdict;
use crate::results::{Results, SummaryRow};
use crate::table::{NONE, Table, cell, distinct, heading, probed, seeds_note};
use umt_media::Modality;

/// With fewer rows the other tables say the same in less width.
const LEAST: usize = 8;

/// The table of all stages that are not probes; empty for recipes of few stages.
pub(crate) fn table(results: &Results, split: &str) -> Table {
    let there = |s: &&SummaryRow| s.split == split && probed(&s.stage).is_none();
    let all: Vec<&SummaryRow> = results.summary.iter().filter(there).collect();
    let stages = distinct(all.iter().map(|s| s.stage.as_str()));
    let figure = if all.iter().any(|s| s.metric == "miou") { "miou" } else { "top1" };
    let second = if figure == "miou" { "pixel-accuracy" } else { "macro-f1" };
    let base = baseline(results, &stages, split, figure);
    let encoders = distinct(results.summary.iter().filter_map(|s| probed(&s.stage)).map(|p| p.1));
    let given = |s: &&&SummaryRow| s.given.clone();
    let mut subsets: Vec<Vec<Modality>> = all.iter().filter_map(|s| given(&s)).collect();
    subsets.sort();
    subsets.dedup();

    let mut header = vec!["method".to_owned(), heading(figure), heading(second)];
    header.push(base.map_or(String::from("difference"), |base| format!("− {base} [95 %]")));
    header.extend(encoders.iter().map(|e| format!("probe {e} %")));
    header
        .extend(subsets.iter().map(|s| format!("only {} %", s.iter().map(|m| m.name()).collect::<Vec<_>>().join("+"))));
    header.extend(["s/epoch", "peak MiB"].map(String::from));
    let row = |stage: &&str| {
        let mut row = vec![
            (*stage).to_owned(),
            cell(results.summary_of(stage, split, figure)),
            cell(results.summary_of(stage, split, second)),
            base.map_or(NONE.into(), |base| difference(results, stage, base, split, figure)),
        ];
        for encoder in &encoders {
            // A teacher's probe names its modality once.
            let of = stage.strip_suffix(&format!(".{encoder}")).unwrap_or(stage);
            row.push(cell(results.summary_of(&format!("probe.{of}.{encoder}"), split, figure)));
        }
        for subset in &subsets {
            let same = |s: &&&SummaryRow| s.stage == **stage && s.metric == figure && s.given.as_ref() == Some(subset);
            row.push(cell(all.iter().find(same).copied()));
        }
        row.push(results.seconds_per_epoch.get(*stage).map_or(NONE.into(), |s| format!("{s:.2}")));
        row.push(results.peak_bytes.get(*stage).map_or(NONE.into(), |b| format!("{:.0}", b / f64::from(1 << 20))));
        row
    };
    Table {
        title: format!("Methods on {split}"),
        rows: if stages.len() < LEAST { Vec::new() } else { stages.iter().map(row).collect() },
        header,
        note: format!(
            "{} A * marks a difference over seeds and samples that is beyond chance at 5 % after Holm's correction over all rows.",
            seeds_note(&all)
        ),
    }
}

/// The stage that the others are compared with: the one most differences are taken from.
fn baseline<'r>(results: &'r Results, stages: &[&str], split: &str, metric: &str) -> Option<&'r str> {
    let all =
        results.paired.iter().filter(|p| p.split == split && p.metric == metric && stages.contains(&p.b.as_str()));
    let names = distinct(all.clone().map(|p| p.b.as_str()));
    names.into_iter().max_by_key(|name| all.clone().filter(|p| p.b == *name).count())
}

fn difference(results: &Results, stage: &str, base: &str, split: &str, metric: &str) -> String {
    let same = |p: &&crate::PairedRow| p.a == stage && p.b == base && p.split == split && p.metric == metric;
    let Some(p) = results.paired.iter().find(same) else { return NONE.into() };
    let clear = matches!(p.verdict, Verdict::Better | Verdict::Worse);
    let [mean, low, high] = [p.mean, p.low, p.high].map(|v| 100.0 * v);
    format!("{mean:+.2} [{low:+.2}, {high:+.2}]{}", if clear { " *" } else { "" })
}
