//! A folder of still frames, read like a clip.

use crate::{
    clip::ClipInfo,
    frame::{Frame, Orientation, Scaler},
    named,
    select::{Pick, Select, Timeline},
};
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, codecs::jpeg::JpegEncoder, metadata,
};
use std::{
    cmp::Ordering,
    io::Cursor,
    path::{Path, PathBuf},
};
use umt_media::{Limits, MediaError, read_bounded};

/// The selected frames of a folder of jpeg and png files, in the natural order of their names
/// (`frame2` before `frame10`).
///
/// A folder has no clock: its frames are taken to be as far apart as [`Select::Rate`] asks, so that
/// a rate picks frames in a row. Other files are passed over; a folder without a frame is
/// [`MediaError::Missing`].
pub fn decode_folder(
    path: &Path,
    select: &Select,
    pick: Pick,
    size: Option<(usize, usize)>,
    limits: &Limits,
) -> Result<Vec<Frame>, MediaError> {
    let mut scaler = Scaler::new(size, limits)?;
    let files = frame_files(path, limits)?;
    const TICKS: u32 = 1000;
    let step = match *select {
        Select::Rate { fps, .. } if fps.is_finite() && fps > 0.0 => f64::from(TICKS) / fps,
        _ => f64::from(TICKS),
    };
    let time = |index: usize| (index as f64 * step).round() as i64;
    let timeline = Timeline { starts: (0..files.len()).map(time).collect(), end: time(files.len()), timescale: TICKS };
    let mut frames: Vec<Frame> = Vec::new();
    let mut last = None;
    for index in select.indices(&timeline, pick, limits)? {
        let frame = match (last, frames.last()) {
            (Some(last), Some(frame)) if last == index => frame.clone(),
            _ => {
                let bytes = read_bounded(&files[index], limits)?;
                let frame = decode_picture(&bytes, limits).map_err(|error| named(&files[index], error))?;
                scaler.run(frame, Orientation::default())?
            }
        };
        frames.push(frame);
        last = Some(index);
    }
    Ok(frames)
}

/// The frames' files in natural order.
pub(crate) fn frame_files(path: &Path, limits: &Limits) -> Result<Vec<PathBuf>, MediaError> {
    let io = |source| MediaError::Io { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        let frame = extension
            .is_some_and(|extension| ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known)));
        if frame {
            files.push(file);
            Limits::check(
                &format!("the number of frames in {}", path.display()),
                files.len() as u64,
                limits.max_frames,
            )?;
        }
    }
    if files.is_empty() {
        return Err(MediaError::Missing { what: format!("jpeg or png file in the folder {}", path.display()) });
    }
    files.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()).then_with(|| a.cmp(b)));
    Ok(files)
}

