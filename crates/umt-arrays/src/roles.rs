//! What each array is, by its name.

use crate::{ArrayError, NamedArray, Values};
use std::collections::BTreeMap;

/// The names that are understood, for messages and documents.
pub const NAMES: [&str; 6] = [
    "labels.<split>",
    "features.<modality>.<split>",
    "teacher.<modality>.<split>",
    "logits.<split>",
    "logits.<modality>.<split>",
    "groups.<split>",
];

/// The splits; validation may be left out.
pub const SPLITS: [&str; 3] = ["train", "validation", "test"];

/// `[samples, width]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Length of a row.
    pub width: usize,
    /// The values.
    pub values: Vec<f32>,
}

/// One split of a model's arrays, all of the same samples in the same order.
#[derive(Clone, Debug, Default)]
pub struct SplitArrays {
    /// Class of each sample.
    pub labels: Vec<u32>,
    /// What must be drawn together (a speaker, a scene), numbered; empty without.
    pub groups: Vec<u32>,
    /// Features of each encoder inside the joint model, by modality.
    pub features: BTreeMap<String, Matrix>,
    /// Features of the uni-modal model's encoder, by modality.
    pub teachers: BTreeMap<String, Matrix>,
    /// Logits of the whole model.
    pub logits: Option<Matrix>,
    /// Logits with one modality alone, by modality.
    pub alone: BTreeMap<String, Matrix>,
}

/// The arrays of a model by split, checked against each other.
#[derive(Clone, Debug)]
pub struct ModelArrays {
    /// By split: train and test, validation where there is one.
    pub splits: BTreeMap<String, SplitArrays>,
    /// Number of classes: the width of the logits, or the largest label and 1.
    pub classes: usize,
    /// Names that are none of [`NAMES`]; nothing was done with them.
    pub ignored: Vec<String>,
}

impl ModelArrays {
    /// Sorts arrays by their names.
    ///
    /// # Errors
    /// [`ArrayError::Mismatch`] for missing labels, numbers of samples or widths that differ, labels outside the
    /// classes, values that are not finite, a name with an unknown split.
    pub fn new(arrays: BTreeMap<String, NamedArray>) -> Result<Self, ArrayError> {
        let mut splits: BTreeMap<String, SplitArrays> = BTreeMap::new();
        let mut ignored = Vec::new();
        for (name, array) in arrays {
            let Some((role, split)) = name.rsplit_once('.') else {
                ignored.push(name);
                continue;
            };
            let (role, modality) = role.split_once('.').map_or((role, None), |(role, m)| (role, Some(m.to_owned())));
            let known = matches!(
                (role, &modality),
                ("labels" | "groups", None) | ("features" | "teacher", Some(_)) | ("logits", _)
            );
            if !known {
                ignored.push(name);
                continue;
            }
            if !SPLITS.contains(&split) {
                return Err(mismatch(&name, format!("no split {split:?}; the splits are {}", SPLITS.join(", "))));
            }
            let own = splits.entry(split.to_owned()).or_default();
            match (role, modality) {
                ("labels", _) => own.labels = labels(&name, array)?,
                ("groups", _) => own.groups = groups(&name, array)?,
                ("features", Some(modality)) => drop(own.features.insert(modality, matrix(&name, array)?)),
                ("teacher", Some(modality)) => drop(own.teachers.insert(modality, matrix(&name, array)?)),
                (_, Some(modality)) => drop(own.alone.insert(modality, matrix(&name, array)?)),
                (_, None) => own.logits = Some(matrix(&name, array)?),
            }
        }
        for needed in ["train", "test"] {
            let there = splits.get(needed).is_some_and(|split| !split.labels.is_empty());
            if !there {
                let names = NAMES.join(", ");
                return Err(mismatch(&format!("labels.{needed}"), format!("it is needed; the names are {names}")));
            }
        }
        let mut found = Self { splits, classes: 0, ignored };
        found.classes = found.check()?;
        Ok(found)
    }

    /// One split.
    pub fn split(&self, name: &str) -> Option<&SplitArrays> {
        self.splits.get(name)
    }

    /// Modalities that have features on train and test.
    pub fn modalities(&self) -> Vec<String> {
        let has = |split: &str, m: &String| self.split(split).is_some_and(|s| s.features.contains_key(m));
        let names = self.splits.values().flat_map(|split| split.features.keys());
        let all: std::collections::BTreeSet<&String> = names.filter(|m| has("train", m) && has("test", m)).collect();
        all.into_iter().cloned().collect()
    }

