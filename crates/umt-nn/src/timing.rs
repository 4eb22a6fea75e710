//! Where the time of a step goes: kernels timed by operator and shape, for whoever asks.
//!
//! The record belongs to the calling thread and to one call of [`record`]; without one a kernel looks at one flag.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// All calls of one operator at one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// What was computed.
    pub operator: &'static str,
    /// On which sizes; empty where they do not matter.
    pub shape: String,
    /// How often.
    pub calls: u64,
    /// Wall-clock time of all calls.
    pub time: Duration,
    /// Floating-point operations of all calls, those of the direct algorithm; 0 where memory is the limit.
    pub flops: f64,
    /// Bytes of operands and results of all calls, each counted once.
    pub bytes: f64,
}

/// What one call of a kernel computes.
pub(crate) struct Work {
    pub operator: &'static str,
    pub shape: String,
    pub flops: usize,
    /// Values of operands and results.
    pub floats: usize,
}

impl Work {
    /// A kernel whose limit is memory.
    pub(crate) fn pass(operator: &'static str, shape: String, floats: usize) -> Self {
        Self { operator, shape, flops: 0, floats }
    }
}

thread_local! {
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
    static RECORD: RefCell<Vec<Timed>> = const { RefCell::new(Vec::new()) };
}

/// Ends the record even when the work panics.
struct Ending {
    outer: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        ACTIVE.set(self.outer);
    }
}

/// Does `work` and returns, beside its result, the kernels that this thread called meanwhile, the slowest first. A record within a record
/// takes its kernels for itself.
pub fn record<T>(work: impl FnOnce() -> T) -> (T, Vec<Timed>) {
    let before = RECORD.take();
    let ending = Ending { outer: ACTIVE.replace(true) };
    let result = work();
    drop(ending);
    let mut timed = RECORD.replace(before);
    timed.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| (a.operator, &a.shape).cmp(&(b.operator, &b.shape))));
    (result, timed)
}

/// Runs a kernel, on the record if there is one.
#[inline]
pub(crate) fn timed<T>(describe: impl FnOnce() -> Work, kernel: impl FnOnce() -> T) -> T {
    if !ACTIVE.get() {
        return kernel();
    }
    let started = Instant::now();
    let result = kernel();
    let time = started.elapsed();
    let Work { operator, shape, flops, floats } = describe();
    let (flops, bytes) = (flops as f64, (floats * size_of::<f32>()) as f64);
    RECORD.with_borrow_mut(|all| match all.iter_mut().find(|t| t.operator == operator && t.shape == shape) {
        Some(t) => {
            t.calls += 1;
            t.time += time;
            t.flops += flops;
            t.bytes += bytes;
        }
        None => all.push(Timed { operator, shape, calls: 1, time, flops, bytes }),
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;

    #[test]
    fn calls_are_told_by_operator_and_shape_and_only_when_asked() {
        let (x, mut y) = (vec![1.0; 64], vec![0.0; 64]);
        let mut add = |n: usize| kernels::add_assign(&mut y[..n], &x[..n]);
        add(64);
        let ((), inner) = record(|| {
            add(64);
            add(64);
            assert_eq!(record(|| add(8)).1.len(), 1);
        });
        add(64);
        assert_eq!(inner.len(), 1);
        assert_eq!((inner[0].operator, inner[0].calls, inner[0].bytes), ("sum", 2, 2.0 * 3.0 * 4.0 * 64.0));
        let shape = kernels::ConvShape {
            n: 1,
            h: 4,
            w: 4,
            c: 1,
            k: 2,
            kh: 3,
            kw: 3,
            stride: [1; 2],
            pad: [1; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let ((), told) = record(|| kernels::conv2d(&shape, &x[..16], &x[..18], None, &mut [0.0; 32]));
        assert_eq!(told[0].operator, "convolution");
        assert_eq!(told[0].shape, "1x4x4x1 to 2, 3x3");
        assert_eq!(told[0].flops, 2.0 * 32.0 * 9.0);
    }

    #[test]
    fn a_panic_ends_the_record() {
        assert!(std::panic::catch_unwind(|| record(|| panic!("on purpose"))).is_err());
        assert!(!ACTIVE.get());
    }
}
