//! What a stage said about each sample, as a file.
//!
//! The file is in safetensors form, so that `safetensors.numpy.load_file` reads it too: `logits`
//! (f32, `[samples, classes]`), `labels` (u32), and the ids as UTF-8 bytes on end (`ids`, u8) with
//! the end of each (`id_ends`, u64).

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::confusion::csv_field;
use crate::{EvalError, Scores};

const FORMAT: &str = "umt-predictions/1";

/// Predictions of a stage for one split.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    ids: Vec<String>,
    labels: Vec<u32>,
    classes: usize,
    logits: Vec<f32>,
}

impl Predictions {
    /// Predictions of samples: `logits` (or logarithms of probabilities) `[samples, classes]`.
    ///
    /// # Errors
    /// As [`Scores::new`], and [`EvalError::Shape`] unless there is one id per label.
    pub fn new(ids: Vec<String>, labels: Vec<u32>, classes: usize, logits: Vec<f32>) -> Result<Self, EvalError> {
        Scores::new(&logits, classes, &labels)?;
        if ids.len() != labels.len() {
            return Err(EvalError::Shape { what: "ids", expected: labels.len(), got: ids.len() });
        }
        Ok(Self { ids, labels, classes, logits })
    }

    /// Ids, one per sample.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Labels, one per sample.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Logits `[samples, classes]`.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// What the metrics take.
    ///
    /// # Errors
    /// None in practice: the parts were checked when they came in.
    pub fn scores(&self) -> Result<Scores<'_>, EvalError> {
        Scores::new(&self.logits, self.classes, &self.labels)
    }

    /// The file's bytes; the same predictions give the same bytes.
    ///
    /// # Errors
    /// [`EvalError::Malformed`] when the serialiser refuses.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EvalError> {
        let ids = self.ids.concat().into_bytes();
        let ends = self.ids.iter().scan(0u64, |end, id| {
            *end += id.len() as u64;
            Some(*end)
        });
        let ends: Vec<u8> = ends.flat_map(u64::to_le_bytes).collect();
        let labels: Vec<u8> = self.labels.iter().flat_map(|v| v.to_le_bytes()).collect();
        let logits: Vec<u8> = self.logits.iter().flat_map(|v| v.to_le_bytes()).collect();
        let n = self.labels.len();
        let views = [
            ("id_ends", Dtype::U64, vec![n], &ends),
            ("ids", Dtype::U8, vec![ids.len()], &ids),
            ("labels", Dtype::U32, vec![n], &labels),
            ("logits", Dtype::F32, vec![n, self.classes], &logits),
        ];
        let mut tensors = Vec::with_capacity(views.len());
        for (name, dtype, shape, bytes) in views {
            tensors.push((name, TensorView::new(dtype, shape, bytes).map_err(malformed)?));
        }
        // One entry only: several would be written in the random order of a hash map.
        let metadata = HashMap::from([("format".to_string(), FORMAT.to_string())]);
        serialize(tensors, Some(metadata)).map_err(malformed)
    }

    /// Reads what [`Predictions::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`EvalError::Malformed`] for bytes of another form, or one of [`Predictions::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EvalError> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let format = header.metadata().as_ref().and_then(|m| m.get("format"));
        if format.map(String::as_str) != Some(FORMAT) {
            return Err(malformed(format!("format is {format:?}, not \"{FORMAT}\"")));
        }
        let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
        let get = |name: &str, dtype| {
            let view = file.tensor(name).map_err(malformed)?;
            match view.dtype() == dtype {
                true => Ok(view),
                false => Err(malformed(format!("{name} is {:?}, not {dtype:?}", view.dtype()))),
            }
        };
        let logits_view = get("logits", Dtype::F32)?;
        let &[_, classes] = logits_view.shape() else {
            return Err(malformed(format!("logits have shape {:?}", logits_view.shape())));
        };
        let logits = words(logits_view.data()).map(f32::from_le_bytes).collect();
        let labels = words(get("labels", Dtype::U32)?.data()).map(u32::from_le_bytes).collect();
        let text = get("ids", Dtype::U8)?.data();
        let text = std::str::from_utf8(text).map_err(malformed)?;
        let (mut start, mut ids) = (0, Vec::new());
        for end in words(get("id_ends", Dtype::U64)?.data()).map(u64::from_le_bytes) {
            let end = usize::try_from(end).unwrap_or(usize::MAX);
            let id = text.get(start..end);
            let id = id.ok_or_else(|| malformed(format!("id {} ends at {end}", ids.len())))?;
            ids.push(id.to_string());
            start = end;
        }
        if start != text.len() {
            return Err(malformed("bytes of ids left over".to_string()));
        }
        Self::new(ids, labels, classes, logits)
    }

    /// A table for people: id, label, predicted class, its probability, probability of the label; of samples that are not
    /// `labelled`, without what is about the label.
    ///
    /// # Errors
    /// [`EvalError::Shape`] unless there is one name per class.
    pub fn to_csv(&self, names: &[String], labelled: bool) -> Result<String, EvalError> {
        if names.len() != self.classes {
            let (expected, got) = (self.classes, names.len());
            return Err(EvalError::Shape { what: "class names", expected, got });
        }
        let scores = self.scores()?;
        let rows = scores.log_probabilities().chunks_exact(self.classes);
        let mut out = String::from(match labelled {
            true => "id,label,predicted,confidence,label_probability\n",
            false => "id,predicted,confidence\n",
        });
        let told = self.ids.iter().zip(&self.labels).zip(scores.predicted()).zip(rows);
        for (((id, label), predicted), row) in told {
            let (label, predicted) = (*label as usize, predicted as usize);
            if !labelled {
                out += &format!("{},{},{:.4}\n", csv_field(id), csv_field(&names[predicted]), row[predicted].exp());
                continue;
            }
            out += &format!(
                "{},{},{},{:.4},{:.4}\n",
                csv_field(id),
                csv_field(&names[label]),
                csv_field(&names[predicted]),
                row[predicted].exp(),
                row[label].exp(),
            );
        }
        Ok(out)
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().copied()
}

