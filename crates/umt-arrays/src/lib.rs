//! The diagnosis of any multi-modal model from arrays: which encoder fails, by how much, and what to do.
//!
//! The one decision: a model is known by what a few lines of Python can save of it, features, logits and labels by name
//! ([`NAMES`]), as `.npy` files in a folder, one `.npz` or one `.safetensors`. No network is needed, so the model may be
//! of any framework, its modalities of any name.
//!
//! ```
//! use std::collections::BTreeMap;
//! use umt_arrays::{ModelArrays, NamedArray, Options, Values, diagnose};
//! # let column = |rows: usize, f: &dyn Fn(usize) -> f32| NamedArray {
//! #     shape: vec![rows, 1], values: Values::Float((0..rows).map(f).collect()) };
//! // Labels 0 and 1 in turn; the teacher's feature is the label, the joint model's encoder sees it on every third sample.
//! let labels = NamedArray { shape: vec![90], values: Values::Int((0..90).map(|i| i % 2).collect()) };
//! let teacher = column(90, &|i| (i % 2) as f32);
//! let inside = column(90, &|i| if i % 3 == 0 { (i % 2) as f32 } else { 0.5 });
//! let mut arrays = BTreeMap::new();
//! for split in ["train", "test"] {
//!     arrays.insert(format!("labels.{split}"), labels.clone());
//!     arrays.insert(format!("features.audio.{split}"), inside.clone());
//!     arrays.insert(format!("teacher.audio.{split}"), teacher.clone());
//! }
//! let options = Options { name: "mine".into(), margin: 0.02, probe: Default::default() };
//! let found = diagnose(&ModelArrays::new(arrays)?, &options)?;
//! assert!(found.verdict.words[0].starts_with("The audio encoder fails"));
//! # Ok::<(), umt_arrays::ArrayError>(())
//! ```

mod diagnose;
mod roles;
mod files;
mod npy;
mod values;
mod error;

pub use diagnose::{Diagnosis, Options, diagnose};
pub use error::ArrayError;
pub use files::{NamedArray, read_arrays};
pub use roles::{Matrix, ModelArrays, NAMES, SPLITS, SplitArrays};
pub use values::Values;
