//! Pixel accuracy.

use super::{Metric, Reads};
use crate::{Confusion, EvalError};

/// Share of the pixels with a class that are predicted as it.
pub struct PixelAccuracy;

impl Metric for PixelAccuracy {
    fn id(&self) -> &'static str {
        "pixel-accuracy"
    }

    fn heading(&self) -> &'static str {
        "pixel accuracy"
    }

    fn reads(&self) -> Reads {
        Reads::Pixels
    }

    fn of_pixels(&self, confusion: &Confusion) -> Result<f64, EvalError> {
        let all: u64 = confusion.counts().iter().sum();
        let hits: u64 = (0..confusion.classes()).map(|class| confusion.hits(class)).sum();
        if all == 0 { Err(EvalError::Empty { what: self.id() }) } else { Ok(hits as f64 / all as f64) }
    }
}
