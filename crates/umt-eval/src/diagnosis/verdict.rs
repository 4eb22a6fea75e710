//! From figures to a verdict in words.

use super::{EncoderFigures, Interval, NetworkFigures};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is found of one encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Worse than its teacher by more than the margin, and the interval leaves out 0: Modality Failure.
    Fails,
    /// Not shown to be worse by more than the margin, and the interval excludes a loss of twice the margin.
    Sound,
    /// The samples do not tell.
    Unclear,
    /// Its teacher is no better than always naming the most frequent class.
    Noise,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// Train with uni-modal teachers.
    Umt,
    /// Average uni-modal networks instead of joint training.
    Ume,
    /// Keep the network.
    Nothing,
}

/// Findings, advice and the words for both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// By encoder.
    pub findings: BTreeMap<String, Finding>,
    /// What to do.
    pub advice: Advice,
    /// One sentence per finding, then the advice and its reason.
    pub words: Vec<String>,
}

/// Judges a network; `margin` is the loss of a probe, as a fraction, that is not worth acting on.
pub fn judge(figures: &NetworkFigures, margin: f64) -> Verdict {
    let findings: BTreeMap<String, Finding> =
        figures.encoders.iter().map(|e| (e.modality.clone(), finding(e, margin))).collect();
    let mut words: Vec<String> =
        figures.encoders.iter().map(|e| sentence(e, findings[&e.modality], figures, margin)).collect();
    let any = |wanted| findings.values().any(|&f| f == wanted);
    let clear = |d: &Option<Interval>| d.filter(|d| d.low > 0.0);
    let (umt, ume) = (clear(&figures.umt), clear(&figures.ensemble));
    let fails = any(Finding::Fails);
    let advice = match (umt, ume) {
        // Both were measured: the larger gain, UMT on a tie because it stays one network.
        (Some(umt), Some(ume)) if ume.mean > umt.mean => Advice::Ume,
        (Some(_), _) => Advice::Umt,
        // A measured UMT without a gain is no reason to advise it.
        (None, Some(_)) if figures.umt.is_some() || !fails => Advice::Ume,
        (None, _) if fails && figures.umt.is_none() => Advice::Umt,
        _ => Advice::Nothing,
    };
    words.push(reason(advice, figures, fails, any(Finding::Unclear)));
    Verdict { findings, advice, words }
}

fn finding(e: &EncoderFigures, margin: f64) -> Finding {
    if e.signal.low <= 0.0 {
        Finding::Noise
    } else if e.gap.high < 0.0 && e.gap.mean <= -margin {
        Finding::Fails
    } else if e.gap.low > -2.0 * margin || e.gap.mean > -margin {
        Finding::Sound
    } else {
        Finding::Unclear
    }
}

fn points(d: Interval) -> String {
    format!("{:+.1} points, 95 % interval [{:+.1}, {:+.1}]", 100.0 * d.mean, 100.0 * d.low, 100.0 * d.high)
}

fn sentence(e: &EncoderFigures, finding: Finding, figures: &NetworkFigures, margin: f64) -> String {
    let (name, stage) = (&e.modality, &figures.stage);
    let both = format!("{:.1} % inside `{stage}` against {:.1} % alone", 100.0 * e.inside, 100.0 * e.alone);
    match finding {
        Finding::Fails => format!("The {name} encoder fails: {both} ({}).", points(e.gap)),
        Finding::Sound => {
            format!("The {name} encoder is sound: {both} ({}; margin {:.1}).", points(e.gap), 100.0 * margin)
        }
        Finding::Unclear => {
            format!("Whether the {name} encoder fails cannot be told from so few samples: {both} ({}).", points(e.gap))
        }
        Finding::Noise => format!(
            "{name} looks like noise: alone it reaches {:.1} %, no better than the most frequent class ({:.1} %); \
             its encoder has nothing to lose, and the modality can be left out.",
            100.0 * e.alone,
            100.0 * figures.chance
        ),
    }
}

