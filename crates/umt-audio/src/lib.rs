//! Audio bytes to waveforms, and waveforms to spectrograms.
//!
//! The one decision: everything here is a pure function of bytes (or samples) and of explicit
//! limits. Nothing here opens a file, and a file that ends before its own headers say so is an error,
//! never silence: a network would learn the silence. [`decode_file`] alone may start a program: the
//! installed `ffmpeg`, for codecs that are not read here.
//!
//! The steps of a clip, each usable alone: [`decode`] to a [`Waveform`] at the file's own rate,
//! [`Waveform::mono`], [`resample`], [`fit`] to a fixed length, and [`FrontEnd::run`], which turns
//! samples into a `[bins, frames]` array as the published front-ends do. Spectra are computed in
//! `f64`: bins 100 dB under the loudest carry the logarithm of the weak parts of speech, and an
//! `f32` transform is wrong there.
//!
//! ```
//! use umt_audio::{Fill, FrontEnd, FrontEndConfig, Window, fit};
//! // A second of 440 Hz becomes three seconds, and the 64-band log-mel of 151 frames a 1.5 s clip.
//! let tone: Vec<f32> =
//!     (0..16_000).map(|n| (n as f32 * 440.0 * std::f32::consts::TAU / 16_000.0).sin()).collect();
//! let clip = fit(&tone, 24_000, Window::Start, Fill::Tile);
//! assert_eq!(clip[16_000], tone[0]);
//! let mut front_end = FrontEnd::new(&FrontEndConfig::log_mel(16_000, 64))?;
//! let spectrogram = front_end.run(&clip);
//! assert_eq!(spectrogram.shape, [64, 151]);
//! # Ok::<(), umt_media::MediaError>(())
//! ```

mod aac;
mod config;
mod container;
mod decode;
mod demux;
mod error;
mod fit;
mod front_end;
mod mel;
mod mp4;
mod mpeg;
mod quiet;
mod resample;
mod stft;
mod vorbis;
mod wav;
mod waveform;

pub use config::{FrontEndConfig, MelNorm, MelScale, Padding};
pub use decode::{decode, decode_file};
pub use fit::{Fill, Window, fit};
pub use front_end::FrontEnd;
pub use resample::{Resampler, resample};
pub use waveform::Waveform;
