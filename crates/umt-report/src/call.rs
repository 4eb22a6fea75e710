//! How a run was asked for.

/// How a run was asked for.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The command line.
    pub command: String,
    /// Whether `[quick]` was merged: such numbers say nothing about methods.
    pub quick: bool,
}
