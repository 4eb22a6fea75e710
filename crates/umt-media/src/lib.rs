//! What a modality is, and how much of a file may be read.
//!
//! The one decision: decoders are pure functions of bytes and [`Limits`]. Whatever a header
//! declares is compared with the limits *before* memory is set aside, so a 65-byte file cannot ask
//! for gigabytes. Everything a decoder can say about bad input is a [`MediaError`]. What no decoder
//! here reads may be read by an installed command, which [`Ffmpeg`] alone starts.
//!
//! ```
//! use umt_media::{Array, Modality};
//! let spectrogram = Array::zeros(vec![64, 151]);
//! assert_eq!(spectrogram.data.len(), 9664);
//! assert_eq!("video".parse::<Modality>(), Ok(Modality::Video));
//! ```

mod array;
mod error;
mod ffmpeg;
mod limits;
mod modality;

pub use array::Array;
pub use error::MediaError;
pub use ffmpeg::{Ffmpeg, malformed as ffmpeg_failed};
pub use limits::{Limits, open_regular, read_bounded};
pub use modality::Modality;
