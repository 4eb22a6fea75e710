//! The confusion matrix, from which several figures follow.

use crate::{EvalError, Scores};

/// Counts of (true class, predicted class).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// A matrix of zeros.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// A matrix of counts `[true class, predicted class]`, row-major.
    ///
    /// # Errors
    /// [`EvalError::Shape`] for another number of counts.
    pub fn from_counts(classes: usize, counts: Vec<u64>) -> Result<Self, EvalError> {
        let (expected, got) = (classes * classes, counts.len());
        match expected == got {
            true => Ok(Self { classes, counts }),
            false => Err(EvalError::Shape { what: "counts of a confusion matrix", expected, got }),
        }
    }

    /// Counts the predictions (largest logit, first among equals) of all samples.
    pub fn of(scores: &Scores) -> Self {
        let mut out = Self::new(scores.classes());
        for (label, predicted) in scores.labels().iter().zip(scores.predicted()) {
            out.counts[*label as usize * out.classes + predicted as usize] += 1;
        }
        out
    }

    /// Counts one pair.
    ///
    /// # Errors
    /// [`EvalError::Label`] when either is not a class; `sample` only serves the message.
    pub fn add(&mut self, sample: usize, label: u32, predicted: u32) -> Result<(), EvalError> {
        for class in [label, predicted] {
            if class as usize >= self.classes {
                return Err(EvalError::Label { sample, label: class, classes: self.classes });
            }
        }
        self.counts[label as usize * self.classes + predicted as usize] += 1;
        Ok(())
    }

    /// Counts the pixels of label maps, and of predictions of the same size; pixels whose true class
    /// is `void` count nowhere. One matrix over all maps of a split, batch by batch, is what mean IoU
    /// is read from.
    ///
    /// # Errors
    /// [`EvalError::Shape`] for another number of pixels, [`EvalError::Label`] for what is no class,
    /// with the place of the pixel; nothing is counted then.
    pub fn add_maps(&mut self, truth: &[u8], predicted: &[u8], void: u8) -> Result<(), EvalError> {
        if truth.len() != predicted.len() {
            let (expected, got) = (truth.len(), predicted.len());
            return Err(EvalError::Shape { what: "predicted pixels", expected, got });
        }
        // Pairs of 8-bit classes are counted first, and checked once.
        let mut pairs = vec![0u64; 1 << 16];
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            pairs[usize::from(truth) << 8 | usize::from(predicted)] += 1;
        }
        pairs[usize::from(void) << 8..][..256].fill(0);
        let counted = || pairs.iter().enumerate().filter(|(_, count)| **count > 0);
        for (pair, _) in counted() {
            for class in [pair >> 8, pair & 255] {
                if class >= self.classes {
                    let of = |(&t, &p): (&u8, &u8)| usize::from(t) << 8 | usize::from(p);
                    let sample = truth.iter().zip(predicted).position(|both| of(both) == pair).unwrap_or(0);
                    return Err(EvalError::Label { sample, label: class as u32, classes: self.classes });
                }
            }
        }
        for (pair, count) in counted() {
            self.counts[(pair >> 8) * self.classes + (pair & 255)] += count;
        }
        Ok(())
    }

    /// Adds the counts of another matrix.
    ///
    /// # Errors
    /// [`EvalError::Shape`] for another number of classes.
    pub fn merge(&mut self, other: &Self) -> Result<(), EvalError> {
        let (expected, got) = (self.classes, other.classes);
        if expected != got {
            return Err(EvalError::Shape { what: "classes of a confusion matrix", expected, got });
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        Ok(())
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts `[true class, predicted class]`, row-major.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Samples of true class `class` that were predicted as it.
    pub fn hits(&self, class: usize) -> u64 {
        self.counts[class * self.classes + class]
    }

    /// Samples of true class `class`.
    pub fn support(&self, class: usize) -> u64 {
        self.counts[class * self.classes..(class + 1) * self.classes].iter().sum()
    }

    /// Samples predicted as `class`.
    pub fn predicted(&self, class: usize) -> u64 {
        self.counts.iter().skip(class).step_by(self.classes).sum()
    }

    /// The matrix as csv: a header of class names, then one line per true class.
    ///
    /// # Errors
    /// [`EvalError::Shape`] unless there is one name per class.
    pub fn to_csv(&self, names: &[String]) -> Result<String, EvalError> {
        if names.len() != self.classes {
            let (expected, got) = (self.classes, names.len());
            return Err(EvalError::Shape { what: "class names", expected, got });
        }
        let quoted: Vec<String> = names.iter().map(|n| csv_field(n)).collect();
        let mut out = format!("true\\predicted,{}\n", quoted.join(","));
        for (name, row) in quoted.iter().zip(self.counts.chunks(self.classes)) {
            let cells: Vec<String> = row.iter().map(u64::to_string).collect();
            out += &format!("{name},{}\n", cells.join(","));
        }
        Ok(out)
    }
}

/// A csv field, quoted where RFC 4180 asks for it.
pub(crate) fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_rows_and_columns() {
        let logits = [2.0, 1.0, 0.0, 0.0, 1.0, 0.0, 5.0, 1.0, 0.0];
        let c = Confusion::of(&Scores::new(&logits, 3, &[0, 1, 1]).unwrap());
        assert_eq!(c.counts(), [1, 0, 0, 1, 1, 0, 0, 0, 0]);
        assert_eq!((c.hits(1), c.support(1), c.predicted(0)), (1, 2, 2));
        let names = ["a".into(), "b, c".into(), "d".into()];
        assert_eq!(c.to_csv(&names).unwrap(), "true\\predicted,a,\"b, c\",d\na,1,0,0\n\"b, c\",1,1,0\nd,0,0,0\n");
        let mut c = Confusion::new(2);
        c.add(0, 1, 0).unwrap();
        assert_eq!(c.add(7, 0, 2), Err(EvalError::Label { sample: 7, label: 2, classes: 2 }));
        assert_eq!(c.counts(), [0, 0, 1, 0]);
    }
}
