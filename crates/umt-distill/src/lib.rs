//! Training objectives: the task alone, Uni-Modal Teachers, and the methods they are compared with.
//!
//! The one decision: an objective is a value that edits the loss of one forward pass. It sees features, logits and
//! targets as tensors of candle's graph ([`Pass`]); it may add to the scalar or replace it, ask for gradients of several
//! scalars apart, change gradients before the optimiser sees them, and remember figures in buffers among the network's
//! parameters ([`umt_fusion::Loss`]). It never sees optimisers or files, so a method is one short file, every checkpoint
//! holds its state, and [`NetworkTask`] makes any of them trainable by the one loop.
//! Where each pixel has a class ([`Labels::Pixels`]) the maps stay on the tape, and terms of the loss bring their gradients
//! along: maps are large. Objectives are the same; one that has no meaning there says so by name.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use std::collections::BTreeMap;
//! use umt_distill::{Feature, ObjectiveConfig, Targets, loss};
//! use umt_fusion::{Concat, Encoded, Outputs, Weights};
//! use umt_media::Modality;
//! use umt_nn::{Array, Param, Params};
//! use umt_train::StepContext;
//! // A classifier of two classes on two features, all its weights zero.
//! let mut params = Params::default();
//! params.insert("head.weight", Param::weight(Array::zeros(&[2, 2])));
//! params.insert("head.bias", Param::weight(Array::zeros(&[2])));
//! let weights = Weights::of(&params)?;
//! let tensor = |values: &[f32]| Tensor::from_slice(values, (1, 2), &Device::Cpu);
//! let encoded = Encoded::of(BTreeMap::from([(Modality::Audio, tensor(&[1.0, 3.0])?)]));
//! let outputs = Outputs::new(&Concat, &weights, &params, encoded)?;
//!
//! let targets = Targets {
//!     teachers: BTreeMap::from([(Modality::Audio, tensor(&[1.0, 1.0])?)]),
//!     ..Targets::of(Tensor::from_slice(&[0u32], 1, &Device::Cpu)?)
//! };
//! let umt = ObjectiveConfig::Feature(Feature::new(10.0)).build();
//! let context = StepContext { step: 0, total: 1, epoch: 0, seed: 1 };
//! let loss = loss(umt.as_ref(), outputs, &targets, context)?;
//! // Cross-entropy ln 2, and 10 times the mean of (0, 4).
//! assert!((loss.value.to_scalar::<f32>()? - (2f32.ln() + 20.0)).abs() < 1e-5);
//! assert_eq!(loss.figures["distance.audio"].to_scalar::<f32>()?, 2.0);
//! # Ok::<(), umt_nn::NnError>(())
//! ```

mod config;
mod labels;
mod network_task;
mod objective;
mod pixels;
mod scales;

mod task;
mod feature;
mod logit_kd;
mod aux_heads;
mod ogm;
mod ogm_ge;
mod agm;
mod pmr;
mod g_blend;
mod mmpareto;
mod mmcosine;
mod dropout;
mod mla;
mod smp;
mod dgl;
mod opm;
mod tcmax;
mod g2d;
mod cml;
mod combined;

mod heads;
mod scores;

pub use agm::Agm;
pub use aux_heads::AuxHeads;
pub use cml::Cml;
pub use combined::Combined;
pub use config::ObjectiveConfig;
pub use dgl::Dgl;
pub use dropout::{Dropout, Fill};
pub use feature::{Distance, Feature, Ramp, Scale};
pub use g_blend::{GBlend, JOINT, Losses, blend};
pub use g2d::G2d;
pub use labels::{Labels, PixelLoss};
pub use logit_kd::LogitKd;
pub use mla::Mla;
pub use mmcosine::MmCosine;
pub use mmpareto::MmPareto;
pub use network_task::NetworkTask;
pub use objective::{Needs, Objective, PREFIX, Pass, Shape, Targets, loss};
pub use ogm::Ogm;
pub use ogm_ge::OgmGe;
pub use opm::Opm;
pub use pixels::predicted_map;
pub use pmr::Pmr;
pub use scales::{ScaleLosses, multi_scale};
pub use smp::Smp;
pub use task::TaskOnly;
pub use tcmax::TcMax;