fn malformed(reason: impl ToString) -> EvalError {
    EvalError::Malformed { what: "predictions file", reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Predictions {
        let ids = ["-id_0", "", "größe,3"].map(String::from).to_vec();
        let logits = vec![0.0, 1.0, 2.5, -1e4, 1e4, 0.1, 3.0, f32::MIN_POSITIVE, -0.0];
        Predictions::new(ids, vec![2, 1, 1], 3, logits).unwrap()
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let bytes = some().to_bytes().unwrap();
        assert_eq!(bytes, some().to_bytes().unwrap());
        assert_eq!(Predictions::from_bytes(&bytes).unwrap(), some());
    }

    #[test]
    fn damaged_files_are_errors_at_every_length() {
        let bytes = some().to_bytes().unwrap();
        for end in 0..bytes.len() {
            assert!(Predictions::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x41;
            // Never a panic; whether it is an error depends on the byte (digests are the store's).
            let _ = Predictions::from_bytes(&flipped);
        }
        let foreign = serialize(Vec::<(&str, TensorView)>::new(), None).unwrap();
        let error = Predictions::from_bytes(&foreign).unwrap_err().to_string();
        assert!(error.contains(FORMAT), "{error}");
    }

    #[test]
    fn csv_quotes_names() {
        let names = ["a", "b, c", "d"].map(String::from);
        let csv = some().to_csv(&names, true).unwrap();
        let lines: Vec<_> = csv.lines().collect();
        assert_eq!(lines[0], "id,label,predicted,confidence,label_probability");
        assert_eq!(lines[2], ",\"b, c\",\"b, c\",1.0000,1.0000");
        assert!(lines[3].starts_with("\"größe,3\",\"b, c\",a,0.90"), "{}", lines[3]);
        let unlabelled = some().to_csv(&names, false).unwrap();
        assert!(unlabelled.starts_with("id,predicted,confidence\n"), "{unlabelled}");
        assert_eq!(unlabelled.lines().nth(2), Some(",\"b, c\",1.0000"));
        assert!(some().to_csv(&names[..2], true).is_err());
    }
}
