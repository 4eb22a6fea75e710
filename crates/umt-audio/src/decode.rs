//! Bytes to a waveform.

use crate::{
    container::{self, Container},
    demux, quiet, wav,
    waveform::Waveform,
};
use std::{io::Read, path::Path};
use umt_media::{Ffmpeg, Limits, MediaError, ffmpeg_failed};

/// Decodes wav, mp3, flac, ogg vorbis, or AAC-LC in mp4, m4a, mkv or its own framing.
///
/// The container is told from the first bytes; `extension` only names the file in an error.
/// Encoder delay and padding are dropped where the file states them: edit list of mp4 (1,024 samples
/// of AAC without one), codec delay of matroska, the LAME tag of mp3, the last page of ogg.
///
/// # Errors
/// [`MediaError::Missing`] if there is no audio in the file, [`MediaError::Limit`] before memory
/// is set aside for more than `limits` allow or a recording of this many bytes can hold,
/// [`MediaError::Unsupported`] names a codec that is not read, and [`MediaError::Malformed`] for all
/// else, a file that ends early included.
/// Not noticed is a cut at exactly a fragment of a fragmented mp4, at a cluster of a live matroska
/// stream, or at a frame of an mp3 without a Xing tag: nothing in such a file states its length.
pub fn decode(bytes: &[u8], extension: Option<&str>, limits: &Limits) -> Result<Waveform, MediaError> {
    Limits::check("audio file size", bytes.len() as u64, limits.max_file_bytes)?;
    let (container, body) = container::inspect(bytes, extension, limits)?;
    let wave = match container {
        Container::Wav => wav::decode(body, limits)?,
        // The decoders are fuzzed, yet a panic in one of them must not end a run of days.
        _ => quiet::catch(|| demux::run(&container, body, limits))
            .unwrap_or_else(|| Err(MediaError::malformed("audio stream", "the decoder gave up")))?,
    };
    if wave.is_empty() {
        return Err(MediaError::Missing { what: "audio sample (the track is empty)".into() });
    }
    if wave.channels.iter().flatten().any(|x| !x.is_finite()) {
        return Err(MediaError::malformed("audio stream", "a sample is not a finite number"));
    }
    Ok(wave)
}

/// [`decode`] for the file at `path`, whose content is `bytes`; what that does not support is read by
/// the installed `ffmpeg` command.
///
/// # Errors
/// As [`decode`]. [`MediaError::Unsupported`] names the codec and the command that converts the file,
/// where `ffmpeg` would be needed and is not installed.
pub fn decode_file(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Waveform, MediaError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match decode(bytes, extension, limits) {
        Err(MediaError::Unsupported { what, reason }) => {
            let read = by_ffmpeg(&Ffmpeg::default(), path, bytes.len(), limits)?;
            let read = read.map(|wave| Waveform { by_ffmpeg: true, ..wave });
            read.ok_or(MediaError::Unsupported { what, reason })
        }
        result => result,
    }
}

/// The first audio stream, at its own rate with all its channels, through a wav of floats.
fn by_ffmpeg(ffmpeg: &Ffmpeg, path: &Path, size: usize, limits: &Limits) -> Result<Option<Waveform>, MediaError> {
    const HEADERS: u64 = 1 << 16;
    let most = limits.samples_of(size);
    let arguments = ["-map", "0:a:0", "-vn", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"];
    let mut silent = false;
    let message = |line: &str| silent |= line.contains("matches no streams");
    let wav = ffmpeg.run(path, &arguments, limits, message, |output| {
        let mut wav = Vec::new();
        let bytes = most.saturating_mul(4).saturating_add(HEADERS);
        output.take(bytes + 1).read_to_end(&mut wav).map_err(|error| ffmpeg_failed(path, error.to_string()))?;
        Limits::check("audio length in samples", wav.len() as u64 / 4, bytes / 4)?;
        Ok(wav)
    });
    if silent {
        return Err(MediaError::Missing { what: "audio track".into() });
    }
    match wav? {
        Some(wav) if wav.is_empty() => Err(ffmpeg_failed(path, "ffmpeg decodes no audio")),
        wav => wav.map(|wav| decode(&wav, Some("wav"), &Limits { max_file_bytes: u64::MAX, ..*limits })).transpose(),
    }
}
