//! Operators on the tape, one file each, as methods of [`crate::Tape`].

mod conv;
mod fold;
mod gate;
mod maps;
mod norm;
mod pool;

pub use conv::ConvOptions;
pub(crate) use fold::Folds;
pub use norm::BatchNormOptions;
pub use pool::PoolOptions;

use crate::{NnError, Var};

/// The axes of a channels-last picture batch, `[n, h, w, c]`.
pub(crate) fn nhwc(what: &str, x: &Var) -> Result<[usize; 4], NnError> {
    match *x.shape() {
        [n, h, w, c] => Ok([n, h, w, c]),
        ref other => Err(NnError::shape(what, "[n, h, w, c]", other)),
    }
}