fn reason(advice: Advice, figures: &NetworkFigures, fails: bool, unclear: bool) -> String {
    match advice {
        Advice::Umt => match figures.umt {
            Some(d) => format!("Advice: UMT. Measured in this run, it changes top-1 by {}.", points(d)),
            None => {
                "Advice: UMT. Train the same network with its uni-modal teachers (`distill = { kind = \"feature\" }`); \
                 the gain has not been measured in this run."
                    .into()
            }
        },
        Advice::Ume => {
            let d = figures.ensemble.map_or(String::new(), |d| format!(" by {}", points(d)));
            format!(
                "Advice: UME. The mean of the uni-modal networks' probabilities changes top-1{d}, without joint training."
            )
        }
        Advice::Nothing if fails => {
            "Advice: nothing to gain. An encoder is worse than its teacher, but neither UMT nor UME \
             was shown to raise the network's own accuracy."
                .into()
        }
        Advice::Nothing if unclear => {
            "Advice: nothing to gain has been shown; more test samples or seeds would tell.".into()
        }
        Advice::Nothing => "Advice: nothing to gain. No encoder fails, and UME is not shown to be better.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(mean: f64, half: f64) -> Interval {
        Interval { mean, low: mean - half, high: mean + half }
    }

    fn encoder(modality: &str, alone: f64, gap: Interval) -> EncoderFigures {
        EncoderFigures {
            modality: modality.into(),
            alone,
            inside: alone + gap.mean,
            gap,
            signal: interval(alone - 0.1, 0.03),
            shapley: None,
            gradient_share: Vec::new(),
            cka: None,
            lost: Vec::new(),
        }
    }

    fn network(encoders: Vec<EncoderFigures>, umt: Option<Interval>, ensemble: Option<Interval>) -> NetworkFigures {
        let stage = "joint".into();
        NetworkFigures { stage, top1: 0.8, ece: None, chance: 0.1, ensemble, umt, given: BTreeMap::new(), encoders }
    }

    #[test]
    fn a_failing_encoder_is_named_with_its_interval() {
        let weak = encoder("video", 0.7, interval(-0.08, 0.03));
        let fine = encoder("audio", 0.7, interval(-0.01, 0.02));
        let verdict = judge(&network(vec![fine, weak], None, None), 0.02);
        assert_eq!(verdict.findings["video"], Finding::Fails);
        assert_eq!(verdict.findings["audio"], Finding::Sound);
        assert_eq!(verdict.advice, Advice::Umt);
        assert!(
            verdict.words[1]
                .contains("62.0 % inside `joint` against 70.0 % alone (-8.0 points, 95 % interval [-11.0, -5.0])")
        );
    }

    #[test]
    fn no_wolf_is_cried_on_sound_encoders_and_noise_is_called_noise() {
        let fine = |m| encoder(m, 0.7, interval(0.003, 0.02));
        let verdict = judge(&network(vec![fine("audio"), fine("video")], None, Some(interval(0.0, 0.01))), 0.02);
        assert_eq!(verdict.advice, Advice::Nothing);
        assert!(verdict.findings.values().all(|&f| f == Finding::Sound));
        // A small loss beyond doubt is still within the margin.
        let small = encoder("audio", 0.7, interval(-0.01, 0.005));
        assert_eq!(finding(&small, 0.02), Finding::Sound);
        let noise = encoder("audio", 0.11, interval(-0.05, 0.02));
        let verdict = judge(&network(vec![noise, fine("video")], None, None), 0.02);
        assert_eq!(verdict.findings["audio"], Finding::Noise);
        assert_eq!(verdict.advice, Advice::Nothing);
        assert!(verdict.words[0].contains("noise"));
        let wide = encoder("audio", 0.7, interval(-0.05, 0.08));
        assert_eq!(finding(&wide, 0.02), Finding::Unclear);
    }

    #[test]
    fn measured_gains_decide_between_umt_and_ume() {
        let weak = || vec![encoder("video", 0.7, interval(-0.08, 0.03))];
        let advice = |umt, ume| judge(&network(weak(), umt, ume), 0.02).advice;
        let (small, large, none) = (interval(0.02, 0.01), interval(0.05, 0.01), interval(0.0, 0.01));
        assert_eq!(advice(Some(small), Some(large)), Advice::Ume);
        assert_eq!(advice(Some(large), Some(small)), Advice::Umt);
        assert_eq!(advice(Some(none), Some(small)), Advice::Ume);
        assert_eq!(advice(Some(none), Some(none)), Advice::Nothing);
        assert_eq!(advice(None, Some(small)), Advice::Umt);
    }
}
