//! Mean accuracy over classes.

use super::{Metric, Reads};
use crate::{Confusion, EvalError};

/// Mean recall over the classes that occur.
pub struct MeanAccuracy;

impl Metric for MeanAccuracy {
    fn id(&self) -> &'static str {
        "mean-accuracy"
    }

    fn heading(&self) -> &'static str {
        "mean accuracy"
    }

    fn reads(&self) -> Reads {
        Reads::Pixels
    }

    fn of_pixels(&self, confusion: &Confusion) -> Result<f64, EvalError> {
        let of = |class| {
            let support = confusion.support(class);
            (support > 0).then(|| confusion.hits(class) as f64 / support as f64)
        };
        super::mean((0..confusion.classes()).filter_map(of)).ok_or(EvalError::Empty { what: self.id() })
    }
}
