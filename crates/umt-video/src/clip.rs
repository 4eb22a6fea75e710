//! A clip's bytes to the frames that are wanted.

use crate::{
    decoder::VideoDecoder,
    error::CONVERT,
    frame::{Frame, Orientation, Scaler},
    h264::H264,
    mp4::{self, Track},
    select::{Pick, Select},
};
use umt_media::{Limits, MediaError};

/// The selected frames of an mp4 or mov file with h264, `select.count()` of them in the order they
/// are shown, at `size` (width, height) or as they are.
///
/// Decoding begins at the last key frame that serves, leaves out pictures that nothing depends on,
/// and ends with the last frame wanted; only frames that are wanted are converted and resized.
///
/// # Errors
/// They name the box, or the sample and its byte. Other containers and codecs are
/// [`MediaError::Unsupported`]; [`crate::decode_path`] hands those to ffmpeg.
pub fn decode_clip(
    bytes: &[u8],
    select: &Select,
    pick: Pick,
    size: Option<(usize, usize)>,
    limits: &Limits,
) -> Result<Vec<Frame>, MediaError> {
    let mut scaler = Scaler::new(size, limits)?;
    let track = open(bytes, limits)?;
    let orientation = Orientation::of_matrix(track.matrix)?;
    let (timeline, shown) = track.presentation(limits)?;
    let wanted: Vec<usize> = select.indices(&timeline, pick, limits)?.into_iter().map(|index| shown[index]).collect();
    let mut samples = wanted.clone();
    samples.sort_unstable();
    samples.dedup();
    let mut decoder = h264_decoder(&track, limits)?;
    let mut frames = Vec::with_capacity(samples.len());
    decode_samples(&track, bytes, &mut decoder, &samples, |picture| {
        let frame = Frame { width: picture.width, height: picture.height, rgb: picture.to_rgb() };
        frames.push(scaler.run(frame, orientation)?);
        Ok(())
    })?;
    let frame_of = |sample: &usize| samples.binary_search(sample).ok().and_then(|at| frames.get(at)).cloned();
    wanted
        .iter()
        .map(frame_of)
        .collect::<Option<_>>()
        .ok_or_else(|| MediaError::malformed("the video track", "a frame was not decoded"))
}

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Track<'a>, MediaError> {
    Limits::check("the size of the clip", bytes.len() as u64, limits.max_file_bytes)?;
    if bytes.is_empty() {
        return Err(MediaError::malformed("the clip", "is empty"));
    }
    if !mp4::is_mp4(bytes) {
        return Err(MediaError::unsupported("a clip that is no mp4 or mov file", CONVERT));
    }
    mp4::video_track(bytes, limits)
}

fn is_h264(track: &Track) -> bool {
    matches!(&track.codec, b"avc1" | b"avc2" | b"avc3" | b"avc4")
}

fn h264_decoder(track: &Track, limits: &Limits) -> Result<H264, MediaError> {
    if !is_h264(track) {
        let codec = format!("the video codec `{}`", mp4::fourcc(&track.codec));
        return Err(MediaError::unsupported(codec, CONVERT));
    }
    let config = track.avc_config.ok_or_else(|| MediaError::malformed("the video track", "has no `avcC` box"))?;
    H264::new(config, track.colour, limits)
}

/// Decodes as little as gives the samples `wanted` (ascending), and hands each to `give` in order.
fn decode_samples(
    track: &Track,
    bytes: &[u8],
    decoder: &mut dyn VideoDecoder,
    wanted: &[usize],
    mut give: impl FnMut(&crate::decoder::Picture) -> Result<(), MediaError>,
) -> Result<(), MediaError> {
    let mut next = 0;
    for &target in wanted {
        let start = key_sample(track, bytes, decoder, next, target)?;
        for index in start..=target {
            let data = sample(track, bytes, index)?;
            if index < target && inspect(track, bytes, decoder, index)?.disposable {
                continue;
            }
            let picture = decoder.decode(data).map_err(|error| at(track, index, error))?;
            if index == target {
                give(&picture)?;
            }
        }
        next = target + 1;
    }
    Ok(())
}

/// Where to go on decoding to get `target`: its last key frame if that lies ahead, else `next`.
fn key_sample(
    track: &Track,
    bytes: &[u8],
    decoder: &dyn VideoDecoder,
    next: usize,
    target: usize,
) -> Result<usize, MediaError> {
    for index in (next..=target).rev() {
        if track.samples.get(index).is_some_and(|sample| sample.sync)
            && inspect(track, bytes, decoder, index)?.random_access
        {
            return Ok(index);
        }
    }
    if next == 0 {
        return Err(MediaError::unsupported("h264 that does not begin with a key frame", CONVERT));
    }
    Ok(next)
}

fn inspect(
    track: &Track,
    bytes: &[u8],
    decoder: &dyn VideoDecoder,
    index: usize,
) -> Result<crate::decoder::Coded, MediaError> {
    decoder.inspect(sample(track, bytes, index)?).map_err(|error| at(track, index, error))
}

/// The bytes of a sample.
fn sample<'a>(track: &Track, bytes: &'a [u8], index: usize) -> Result<&'a [u8], MediaError> {
    track
        .samples
        .get(index)
        .and_then(|sample| {
            let from = usize::try_from(sample.offset).ok()?;
            bytes.get(from..from.checked_add(sample.size as usize)?)
        })
        .ok_or_else(|| MediaError::malformed(format!("sample {index} of the video track"), "is not in the file"))
}

/// Adds the place to an error of the decoder.
fn at(track: &Track, index: usize, error: MediaError) -> MediaError {
    let offset = track.samples.get(index).map_or(0, |sample| sample.offset);
    let place = |what: &str| format!("sample {index} of the video track (byte {offset}), {what}");
    match error {
        MediaError::Malformed { what, reason } => MediaError::Malformed { what: place(&what), reason },
        MediaError::Unsupported { what, reason } => MediaError::Unsupported { what: place(&what), reason },
        error => error,
    }
}

#[cfg(test)]
mod tests;
