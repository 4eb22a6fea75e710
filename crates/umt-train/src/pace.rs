//! How fast steps go and how long they wait.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Time and samples of a number of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pace {
    /// Seconds of the steps, waiting included.
    pub(crate) seconds: f64,
    /// Seconds in which they waited for a batch.
    pub(crate) wait_seconds: f64,
    /// Samples in them.
    pub(crate) samples: u64,
}

impl Pace {
    /// Samples per second; 0 before the first.
    pub(crate) fn samples_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.samples as f64 / self.seconds } else { 0.0 }
    }

    /// The two together.
    pub(crate) fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.wait_seconds += other.wait_seconds;
        self.samples += other.samples;
    }

    /// One step: `begun` before its batch was asked for, `fetched` when the batch was there, done now.
    pub(crate) fn of_step(begun: Instant, fetched: Instant, samples: usize) -> Self {
        let seconds = begun.elapsed().as_secs_f64();
        Self { seconds, wait_seconds: (fetched - begun).as_secs_f64(), samples: samples as u64 }
    }
}
