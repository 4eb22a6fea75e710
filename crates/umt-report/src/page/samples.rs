//! Samples of test worth a look: where two methods disagree, where all are wrong, and some drawn by chance.

use super::html::escape;
use super::media::Media;
use std::fmt::Write as _;
use umt_eval::Predictions;

/// Samples of each kind.
const EACH: usize = 4;

/// A network's predictions of test, first seed.
pub(super) struct Network {
    pub stage: String,
    pub predictions: Predictions,
}

/// The section; `pair` is the method and its baseline. Empty where there are no predictions of single samples.
pub(super) fn section(
    networks: &[Network],
    pair: Option<(&str, &str)>,
    classes: &[String],
    media: &mut Media,
) -> String {
    let Some(first) = networks.first().map(|n| &n.predictions) else { return String::new() };
    let samples = first.labels().len();
    let same = networks.iter().all(|n| n.predictions.ids() == first.ids());
    if samples == 0 || !same {
        return String::new();
    }
    let right = |n: &Network, i: usize| top(row(n, i)).0 == first.labels()[i] as usize;
    let find = |stage: &str| networks.iter().find(|n| n.stage == stage);
    let mut out = String::new();
    if let Some((method, baseline)) = pair.and_then(|(a, b)| Some((find(a)?, find(b)?))) {
        for (better, worse) in [(method, baseline), (baseline, method)] {
            // The most confident mistakes first.
            let title = format!("{} is right, {} is wrong", better.stage, worse.stage);
            let mut chosen: Vec<usize> = (0..samples).filter(|&i| right(better, i) && !right(worse, i)).collect();
            let count = chosen.len();
            chosen.sort_by(|&a, &b| top(row(worse, b)).1.total_cmp(&top(row(worse, a)).1).then(a.cmp(&b)));
            cards(&mut out, &format!("{title}: {count} of {samples}"), &chosen, networks, classes, media);
        }
    }
    let mut wrong: Vec<usize> = (0..samples).filter(|&i| networks.iter().all(|n| !right(n, i))).collect();
    let count = wrong.len();
    let confidence = |i: usize| networks.iter().map(|n| top(row(n, i)).1).fold(0.0, f64::max);
    wrong.sort_by(|&a, &b| confidence(b).total_cmp(&confidence(a)).then(a.cmp(&b)));
    cards(&mut out, &format!("All are wrong: {count} of {samples}"), &wrong, networks, classes, media);
    let order = umt_random::Permutation::new(0, "report.samples", 0, samples);
    let drawn: Vec<usize> = (0..samples.min(EACH)).map(|i| order.at(i)).collect();
    cards(&mut out, "Drawn by chance", &drawn, networks, classes, media);
    out
}

fn cards(out: &mut String, title: &str, chosen: &[usize], networks: &[Network], classes: &[String], media: &mut Media) {
    if chosen.is_empty() {
        return;
    }
    let _ = write!(out, "<h3>{}</h3><ul class=\"cards\">", escape(title));
    let name = |class: usize| escape(classes.get(class).map_or("?", String::as_str));
    for &i in chosen.iter().take(EACH) {
        let truth = networks[0].predictions.labels()[i] as usize;
        let id = &networks[0].predictions.ids()[i];
        let _ = write!(
            out,
            "<li>{}<p><strong>{}</strong><br><span class=\"dim\">{}</span></p><table><tbody>",
            media.of(id),
            name(truth),
            escape(id)
        );
        for network in networks {
            let (class, confidence) = top(row(network, i));
            let (kind, mark) = if class == truth { ("good", "✓") } else { ("bad", "✗") };
            let _ = write!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"{kind}\">{mark} {}</td><td>{:.0} %</td></tr>",
                escape(&network.stage),
                name(class),
                100.0 * confidence
            );
        }
        *out += "</tbody></table></li>";
    }
    *out += "</ul>";
}

fn row(network: &Network, i: usize) -> &[f32] {
    let classes = network.predictions.classes();
    &network.predictions.logits()[i * classes..(i + 1) * classes]
}

/// The class of the largest logit, of equals the first, and its probability.
fn top(row: &[f32]) -> (usize, f64) {
    let best = (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
    let sum: f64 = row.iter().map(|&z| f64::from(z - row[best]).exp()).sum();
    (best, 1.0 / sum)
}