/// Orders names with their runs of digits as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (number_a, rest_a) = digits(a);
                let (number_b, rest_b) = digits(b);
                let by_value = number_a.len().cmp(&number_b.len()).then(number_a.cmp(number_b));
                if by_value != Ordering::Equal {
                    return by_value;
                }
                (a, b) = (rest_a, rest_b);
            }
            (Some(x), Some(y)) if x == y => (a, b) = (&a[1..], &b[1..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

/// A leading number without its leading zeros, and what follows it.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().position(|byte| *byte != b'0').unwrap_or(number.len());
    (&number[zeros..], rest)
}

/// What a folder of frames is, from its names and the first frame's header.
pub(crate) fn probe_folder(path: &Path, limits: &Limits) -> Result<ClipInfo, MediaError> {
    let files = frame_files(path, limits)?;
    let first = files.first().map_or(path, PathBuf::as_path);
    let bytes = read_bounded(first, limits)?;
    let (decoder, format) = open_picture(&bytes, limits).map_err(|error| named(first, error))?;
    let (width, height) = decoder.dimensions();
    let codec = if format == ImageFormat::Png { "png" } else { "jpeg" };
    Ok(ClipInfo {
        width: width as usize,
        height: height as usize,
        frames: files.len(),
        fps: 0.0,
        duration: 0.0,
        rotation: 0,
        codec: codec.to_owned(),
    })
}

/// Decodes a jpeg or png picture to RGB; turned as its EXIF entry says, transparency dropped.
pub fn decode_picture(bytes: &[u8], limits: &Limits) -> Result<Frame, MediaError> {
    let (mut decoder, _) = open_picture(bytes, limits)?;
    let orientation = decoder.orientation().unwrap_or(metadata::Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(picture_error)?;
    picture.apply_orientation(orientation);
    let picture = picture.into_rgb8();
    let (width, height) = picture.dimensions();
    Ok(Frame { width: width as usize, height: height as usize, rgb: picture.into_raw() })
}

/// A frame as jpeg, `quality` from 1 to 100.
///
/// # Errors
/// A size of nothing, over 65,535, or that does not fit the bytes.
pub fn encode_jpeg(frame: &Frame, quality: u8) -> Result<Vec<u8>, MediaError> {
    let Frame { width, height, rgb } = frame;
    let (Ok(wide), Ok(high)) = (u16::try_from(*width), u16::try_from(*height)) else {
        return Err(MediaError::malformed("the frame", format!("{width}x{height} is too large for a jpeg")));
    };
    if rgb.len() != width * height * 3 || rgb.is_empty() {
        return Err(MediaError::malformed("the frame", format!("{} bytes for {width}x{height} pixels", rgb.len())));
    }
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(rgb, u32::from(wide), u32::from(high), ExtendedColorType::Rgb8)
        .map_err(picture_error)?;
    Ok(bytes)
}

/// Reads a picture's header and compares its size with the limit.
fn open_picture<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(impl ImageDecoder + 'a, ImageFormat), MediaError> {
    let format = match bytes {
        [0x89, b'P', b'N', b'G', ..] => ImageFormat::Png,
        [0xff, 0xd8, ..] => ImageFormat::Jpeg,
        _ => {
            return Err(MediaError::malformed("the picture", "is neither jpeg nor png"));
        }
    };
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        let reason = "the jpeg data has no end: it is cut short";
        return Err(MediaError::malformed("the picture", reason));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(DECODER_MEMORY);
    reader.limits(memory);
    let decoder = reader.into_decoder().map_err(picture_error)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    Limits::check("the number of pixels of a picture", pixels, limits.max_pixels)?;
    if format == ImageFormat::Png {
        // Eight bytes a pixel and one a row are the most that a picture has; packing adds little.
        let most = pixels.saturating_mul(10).saturating_add(1 << 16);
        Limits::check("the packed data of a picture of this size", png_data(bytes), most)?;
    }
    Ok((decoder, format))
}

/// What the decoder may take for rows and colour profiles, apart from the picture itself.
const DECODER_MEMORY: u64 = 48 << 20;

/// Bytes of packed pixels in a png file.
fn png_data(bytes: &[u8]) -> u64 {
    const SIGNATURE: usize = 8;
    let (mut rest, mut data) = (bytes.get(SIGNATURE..).unwrap_or(&[]), 0);
    while let Some((&[a, b, c, d, ref kind @ ..], _)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([a, b, c, d]);
        if kind == b"IDAT" {
            data += u64::from(length);
        }
        // Length, kind and checksum are 12 bytes more.
        rest = rest.get((length as usize).saturating_add(12)..).unwrap_or(&[]);
    }
    data
}

fn picture_error(error: image::ImageError) -> MediaError {
    match error {
        image::ImageError::Unsupported(error) => {
            MediaError::unsupported("the picture", format!("{error}; store it as jpeg or png"))
        }
        error => MediaError::malformed("the picture", error.to_string()),
    }
}

/// Whether a jpeg's segments and scans go on to its end marker. The decoder would fill what is
/// missing with grey.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // To the next marker: 0xff, then neither 0 (an escaped 0xff) nor a restart nor fill.
        let Some(marker) = bytes.get(at..at + 2) else {
            return false;
        };
        match marker {
            [0xff, 0xd9] => return true,
            [0xff, 0x00 | 0x01 | 0xd0..=0xd8] => at += 2,
            [0xff, 0xff] => at += 1,
            [0xff, _] => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => at += 2 + usize::from(high) * 256 + usize::from(low),
                _ => return false,
            },
            _ => match bytes[at..].iter().position(|byte| *byte == 0xff) {
                Some(ahead) => at += ahead,
                None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_as_people_count() {
        let mut names = ["f10.png", "f2.png", "f1.png", "F3.png", "f002b.png", "f"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["F3.png", "f", "f1.png", "f2.png", "f002b.png", "f10.png"]);
    }
}
