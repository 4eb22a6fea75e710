//! The one training loop of the project.
//!
//! The decision that shaped it: a method is a value passed to the loop, never a loop of its own. Whatever is trained is a
//! [`Task`] with two verbs, a step on a batch and the evaluation of a batch; [`train`] does everything else, once: order,
//! guard against non-finite values, clipping, schedule, optimiser, validation, metrics, checkpoints, exact resume and a
//! clean stop. What decides the result is a function of the settings, the seed and the step number, so a run stopped
//! anywhere and resumed ends in the same bytes as one that ran through.
//!
//! ```
//! use umt_train::{Length, TrainConfig};
//! let config: TrainConfig = serde_json::from_str(r#"{ "epochs": 3, "batch": 32, "lr": 0.05 }"#)?;
//! assert_eq!(config.length()?, Length::Epochs(3));
//! assert_eq!(config.total_steps(100)?, 300);
//!
//! let both: TrainConfig = serde_json::from_str(r#"{ "epochs": 3, "steps": 10 }"#)?;
//! assert!(both.check().is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod run;
mod task;

mod config;
mod evaluate;
mod feed;
mod guard;
mod session;

mod error;
mod folder;
mod observer;
mod outcome;
mod pace;
mod progress;
mod rows;
mod source;

pub use config::{Length, TrainConfig};
pub use error::TrainError;
pub use evaluate::{Validation, evaluate};
pub use feed::{Feed, each_batch};
pub use observer::{EpochReport, Observer, Silent, StepReport};
pub use outcome::{Env, Kept, Outcome};
pub use rows::EpochRow;
pub use run::train;
pub use source::{BatchSource, Batches};
pub use task::{EpochContext, Evaluation, StepContext, StepOutput, Task};
