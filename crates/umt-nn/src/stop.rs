//! A request to stop, looked at inside a pass: one step of a large network takes many seconds.

use crate::NnError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A flag that somebody else raises; without one nothing stops.
#[derive(Clone, Debug, Default)]
pub struct Stop(Option<Arc<AtomicUsize>>);

impl Stop {
    /// Stops as soon as `flag` is not 0.
    pub fn on(flag: &Arc<AtomicUsize>) -> Self {
        Self(Some(Arc::clone(flag)))
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`NnError::Stopped`] once the flag is raised.
    pub fn check(&self) -> Result<(), NnError> {
        match &self.0 {
            Some(flag) if flag.load(Ordering::Relaxed) != 0 => Err(NnError::Stopped),
            _ => Ok(()),
        }
    }
}
