//! What can be wrong with the numbers handed to an evaluation.

/// Errors of this crate; each names what was wrong and the numbers involved.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// A metric was given what it does not read.
    #[error("{metric} reads {reads}")]
    Input {
        /// The metric.
        metric: &'static str,
        /// What it reads.
        reads: &'static str,
    },
    /// Nothing to evaluate.
    #[error("{what}: no samples to evaluate")]
    Empty {
        /// The quantity that was empty.
        what: &'static str,
    },
    /// Lengths that do not belong together.
    #[error("{what}: expected {expected} values, got {got}")]
    Shape {
        /// The quantity with the wrong length.
        what: &'static str,
        /// The length that fits the other inputs.
        expected: usize,
        /// The length found.
        got: usize,
    },
    /// A label that names no class.
    #[error("sample {sample} has label {label}, but there are only {classes} classes (0..{classes})")]
    Label {
        /// Row of the sample.
        sample: usize,
        /// Its label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// NaN or infinity.
    #[error("{what}: sample {sample}, column {column} is {value}, not a finite number")]
    NonFinite {
        /// The quantity that holds the value.
        what: &'static str,
        /// Row of the sample.
        sample: usize,
        /// Column: a class or a feature.
        column: usize,
        /// The value itself.
        value: f32,
    },
    /// A figure that is undefined when every sample has the same label.
    #[error("{what} is undefined: all samples have the same label {label}")]
    OneClass {
        /// The figure or procedure.
        what: &'static str,
        /// The one label.
        label: u32,
    },
    /// `k` does not suit the number of classes.
    #[error("top-{k} needs k between 1 and the number of classes, {classes}")]
    TopK {
        /// Requested k.
        k: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A setting outside its range.
    #[error("{name}: {reason}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// A metric that does not exist.
    #[error("unknown metric \"{name}\"; known: {known}")]
    UnknownMetric {
        /// The name asked for.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
    /// Bytes or tensors that are not what they claim to be.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// Where it departs from its form.
        reason: String,
    },
}
