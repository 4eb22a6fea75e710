//! From arrays to figures, findings and advice.

use crate::ArrayError;
use crate::roles::{Matrix, ModelArrays, SplitArrays};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use umt_eval::diagnosis::{self, EncoderFigures, Interval, NetworkFigures, Verdict};
use umt_eval::metrics::{self, Metric, top_k};
use umt_eval::{EvalError, Features, LinearProbe, ProbeConfig, Scores, clusters, ensemble, paired};

/// How arrays are diagnosed.
#[derive(Clone, Debug)]
pub struct Options {
    /// The model's name in sentences.
    pub name: String,
    /// The loss of a probe, as a fraction, that is not worth acting on.
    pub margin: f64,
    /// How probes are fitted.
    pub probe: ProbeConfig,
}

/// What was found of a model.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The numbers, in the form of `diagnose` on a run; encoders without a teacher are in `probes` alone.
    pub figures: NetworkFigures,
    /// Findings and advice, for the encoders that have a teacher.
    pub verdict: Verdict,
    /// Top-1 on test of the linear probe of each encoder inside the model.
    pub probes: BTreeMap<String, f64>,
    /// Samples by split.
    pub samples: BTreeMap<String, usize>,
    /// Number of classes.
    pub classes: usize,
    /// Groups of test samples that intervals were drawn over; 0 when each sample counts by itself.
    pub groups: usize,
    /// What could not be said, and which array would tell.
    pub absent: Vec<String>,
    /// Arrays whose names say nothing here.
    pub ignored: Vec<String>,
}

/// Diagnoses a model: probes of each encoder inside it and of its uni-modal teacher, contributions, calibration, classes
/// lost, findings and advice. Nothing random but the bootstrap, which is keyed: the same arrays give the same answer.
///
/// # Errors
/// Arrays that do not fit together; [`ArrayError::Eval`] where a probe cannot be fitted (one class, for example).
pub fn diagnose(arrays: &ModelArrays, options: &Options) -> Result<Diagnosis, ArrayError> {
    let run = Run { arrays, test: test_of(arrays)?, options };
    let mut absent = Vec::new();
    let modalities = arrays.modalities();
    if modalities.is_empty() {
        let reason = "features.<modality>.train and features.<modality>.test of at least one modality are needed";
        return Err(ArrayError::Mismatch { name: "features".into(), reason: reason.into() });
    }
    let mut probes = BTreeMap::new();
    let (mut encoders, mut teachers) = (Vec::new(), Vec::new());
    for modality in &modalities {
        let inside =
            run.probe(&format!("features.{modality}"), &|split| split.features.get(modality).map(Cow::Borrowed))?;
        let inside_hits = run.hits(&inside)?;
        probes.insert(modality.clone(), share(&inside_hits));
        let taught = |split: &str| arrays.split(split).is_some_and(|s| s.teachers.contains_key(modality));
        if !(taught("train") && taught("test")) {
            absent.push(format!("whether the {modality} encoder fails (teacher.{modality}.train and .test)"));
            continue;
        }
        let alone =
            run.probe(&format!("teacher.{modality}"), &|split| split.teachers.get(modality).map(Cow::Borrowed))?;
        encoders.push(run.encoder(modality, &inside_hits, &run.hits(&alone)?)?);
        teachers.push(alone);
    }

    // Without logits, the best that a linear classifier makes of all features stands in for the model.
    let whole = match &run.test.logits {
        Some(logits) => logits.values.clone(),
        None => {
            absent.push(
                "the model's own accuracy and calibration (logits.test); a probe of all its features is shown".into(),
            );
            run.probe("features", &|split| concatenated(split, &modalities).map(Cow::Owned))?
        }
    };
    let whole_hits = run.hits(&whole)?;
    let scores = run.scores(&whole, "logits.test")?;
    let ece = metrics::calibration::ExpectedCalibrationError.of_samples(&scores).map_err(|e| eval("logits.test", e))?;
    let mut given = BTreeMap::new();
    for (subset, logits) in &run.test.alone {
        given.insert(subset.clone(), share(&run.hits(&logits.values)?));
    }
    let value = |subset: &[String]| match subset {
        [] => Some(run.chance()),
        all if all.len() == modalities.len() => Some(share(&whole_hits)),
        some => given.get(&some.join("+")).copied(),
    };
    let shapley = diagnosis::shapley(&modalities, &value);
    if shapley.is_none() && modalities.len() > 1 {
        absent.push("the contribution of each modality (logits.<modality>.test, of that modality alone)".into());
    }
    for encoder in &mut encoders {
        encoder.shapley = shapley.as_ref().and_then(|all| all.get(&encoder.modality)).copied();
    }
    let ensemble = match teachers.len() == modalities.len() && teachers.len() > 1 {
        true => Some(run.difference(&run.mean_of(&teachers)?, &whole_hits)?),
        false => None,
    };
    let figures = NetworkFigures {
        stage: options.name.clone(),
        top1: share(&whole_hits),
        ece: run.test.logits.is_some().then_some(ece),
        chance: run.chance(),
        ensemble,
        umt: None,
        given,
        encoders,
    };
    let groups: std::collections::BTreeSet<u32> = run.test.groups.iter().copied().collect();
    Ok(Diagnosis {
        verdict: diagnosis::judge(&figures, options.margin),
        figures,
        probes,
        samples: arrays.splits.iter().map(|(name, split)| (name.clone(), split.labels.len())).collect(),
        classes: arrays.classes,
        groups: groups.len(),
        absent,
        ignored: arrays.ignored.clone(),
    })
}