    /// Numbers of samples and widths agree; gives the number of classes.
    fn check(&self) -> Result<usize, ArrayError> {
        let (mut widths, mut classes): (BTreeMap<String, usize>, Option<usize>) = (BTreeMap::new(), None);
        for (split, own) in &self.splits {
            let samples = own.labels.len();
            if samples == 0 {
                return Err(mismatch(&format!("labels.{split}"), "there are other arrays of this split".into()));
            }
            if !own.groups.is_empty() && own.groups.len() != samples {
                let reason = format!("{} groups for {samples} labels", own.groups.len());
                return Err(mismatch(&format!("groups.{split}"), reason));
            }
            for (name, matrix) in own.matrices() {
                let rows = matrix.values.len() / matrix.width;
                if rows != samples {
                    return Err(mismatch(&format!("{name}.{split}"), format!("{rows} rows for {samples} labels")));
                }
                let first = *widths.entry(name.clone()).or_insert(matrix.width);
                if first != matrix.width {
                    let reason = format!("{} columns, {first} in another split", matrix.width);
                    return Err(mismatch(&format!("{name}.{split}"), reason));
                }
                if name.starts_with("logits") {
                    let first = *classes.get_or_insert(matrix.width);
                    if first != matrix.width {
                        let reason = format!("{} columns, {first} in other logits", matrix.width);
                        return Err(mismatch(&format!("{name}.{split}"), reason));
                    }
                }
            }
        }
        let most = |own: &SplitArrays| own.labels.iter().max().map_or(0, |label| *label as usize + 1);
        let labelled = self.splits.values().map(most).max().unwrap_or(0);
        match classes {
            Some(classes) if labelled > classes => {
                Err(mismatch("labels", format!("a label of {}, but the logits have {classes} columns", labelled - 1)))
            }
            found => Ok(found.unwrap_or(labelled)),
        }
    }
}

impl SplitArrays {
    /// Every matrix with its name without the split.
    fn matrices(&self) -> impl Iterator<Item = (String, &Matrix)> {
        let named = |role: &'static str| move |(m, x)| (format!("{role}.{m}"), x);
        let features = self.features.iter().map(named("features"));
        let teachers = self.teachers.iter().map(named("teacher"));
        let alone = self.alone.iter().map(named("logits"));
        features.chain(teachers).chain(alone).chain(self.logits.iter().map(|x| ("logits".to_owned(), x)))
    }
}

fn mismatch(name: &str, reason: String) -> ArrayError {
    ArrayError::Mismatch { name: name.into(), reason }
}

fn labels(name: &str, array: NamedArray) -> Result<Vec<u32>, ArrayError> {
    let column = matches!(array.shape.as_slice(), [_] | [_, 1]);
    if !column {
        let reason = format!("shape {:?}; one class per sample is needed, [samples]", array.shape);
        return Err(mismatch(name, reason));
    }
    let Values::Int(values) = array.values else {
        return Err(mismatch(name, "labels are integers: save labels.astype(numpy.int64)".into()));
    };
    let label = |(i, v): (usize, i64)| {
        let fits = u32::try_from(v).ok().filter(|v| *v < 1 << 24);
        fits.ok_or_else(|| mismatch(name, format!("sample {i} has the label {v}; classes count from 0")))
    };
    values.into_iter().enumerate().map(label).collect()
}

fn groups(name: &str, array: NamedArray) -> Result<Vec<u32>, ArrayError> {
    if array.shape.len() != 1 {
        return Err(mismatch(name, format!("shape {:?}; one group per sample is needed, [samples]", array.shape)));
    }
    let names: Vec<String> = match array.values {
        Values::Int(values) => values.iter().map(i64::to_string).collect(),
        Values::Text(values) => values,
        Values::Float(_) => return Err(mismatch(name, "groups are integers or texts".into())),
    };
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let number = |name: String| {
        let next = numbers.len() as u32;
        *numbers.entry(name).or_insert(next)
    };
    Ok(names.into_iter().map(number).collect())
}

fn matrix(name: &str, array: NamedArray) -> Result<Matrix, ArrayError> {
    let width = match array.shape.as_slice() {
        [n, width @ ..] if *n > 0 && !width.is_empty() => width.iter().product(),
        shape => return Err(mismatch(name, format!("shape {shape:?}; [samples, width] is needed"))),
    };
    if width == 0 || array.shape.len() > 2 {
        let reason = format!("shape {:?}; pool it to [samples, width], for example x.mean(axis=(2, 3))", array.shape);
        return Err(mismatch(name, reason));
    }
    let Values::Float(values) = array.values else {
        return Err(mismatch(name, "its values are no floating-point numbers".into()));
    };
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(mismatch(name, format!("{} at row {}, column {}", values[at], at / width, at % width)));
    }
    Ok(Matrix { width, values })
}
