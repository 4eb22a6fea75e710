//! From predictions of several seeds to results.json and the tables people read.

use std::collections::BTreeMap;

use umt_eval::{Expectation, PairedRow, Results, Row, levels, metrics, paired, summary, tables};
use umt_media::Modality;

fn row(stage: &str, seed: u64, metric: &str, value: f64) -> Row {
    let (split, key) = ("test".to_string(), format!("{stage}-{seed}"));
    Row { stage: stage.into(), seed, split, metric: metric.into(), value, given: None, key }
}

fn results() -> Results {
    let mut rows = Vec::new();
    for (seed, shift) in [(1, 0.0), (2, 0.01), (3, -0.01)] {
        rows.push(row("teacher.audio", seed, "top1", 0.62 + shift));
        rows.push(row("joint", seed, "top1", 0.90 + shift));
        rows.push(row("joint", seed, "dprime", 2.5));
        rows.push(row("umt", seed, "top1", 0.94 + 2.0 * shift));
        rows.push(row("umt", seed, "dprime", 3.0));
        rows.push(row("probe.teacher.audio", seed, "top1", 0.61));
        rows.push(row("probe.joint.audio", seed, "top1", 0.40));
        rows.push(row("probe.joint.video", seed, "top1", 0.85));
        rows.push(Row { given: Some(vec![Modality::Audio]), ..row("joint", seed, "top1", 0.3) });
    }
    let a = vec![vec![true; 200]; 3];
    let b = vec![(0..200).map(|i| i >= 8).collect::<Vec<_>>(); 3];
    let d = paired::of_hits(&a, &b).unwrap();
    Results {
        recipe: "av-digits".into(),
        device: "cpu".into(),
        isa: "avx2".into(),
        threads: 2,
        digest: "def".into(),
        data_digest: "abc".into(),
        summary: summary::of_rows(&rows),
        rows,
        paired: vec![PairedRow {
            a: "umt".into(),
            b: "joint".into(),
            split: "test".into(),
            metric: "top1".into(),
            mean: d.mean,
            low: d.low,
            high: d.high,
            n: d.n,
            level: d.level,
            p: d.p,
            p_adjusted: d.p,
            verdict: levels::verdict(&d, d.p, 0.01),
        }],
        failed: Vec::new(),
        expect: vec![Expectation { text: "umt.top1 above joint.top1".into(), held: true }],
        wall_seconds: 61.5,
        samples_per_second: BTreeMap::from([("joint".into(), 120.5)]),
        seconds_per_epoch: BTreeMap::from([("joint".into(), 2.5)]),
        peak_bytes: BTreeMap::from([("joint".into(), 1e9)]),
    }
}

#[test]
fn results_json_has_the_agreed_form_and_reads_back() {
    let results = results();
    let text = results.to_json().unwrap();
    assert_eq!(Results::from_json(&text).unwrap(), results);
    assert_eq!(Results::from_json(&text).unwrap().to_json().unwrap(), text);

    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let sorted = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.into_iter().map(String::from).collect::<Vec<_>>()
    };
    let top = "recipe device isa threads digest data_digest rows summary paired expect wall_seconds samples_per_second seconds_per_epoch peak_bytes";
    assert_eq!(keys(&json), sorted(top.split(' ').collect()));
    let without = ["stage", "seed", "split", "metric", "value", "key"].to_vec();
    assert_eq!(keys(&json["rows"][0]), sorted(without), "given is left out when all were present");
    assert_eq!(json["rows"][8]["given"], serde_json::json!(["audio"]));
    assert_eq!(keys(&json["summary"][0]), sorted(vec!["stage", "split", "metric", "mean", "std", "n"]));
    assert_eq!(
        keys(&json["paired"][0]),
        sorted("a b split metric mean low high n level p p_adjusted verdict".split(' ').collect())
    );
    assert_eq!(json["expect"][0], serde_json::json!({"text": "umt.top1 above joint.top1", "held": true}));
}

#[test]
fn what_json_cannot_hold_is_refused_by_name() {
    let mut bad = results();
    bad.rows[3].value = f64::NAN;
    let error = bad.to_json().unwrap_err().to_string();
    assert!(error.contains("top1 of umt is NaN"), "{error}");
    let error = Results::from_json("{\n \"recipe\": 3}").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn tables_read_well() {
    let text = tables::markdown(&results(), &["Last checkpoint, trained on all of train.".into()]);
    let wanted = "\
# av-digits

Device cpu (avx2, 2 threads), 62 s of stages in all; data abc.
Last checkpoint, trained on all of train.

## Stages on test

| stage         | top-1 %      | d-prime     |
|:--------------|-------------:|------------:|
| teacher.audio | 62.00 ± 1.00 | –           |
| joint         | 90.00 ± 1.00 | 2.50 ± 0.00 |
| umt           | 94.00 ± 2.00 | 3.00 ± 0.00 |

Mean ± sample standard deviation over 3 seeds.

## Linear probes on test, top-1 %

| encoder of | teacher      | joint        |
|:-----------|-------------:|-------------:|
| audio      | 61.00 ± 0.00 | 40.00 ± 0.00 |
| video      | –            | 85.00 ± 0.00 |
";
    assert!(text.starts_with(wanted), "{text}");
    assert!(text.contains("| joint | audio | top-1 % | 30.00 ± 0.00 |"), "{text}");
    assert!(
        text.contains(
            "## Paired differences: test, top-1 %, 200 samples\n\n\
             | difference  | mean  | 95 % interval  | std  | p     | verdict |\n\
             |:------------|------:|---------------:|-----:|------:|--------:|\n\
             | umt − joint | +4.00 | [+1.26, +6.74] | 1.00 | 0.004 | better  |"
        ),
        "{text}"
    );
    assert!(text.contains("| umt.top1 above joint.top1 | held    |"), "{text}");
}

#[test]
fn the_default_metrics_are_those_of_the_form() {
    let of = |reads| -> Vec<&str> {
        let own = metrics::METRICS.iter().filter(|m| m.reads() == reads && m.is_reported());
        own.map(|m| m.id()).collect()
    };
    assert_eq!(of(metrics::Reads::Samples), ["top1", "top5", "map", "dprime", "macro-f1", "ece"]);
    assert_eq!(of(metrics::Reads::Pixels), ["miou", "pixel-accuracy", "mean-accuracy"]);
}