/// What every step reads.
struct Run<'a> {
    arrays: &'a ModelArrays,
    test: &'a SplitArrays,
    options: &'a Options,
}

impl<'a> Run<'a> {
    /// Logits on test of a linear probe that was fitted on train, its strength chosen on validation.
    fn probe<'m>(
        &self,
        name: &str,
        matrix: &dyn Fn(&'a SplitArrays) -> Option<Cow<'m, Matrix>>,
    ) -> Result<Vec<f32>, ArrayError> {
        let of = |split: &str| self.arrays.split(split).and_then(|own| Some((own, matrix(own)?)));
        let missing =
            |split: &str| ArrayError::Mismatch { name: format!("{name}.{split}"), reason: "it is needed".into() };
        let (train, x) = of("train").ok_or_else(|| missing("train"))?;
        let (_, test) = of("test").ok_or_else(|| missing("test"))?;
        let held = of("validation");
        let failed = |e| eval(name, e);
        let train = Features::new(&x.values, x.width, &train.labels, self.arrays.classes).map_err(failed)?;
        let held = held.as_ref().map(|(own, x)| Features::new(&x.values, x.width, &own.labels, self.arrays.classes));
        let fitted = LinearProbe::fit(train, held.transpose().map_err(failed)?, &self.options.probe).map_err(failed)?;
        fitted.model.predict(&test.values).map_err(failed)
    }

    fn scores<'s>(&'s self, logits: &'s [f32], name: &str) -> Result<Scores<'s>, ArrayError> {
        Scores::new(logits, self.arrays.classes, &self.test.labels).map_err(|e| eval(name, e))
    }

    /// Whether each test sample is classified rightly.
    fn hits(&self, logits: &[f32]) -> Result<Vec<bool>, ArrayError> {
        let scores = self.scores(logits, "logits")?;
        top_k::hits(&scores, 1).map_err(|e| eval("logits", e))
    }

    /// Logits of the mean of several probes' probabilities (UME).
    fn mean_of(&self, members: &[Vec<f32>]) -> Result<Vec<bool>, ArrayError> {
        let logits: Vec<&[f32]> = members.iter().map(Vec::as_slice).collect();
        let equal = vec![1.0 / members.len() as f64; members.len()];
        let mean = ensemble::log_probabilities(&logits, self.arrays.classes, &equal).map_err(|e| eval("teacher", e))?;
        self.hits(&mean)
    }

    /// a - b with its interval, over groups where there are any.
    fn difference(&self, a: &[bool], b: &[bool]) -> Result<Interval, ArrayError> {
        let (a, b, groups) = (&[a.to_vec()], &[b.to_vec()], &self.test.groups);
        let found = match groups.is_empty() {
            true => paired::bootstrap(a, b, 0, paired::RESAMPLES),
            false => clusters::bootstrap(a, b, groups, 0, paired::RESAMPLES),
        };
        found.map(Interval::from).map_err(|e| eval("labels.test", e))
    }

    /// The class that occurs most often in test; of equals the lowest.
    fn common(&self) -> u32 {
        let mut counts = vec![0usize; self.arrays.classes];
        self.test.labels.iter().for_each(|label| counts[*label as usize] += 1);
        (0..counts.len()).rev().max_by_key(|class| counts[*class]).unwrap_or(0) as u32
    }

    fn always_common(&self) -> Vec<bool> {
        let common = self.common();
        self.test.labels.iter().map(|label| *label == common).collect()
    }

    fn chance(&self) -> f64 {
        share(&self.always_common())
    }

    fn encoder(&self, modality: &str, inside: &[bool], alone: &[bool]) -> Result<EncoderFigures, ArrayError> {
        let (own, teacher) = (self.test.features.get(modality), self.test.teachers.get(modality));
        let cka = match (own, teacher) {
            (Some(x), Some(y)) => diagnosis::linear_cka(&x.values, x.width, &y.values, y.width).ok(),
            _ => None,
        };
        let (labels, classes) = (&self.test.labels, self.arrays.classes);
        let lost = diagnosis::lost_classes(&[alone.to_vec()], &[inside.to_vec()], labels, classes);
        Ok(EncoderFigures {
            modality: modality.to_owned(),
            alone: share(alone),
            inside: share(inside),
            gap: self.difference(inside, alone)?,
            signal: self.difference(alone, &self.always_common())?,
            shapley: None,
            gradient_share: Vec::new(),
            cka,
            lost: lost.map_err(|e| eval(modality, e))?,
        })
    }
}

fn test_of(arrays: &ModelArrays) -> Result<&SplitArrays, ArrayError> {
    let missing = || ArrayError::Mismatch { name: "labels.test".into(), reason: "it is needed".into() };
    arrays.split("test").ok_or_else(missing)
}

fn share(hits: &[bool]) -> f64 {
    hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64
}

fn eval(name: &str, source: EvalError) -> ArrayError {
    ArrayError::Eval { name: name.to_owned(), source }
}

/// Features of all modalities side by side.
fn concatenated(split: &SplitArrays, modalities: &[String]) -> Option<Matrix> {
    let all: Vec<&Matrix> = modalities.iter().map(|m| split.features.get(m)).collect::<Option<_>>()?;
    let row = |i: usize| all.iter().flat_map(move |x| x.values[i * x.width..][..x.width].iter().copied());
    let values = (0..split.labels.len()).flat_map(row).collect();
    Some(Matrix { width: all.iter().map(|x| x.width).sum(), values })
}
