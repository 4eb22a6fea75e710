//! Training curves: a chart for the task's loss, one for validation, one for each further term of a method.

use super::html::escape;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use umt_train::EpochRow;

/// Rows of a stage's `metrics.jsonl`, by stage in the order of the table.
pub(super) type Logs = Vec<(String, Vec<EpochRow>)>;

/// A chart: a line per stage.
struct Chart {
    title: String,
    lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// The section; empty where nothing was trained.
pub(super) fn section(logs: &Logs, validation: &str) -> String {
    let charts = charts(logs, validation);
    if charts.is_empty() {
        return String::new();
    }
    let stages: Vec<&String> = logs.iter().map(|(stage, _)| stage).collect();
    let line = |(stage, points): &(String, Vec<(f64, f64)>)| {
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        json!({ "stage": stage, "x": x, "y": y })
    };
    let data = json!({
        "stages": stages,
        "charts": charts.iter().map(|c| json!({ "title": c.title, "lines": c.lines.iter().map(line).collect::<Vec<_>>() })).collect::<Vec<_>>(),
    });
    let mut out = String::from(
        "<p><label>Smoothing <input id=\"smoothing\" type=\"range\" min=\"0\" max=\"0.95\" step=\"0.05\" value=\"0\"></label> \
         <span class=\"dim\">exponential moving average; first seed of each stage, by epoch</span></p><ul class=\"legend\">",
    );
    for (i, stage) in stages.iter().enumerate() {
        let _ = write!(out, "<li><span id=\"key-{i}\"></span>{}</li>", escape(stage));
    }
    out += "</ul>";
    for (i, chart) in charts.iter().enumerate() {
        let title = escape(&chart.title);
        let _ = write!(
            out,
            "<figure class=\"chart\"><figcaption>{title}</figcaption><svg id=\"chart-{i}\" viewBox=\"0 0 520 260\" role=\"img\" aria-label=\"{title}\"></svg>{}</figure>",
            numbers(chart)
        );
    }
    // `<` cannot end the element early as an escape of JSON.
    let data = data.to_string().replace('<', "\\u003c");
    let _ = write!(out, "<script type=\"application/json\" id=\"curve-data\">{data}</script>");
    let _ = write!(out, "<script>{}</script>", include_str!("script.js"));
    out
}

/// The last value of each line, for those who read rather than look.
fn numbers(chart: &Chart) -> String {
    let mut out = String::from("<details><summary>first and last values</summary><table><tbody>");
    for (stage, points) in &chart.lines {
        if let (Some(first), Some(last)) = (points.first(), points.last()) {
            let _ = write!(
                out,
                "<tr><th scope=\"row\">{}</th><td>{:.4}</td><td>{:.4}</td></tr>",
                escape(stage),
                first.1,
                last.1
            );
        }
    }
    out + "</tbody></table></details>"
}

fn charts(logs: &Logs, validation: &str) -> Vec<Chart> {
    let line = |of: &dyn Fn(&EpochRow) -> Option<f64>, rows: &[EpochRow]| -> Vec<(f64, f64)> {
        rows.iter().filter_map(|row| Some((row.epoch as f64, of(row)?))).collect()
    };
    let chart = |title: &str, of: &dyn Fn(&EpochRow) -> Option<f64>| {
        let lines = logs.iter().map(|(stage, rows)| (stage.clone(), line(of, rows)));
        Chart { title: title.to_owned(), lines: lines.filter(|(_, points)| !points.is_empty()).collect() }
    };
    // What a method adds to the loss is apart from the task's own, which all stages have.
    let mut all = vec![
        chart("loss of the task on train", &|row| Some(row.task_loss())),
        chart(&format!("{validation} on validation, %"), &|row| Some(100.0 * row.validation?.main())),
        chart("loss on validation", &|row| Some(row.validation?.loss)),
    ];
    let logged = logs.iter().flat_map(|(_, rows)| rows).flat_map(|row| row.log.keys());
    let terms: BTreeSet<&String> = logged.filter(|key| *key != "task").collect();
    all.extend(terms.into_iter().map(|term| chart(term, &|row| row.log.get(term).copied())));
    all.push(chart("learning rate", &|row| Some(f64::from(row.lr))));
    all.retain(|chart| chart.lines.iter().any(|(_, points)| points.len() > 1));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_is_apart_from_what_a_method_adds() {
        let row = |epoch: u64, loss: f64, task: Option<f64>| {
            let log = task.map(|task| [("task".to_owned(), task), ("distance.audio".to_owned(), loss - task)].into());
            let validation = Some(umt_train::Validation { top1: 0.5, loss: 1.0, miou: None });
            EpochRow { epoch, step: epoch, lr: 0.1, loss, log: log.unwrap_or_default(), validation, best: false }
        };
        let logs = vec![
            ("joint".to_owned(), vec![row(1, 2.0, None), row(2, 1.0, None)]),
            ("</script>".to_owned(), vec![row(1, 30.0, Some(2.5)), row(2, 20.0, Some(1.5))]),
        ];
        let charts = charts(&logs, "top-1");
        assert_eq!(charts[0].lines[1].1, [(1.0, 2.5), (2.0, 1.5)]);
        assert!(charts.iter().any(|c| c.title == "distance.audio" && c.lines.len() == 1));
        let html = section(&logs, "top-1");
        assert_eq!(html.matches("</script>").count(), 2, "only the two elements end");
        assert_eq!(section(&Vec::new(), "top-1"), "");
    }
}
