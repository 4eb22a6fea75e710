//! Operators on the tape, one file each, as methods of [`crate::Tape`].

mod conv;
mod gate;
mod maps;
mod norm;
mod pool;

pub use conv::ConvOptions;
pub(crate) use conv::conv_shape;
pub use norm::BatchNormOptions;
pub(crate) use norm::evaluated;
pub use pool::PoolOptions;

use crate::{NnError, Value};

/// The axes of a channels-last batch of images, `[n, h, w, c]`.
pub(crate) fn nhwc(what: &str, x: &Value) -> Result<[usize; 4], NnError> {
    match *x.shape() {
        [n, h, w, c] => Ok([n, h, w, c]),
        ref other => Err(NnError::shape(what, "[n, h, w, c]", other)),
    }
}
