//! Recipe to checked plan to run: the one place where all parts meet.
//!
//! The decision that shaped it: a stage is found by the hash of everything that decides its result
//! ([`plan`]), never by a path or a date. A finished stage is therefore reused wherever it fits, a changed
//! setting repeats exactly what depends on it, and a row of a table can come only from a finished stage.
//!
//! ```
//! use umt_recipe::{Overrides, Recipe};
//! let text = r#"
//!     about = "one modality alone"
//!     seeds = [1]
//!     [data]
//!     set = "synthetic-av"
//!     [data.audio]
//!     seconds = 1.0
//!     front-end = { kind = "log-mel" }
//!     [encoder]
//!     audio = { kind = "resnet18", channels = 1 }
//!     [train]
//!     epochs = 3
//!     [[stage]]
//!     id = "teacher.audio"
//!     task = { kind = "single", modality = "audio" }
//! "#;
//! let over = Overrides { quick: false, sets: vec!["train.epochs=5".into()] };
//! let loaded = Recipe::parse("mine", "mine.toml", text, &over)?;
//! assert_eq!(loaded.recipe.stage[0].train.epochs, Some(5));
//!
//! let broken = Recipe::parse("mine", "mine.toml", &text.replace("epochs", "epoch"), &Overrides::default());
//! let message = broken.map(|_| ()).unwrap_err().to_string();
//! assert!(message.starts_with("mine.toml:12:5: unknown field `epoch`, expected one of `epochs`"), "{message}");
//! # Ok::<(), umt_recipe::RecipeError>(())
//! ```

mod recipe;
mod source;
mod claim;
mod check;
mod objective;
mod graph;
pub mod plan;
mod run;
mod search;
mod opened;
mod evaluate;
mod diagnose;
mod work;
mod course;
mod folder;
mod material;
mod pass;
mod segment;
mod record;
mod report;
mod scenes;
mod segmentation;
mod compare;
pub mod pictures;
mod watch;
mod weights;
mod error;

pub use claim::{Claim, Figure, Relation, Side};
pub use diagnose::{DiagnoseOptions, Diagnosis, diagnose};
pub use error::{Location, RecipeError};
pub use evaluate::{EvalOptions, evaluate};
pub use graph::Unit;
pub use plan::Plan;
pub use recipe::{Data, Expect, Loaded, Missing, Overrides, Recipe, Stage, Task};
pub use record::{Record, Samples};
pub use report::{Report, render, render_results};
pub use run::{Options, reproduce};
pub use search::{Axis, Search, Text, Trial, search};
pub use source::distance;
pub use umt_encoders::pretrained::known::{Repository, repositories as known_weights};
pub use watch::{Now, Unwatched, Watch};
pub use weights::{Weights, fetch_weights};
