//! A check: the same work at two places, value for value.

use serde::Serialize;
use umt_nn::{Array, NnError, Place};

/// What came out, by name.
pub type Values = Vec<(String, Vec<f32>)>;

type Work = Box<dyn Fn(&Place) -> anyhow::Result<Values>>;

/// Work that gives the same values everywhere, up to rounding.
pub struct Check {
    pub name: String,
    /// Largest difference against the largest value of the same array.
    tolerance: f64,
    work: Work,
}

/// What a check found.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub name: String,
    pub passed: bool,
    /// Largest difference over all arrays, each relative to its largest value on the host.
    pub error: f64,
    pub tolerance: f64,
    /// Where it is.
    pub array: String,
    /// Values compared.
    pub values: usize,
    /// What went wrong before there were values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Check {
    pub fn new(
        name: impl Into<String>,
        tolerance: f64,
        work: impl Fn(&Place) -> anyhow::Result<Values> + 'static,
    ) -> Self {
        Self { name: name.into(), tolerance, work: Box::new(work) }
    }

    /// Does the work on the host and at a place.
    pub fn compare(&self, place: &Place) -> Outcome {
        self.both(self.name.clone(), self.tolerance, [&Place::Host, place])
    }

    /// Does the work twice at a place: every bit is to be the same.
    pub fn repeat(&self, place: &Place) -> Outcome {
        self.both(format!("{}, twice", self.name), 0.0, [place, place])
    }

    /// A failure at either place is a failed check, and the next one goes on.
    fn both(&self, name: String, tolerance: f64, [first, second]: [&Place; 2]) -> Outcome {
        let (array, failure) = (String::new(), None);
        let mut outcome = Outcome { name, passed: true, error: 0.0, tolerance, array, values: 0, failure };
        match ((self.work)(first), (self.work)(second)) {
            (Ok(a), Ok(b)) => outcome.judge(&a, &b),
            (Err(error), _) => outcome.fail(format!("{}: {error:#}", first.name())),
            (_, Err(error)) => outcome.fail(format!("{}: {error:#}", second.name())),
        }
        outcome
    }
}

impl Outcome {
    fn fail(&mut self, reason: String) {
        (self.passed, self.failure) = (false, Some(reason));
    }

    pub fn judge(&mut self, host: &[(String, Vec<f32>)], device: &[(String, Vec<f32>)]) {
        if host.len() != device.len() {
            return self.fail(format!("{} arrays on the host, {} on the device", host.len(), device.len()));
        }
        for ((name, a), (other, b)) in host.iter().zip(device) {
            if name != other || a.len() != b.len() {
                return self.fail(format!("{name} of {} values against {other} of {}", a.len(), b.len()));
            }
            let largest = a.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
            for (x, y) in a.iter().zip(b) {
                let difference = f64::from(x - y).abs() / largest.max(1e-20);
                if difference > self.error || difference.is_nan() {
                    (self.error, self.array) = (difference, name.clone());
                }
            }
            self.values += a.len();
        }
        // False for a NaN.
        self.passed = self.failure.is_none() && self.error <= self.tolerance;
    }
}

/// Values that differ by place, from a stream keyed by `id`, of about unit size.
pub fn noise(shape: &[usize], id: u64) -> Array {
    let mut random = umt_random::stream(3, "gpu.check", 0, id);
    let mut array = Array::unspecified(shape);
    array.make_mut().iter_mut().for_each(|v| *v = random.normal());
    array
}

/// [`noise`] at a place.
pub fn noise_at(place: &Place, shape: &[usize], id: u64) -> Result<Array, NnError> {
    noise(shape, id).to_place(place)
}

/// An array with its name.
pub fn named(name: &str, array: &Array) -> (String, Vec<f32>) {
    (name.to_owned(), array.as_slice().to_vec())
}
