//! What an experiment is: a recipe in TOML, checked as a whole, and its plan of keyed stages. Nothing runs here.
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

mod error;
mod source;
mod sizes;
mod weights;
mod claim;
mod problem;
mod recipe;
mod read;
mod other_data;
mod graph;
mod networks;
mod check;
mod objective;
mod dense;
mod starter;
pub mod plan;

pub use claim::{Claim, Figure, Relation, Side};
pub use error::{Location, RecipeError};
pub use graph::{Unit, glob};
pub use networks::network_config;
pub use other_data::short_name;
pub use plan::Plan;
pub use recipe::{ClassWeights, Data, EnsembleWeights, Expect, Loaded, Loss, Missing, Overrides, Recipe, Stage, Task};
pub use source::{distance, list};
pub use starter::starter;
pub use umt_encoders::pretrained::known::{Repository, repositories as known_weights};
pub use weights::Weights;
