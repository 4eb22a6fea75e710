//! From predictions and frozen features to the numbers of a results table.
//!
//! What it holds: classification and segmentation [`metrics`], the [`probe`] (multinomial logistic regression on
//! frozen features, the diagnostic of Modality Failure), the uni-modal [`ensemble`],
//! [`summary`] over seeds, [`paired`] differences with bootstrap intervals, the [`predictions`]
//! of a stage as a file, and [`results`] with its human [`tables`].
//!
//! The one decision: everything works over plain slices (`logits: [samples, classes]`,
//! `features: [samples, width]`, row-major `f32`, and `labels: [samples]`), validated once on the
//! way in. No tensor library is needed, sums run in an order that depends on the shapes alone, and
//! so no figure depends on how many threads computed it.
//!
//! ```
//! use umt_eval::{metrics, Scores};
//!
//! // Four samples, three classes; the last sample is wrong.
//! let logits = [4.0, 1.0, 0.0,  0.0, 3.0, 1.0,  1.0, 0.0, 2.0,  2.0, 1.0, 0.0];
//! let labels = [0, 1, 2, 2];
//! let scores = Scores::new(&logits, 3, &labels)?;
//! assert_eq!(metrics::by_id("top1")?.of_samples(&scores)?, 0.75);
//! assert_eq!(metrics::top_k::top_k(&scores, 3)?, 1.0);
//! # Ok::<(), umt_eval::EvalError>(())
//! ```

mod confusion;
pub mod clusters;
pub mod diagnosis;
pub mod ensemble;
mod error;
mod features;
pub mod metrics;
pub mod difference;
pub mod levels;
mod normal;
pub mod paired;
pub mod tallies;
pub mod predictions;
pub mod probe;
mod ranking;
pub mod results;
mod scores;
pub mod summary;
mod table;
mod methods;
pub mod tables;

pub use confusion::Confusion;
pub use error::EvalError;
pub use features::Features;
pub use predictions::Predictions;
pub use probe::{Fitted, LinearModel, LinearProbe, ProbeConfig};
pub use results::{Expectation, FailedRow, PairedRow, Results, Row, SummaryRow};
pub use scores::Scores;
pub use table::Table;
