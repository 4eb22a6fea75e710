//! How a checked recipe runs: finished stages are reused, damaged ones repeated, unfinished ones resumed.
//!
//! A stage has a folder, which counts as finished once it has its record; nothing else tells readers of a stage what it
//! is. What is reported of a run is another crate's.
//!
//! ```
//! use umt_run::record::Figure;
//! let top1 = Figure::whole("test", "top1", 0.75);
//! assert_eq!((top1.value, top1.given), (0.75, None));
//! ```

mod error;
mod watch;
pub mod memory;
pub mod record;
pub mod folder;
mod done;
pub mod frames;
mod weights;
mod material;
pub mod pass;
pub mod predict;
pub mod export;
mod segmented;
mod course;
mod work;
mod run_record;
mod run;
mod opened;
mod search;
mod evaluate;

pub use done::Done;
pub use error::RunError;
pub use evaluate::{EvalOptions, Evaluated, evaluate};
pub use opened::Opened;
pub use record::{Record, Samples};
pub use run::{Failed, Finished, Options, Stages, run, run_in};
pub use run_record::RunRecord;
pub use search::{Axis, Search, Text, Trial, search};
pub use watch::{Now, Unwatched, Watch};
pub use weights::fetch_weights;
