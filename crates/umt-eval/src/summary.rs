//! Mean and spread over seeds.

use crate::results::{Row, SummaryRow};

/// Mean and sample standard deviation (n - 1 in the denominator) of values over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation; 0 for a single value, whose spread is unknown (n tells).
    pub std: f64,
    /// Number of values.
    pub n: usize,
}

/// Summary of values; none without any.
///
/// ```
/// let s = umt_eval::summary::of(&[0.90, 0.92, 0.94]).unwrap();
/// assert!((s.mean - 0.92).abs() < 1e-12 && (s.std - 0.02).abs() < 1e-12 && s.n == 3);
/// ```
pub fn of(values: &[f64]) -> Option<Summary> {
    if values.is_empty() {
        return None;
    }
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    let std = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
    Some(Summary { mean, std, n })
}

/// One summary per (stage, split, metric, given), over the seeds, in order of first appearance.
pub fn of_rows(rows: &[Row]) -> Vec<SummaryRow> {
    let mut groups: Vec<(&Row, Vec<f64>)> = Vec::new();
    for row in rows {
        let same =
            |r: &Row| r.stage == row.stage && r.split == row.split && r.metric == row.metric && r.given == row.given;
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, values)) => values.push(row.value),
            None => groups.push((row, vec![row.value])),
        }
    }
    let summary = |(row, values): (&Row, Vec<f64>)| {
        of(&values).map(|s| SummaryRow {
            stage: row.stage.clone(),
            split: row.split.clone(),
            metric: row.metric.clone(),
            given: row.given.clone(),
            mean: s.mean,
            std: s.std,
            n: s.n,
        })
    };
    groups.into_iter().filter_map(summary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_what_was_measured() {
        let row = |stage: &str, seed, metric: &str, value| Row {
            stage: stage.into(),
            seed,
            split: "test".into(),
            metric: metric.into(),
            value,
            given: None,
            key: String::new(),
        };
        let mut rows = vec![
            row("joint", 1, "top1", 0.5),
            row("umt", 1, "top1", 0.7),
            row("joint", 2, "top1", 0.6),
            row("joint", 1, "map", 0.4),
        ];
        rows.push(Row { given: Some(vec![umt_media::Modality::Audio]), ..rows[0].clone() });
        let summary = of_rows(&rows);
        let names: Vec<_> = summary.iter().map(|s| (s.stage.as_str(), s.metric.as_str(), s.n)).collect();
        assert_eq!(names, [("joint", "top1", 2), ("umt", "top1", 1), ("joint", "map", 1), ("joint", "top1", 1)]);
        assert!((summary[0].std - 0.1 / 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(summary[1].std, 0.0);
        assert_eq!(of(&[]), None);
    }
}
