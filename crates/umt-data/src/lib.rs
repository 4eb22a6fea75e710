//! Data sets by name, splits, augmentation, the cache of decoded samples, and the loader.
//!
//! The one decision that shaped it: everything between a list of files and a batch is a pure function
//! of settings and keys. Each clip is decoded once into one shard file; batch `b` of epoch `e` follows
//! from (seed, e, b) alone, and augmentation from (seed, e, sample id). So nothing about data is ever
//! saved in a checkpoint, threads only prepare batches ahead, and a run resumes at any step.
//!
//! ```
//! use std::sync::Arc;
//! use umt_data::{Cache, DataConfig, Loader, LoaderConfig, Split, open};
//! use umt_media::Modality;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = DataConfig::synthetic_av();
//! (config.synthetic.train, config.synthetic.test) = (200, 40);
//! let mut set = open("synthetic-av", None, &config)?;
//! let counts = set.split_validation(1, &config.validation)?;
//! assert_eq!(counts.test, 40);
//!
//! let folder = tempfile::tempdir()?;
//! let store = umt_store::Store::open(folder.path())?;
//! let cache = Arc::new(Cache::build(&set, &config, folder.path(), &mut |_| {}, &store)?);
//! let settings = LoaderConfig { batch: 16, seed: 1, train: true, drop_last: true, ..Default::default() };
//! let loader = Loader::new(cache.clone(), cache.indices(Split::Train), settings)?;
//! let batch = loader.epoch(0, 0).next().ok_or("no batch")??;
//! assert_eq!(batch.labels.len(), 16);
//! assert_eq!(batch.inputs[&Modality::Audio].shape, [16, 32, 48, 1]);
//! assert_eq!(batch.inputs[&Modality::Video].shape, [16, 3, 32, 32, 3]);
//! # Ok(())
//! # }
//! ```

mod audio_input;
mod config;
mod dense;
mod dataset;
mod samples;
mod files;
mod problem;
mod finding;
mod defects;
mod rows;
mod kinds;
mod split;
mod decode;
mod scene;
mod cache;
mod cache_key;
mod shard;
mod ordered;
mod augment;
mod resized_crop;
mod augment_scene;
mod batch;
mod loader;
mod check;
mod synth;
mod rooms;
mod generate;
mod survey;
mod facts;
mod error;

pub use audio_input::{AudioInput, AudioNormalise, AudioWindow};
pub use batch::Batch;
pub use cache::{Cache, Progress};
pub use check::{CheckOptions, CheckReport, Plan, Usage, check, check_with};
pub use config::{AugmentConfig, DataConfig, OnError, ValidationConfig, VideoInput, VideoNormalise};
pub use dataset::{Dataset, DenseForm, Input, Lists, Source, Split};
pub use decode::{AudioData, Decoded, Failure, Sums, VideoData};
pub use defects::Defects;
pub use dense::{DenseInput, DepthInput, DepthNormalise, LabelMaps, RgbInput};
pub use error::DataError;
pub use facts::{AudioFacts, Facts, facts};
pub use finding::{Finding, FindingKind, Findings};
pub use generate::{Frames, forms, generate};
pub use kinds::{KINDS, Kind, is_manifest, listed, open};
pub use loader::{Epoch, Loader, LoaderConfig};
pub use problem::{Problem, Skipped};
pub use resized_crop::ResizedCrop;
pub use rooms::SyntheticRoomsConfig;
pub use samples::{Sample, Samples};
pub use scene::{DepthPixels, MapPixels, RgbPixels, SceneData};
pub use split::{NO_GROUPS, SPLIT_SEED, SplitCounts};
pub use survey::{Survey, SurveyRow, survey};
pub use synth::SyntheticAvConfig;
pub use umt_depth::DepthCode;
