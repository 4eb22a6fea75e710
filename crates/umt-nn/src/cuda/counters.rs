//! What a device was asked for, counted.

use crate::DeviceCounts;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts of one device since it was opened.
#[derive(Default)]
pub(super) struct Counters {
    lookups: AtomicU64,
    plain_convolutions: AtomicU64,
    copies: AtomicU64,
    launches: AtomicU64,
    allocations: AtomicU64,
    waits: AtomicU64,
    waited: AtomicU64,
}

impl Counters {
    /// cuDNN was asked which algorithms it has for a convolution.
    #[cfg(feature = "cudnn")]
    pub(super) fn lookup(&self) {
        self.lookups.fetch_add(1, Relaxed);
    }

    /// A shape that cuDNN has no algorithm for.
    #[cfg(feature = "cudnn")]
    pub(super) fn plain_convolution(&self) {
        self.plain_convolutions.fetch_add(1, Relaxed);
    }

    /// A copy between host and device was queued.
    pub(super) fn copy(&self) {
        self.copies.fetch_add(1, Relaxed);
    }

    pub(super) fn launch(&self) {
        self.launches.fetch_add(1, Relaxed);
    }

    /// The driver was asked for memory.
    pub(super) fn allocation(&self) {
        self.allocations.fetch_add(1, Relaxed);
    }

    /// The host waited for the device.
    pub(super) fn wait(&self, time: Duration) {
        self.waits.fetch_add(1, Relaxed);
        self.waited.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn so_far(&self) -> DeviceCounts {
        DeviceCounts {
            lookups: self.lookups.load(Relaxed),
            plain_convolutions: self.plain_convolutions.load(Relaxed),
            copies: self.copies.load(Relaxed),
            launches: self.launches.load(Relaxed),
            allocations: self.allocations.load(Relaxed),
            waits: self.waits.load(Relaxed),
            waited: Duration::from_nanos(self.waited.load(Relaxed)),
        }
    }
}
