//! What a method changes class by class.

use super::samples::Network;
use umt_eval::Table;

/// Recall of each class by the method and its baseline, first seed, the largest changes first.
pub(super) fn table(method: &Network, baseline: &Network, classes: &[String]) -> Table {
    let labels = method.predictions.labels();
    let predicted = |network: &Network| network.predictions.scores().map(|s| s.predicted()).unwrap_or_default();
    let (a, b) = (predicted(method), predicted(baseline));
    let mut rows: Vec<(f64, Vec<String>)> = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        let own: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] as usize == class).collect();
        if own.is_empty() || a.len() != labels.len() || b.len() != labels.len() {
            continue;
        }
        let recall =
            |of: &[u32]| 100.0 * own.iter().filter(|&&i| of[i] as usize == class).count() as f64 / own.len() as f64;
        let (a, b) = (recall(&a), recall(&b));
        let cells =
            vec![name.clone(), own.len().to_string(), format!("{b:.1}"), format!("{a:.1}"), format!("{:+.1}", a - b)];
        rows.push((a - b, cells));
    }
    rows.sort_by(|x, y| y.0.abs().total_cmp(&x.0.abs()));
    Table {
        title: format!("Recall by class, %: {} against {}", method.stage, baseline.stage),
        header: ["class", "samples", &baseline.stage, &method.stage, "change"].map(String::from).to_vec(),
        rows: rows.into_iter().map(|(_, cells)| cells).collect(),
        note: "First seed. With few samples of a class a change of one or two of them is chance.".into(),
    }
}
