//! Where batches come from.

use umt_data::{Batch, DataError, Loader};

/// One epoch's batches, in order.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Batch, DataError>> + 'a>;

/// A place that batches come from: the loader, or a test's own batches.
///
/// Batch `b` of epoch `e` must be a function of `(e, b)` alone, so that a run can resume at any step. Where a device
/// computes, another thread asks for them.
pub trait BatchSource: Sync {
    /// Batches in each epoch.
    fn batches_per_epoch(&self) -> u64;

    /// Batches `start..` of epoch `epoch`.
    fn epoch(&self, epoch: u64, start: u64) -> Batches<'_>;
}

impl BatchSource for Loader {
    fn batches_per_epoch(&self) -> u64 {
        Loader::batches_per_epoch(self)
    }

    fn epoch(&self, epoch: u64, start: u64) -> Batches<'_> {
        Box::new(Loader::epoch(self, epoch, start))
    }
}
