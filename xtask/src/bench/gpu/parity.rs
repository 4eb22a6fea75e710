//! A check: the same work at two places, value for value.

use serde::Serialize;
use umt_nn::{Array, Device, NnError};

/// What came out, by name.
pub type Values = Vec<(String, Vec<f32>)>;

type Work = Box<dyn Fn(&Device) -> anyhow::Result<Values>>;

/// How far two arrays are apart.
#[derive(Clone, Copy)]
pub enum Distance {
    /// Largest difference against the largest value.
    Largest,
    /// Norm of the difference against the norm, of all arrays as one, and a [`SHARE`] of each one's. For gradients of whole networks: rounding puts
    /// a value here and there on the other side of a ReLU, which changes a few gradients by much, the more so the smaller the array, while a
    /// mistake changes the whole of one.
    Norm,
}

const SHARE: f64 = 0.2;

/// Work that gives the same values everywhere, up to rounding.
pub struct Check {
    pub name: String,
    /// Largest distance of an array between host and device.
    tolerance: f64,
    distance: Distance,
    work: Work,
}

/// What a check found.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub name: String,
    pub passed: bool,
    /// Largest distance of an array, relative to its values on the host.
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
        work: impl Fn(&Device) -> anyhow::Result<Values> + 'static,
    ) -> Self {
        Self { name: name.into(), tolerance, distance: Distance::Largest, work: Box::new(work) }
    }

    /// Compares norms instead of the largest values: all arrays as one, and each by itself less strictly.
    pub fn by_norm(self) -> Self {
        Self { distance: Distance::Norm, ..self }
    }

    /// Does the work on the host and at a device.
    pub fn compare(&self, device: &Device) -> Outcome {
        self.both(self.name.clone(), self.tolerance, [&Device::Cpu, device])
    }

    /// Does the work twice at a device: every bit is to be the same.
    pub fn repeat(&self, device: &Device) -> Outcome {
        self.both(format!("{}, twice", self.name), 0.0, [device, device])
    }

    /// A failure at either device is a failed check, and the next one goes on.
    fn both(&self, name: String, tolerance: f64, [first, second]: [&Device; 2]) -> Outcome {
        let (array, failure) = (String::new(), None);
        let mut outcome = Outcome { name, passed: true, error: 0.0, tolerance, array, values: 0, failure };
        match ((self.work)(first), (self.work)(second)) {
            (Ok(a), Ok(b)) => outcome.judge(&a, &b, self.distance),
            (Err(error), _) => outcome.fail(format!("{}: {error:#}", first.name())),
            (_, Err(error)) => outcome.fail(format!("{}: {error:#}", second.name())),
        }
        outcome
    }
}

impl Outcome {
    /// Keeps an error if it is the largest, or no number.
    fn see(&mut self, array: &str, error: f64) {
        if error > self.error || error.is_nan() {
            (self.error, self.array) = (error, array.to_owned());
        }
    }

    fn fail(&mut self, reason: String) {
        (self.passed, self.failure) = (false, Some(reason));
    }

    pub fn judge(&mut self, host: &[(String, Vec<f32>)], device: &[(String, Vec<f32>)], distance: Distance) {
        if host.len() != device.len() {
            return self.fail(format!("{} arrays on the host, {} on the device", host.len(), device.len()));
        }
        let mut whole = [0.0; 2];
        for ((name, a), (other, b)) in host.iter().zip(device) {
            if name != other || a.len() != b.len() {
                return self.fail(format!("{name} of {} values against {other} of {}", a.len(), b.len()));
            }
            let size = |values: &mut dyn Iterator<Item = f64>| match distance {
                Distance::Largest => {
                    values.fold(0.0, |m: f64, v| if v.is_nan() || m.is_nan() { f64::NAN } else { m.max(v.abs()) })
                }
                Distance::Norm => values.map(|v| v * v).sum::<f64>().sqrt(),
            };
            let difference = size(&mut a.iter().zip(b).map(|(x, y)| f64::from(x - y)));
            let all = size(&mut a.iter().map(|&v| f64::from(v)));
            let share = if matches!(distance, Distance::Norm) { SHARE } else { 1.0 };
            self.see(name, share * difference / all.max(1e-20));
            whole = [whole[0] + difference * difference, whole[1] + all * all];
            self.values += a.len();
        }
        if matches!(distance, Distance::Norm) {
            self.see("all together", (whole[0] / whole[1].max(1e-20)).sqrt());
        }
        // False for a NaN.
        self.passed = self.failure.is_none() && self.error <= self.tolerance;
    }
}

/// Values that differ by index, from a stream keyed by `id`, of about unit size.
pub fn noise(shape: &[usize], id: u64) -> Array {
    let mut random = umt_random::stream(3, "gpu.check", 0, id);
    let mut array = Array::uninit(shape);
    array.make_mut().iter_mut().for_each(|v| *v = random.normal());
    array
}

/// [`noise`] at a device.
pub fn noise_at(device: &Device, shape: &[usize], id: u64) -> Result<Array, NnError> {
    noise(shape, id).to_device(device)
}

/// An array with its name.
pub fn named(name: &str, array: &Array) -> (String, Vec<f32>) {
    (name.to_owned(), array.as_slice().to_vec())
}
