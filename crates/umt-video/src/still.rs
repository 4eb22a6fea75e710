//! Still images: jpeg and png.
//!
//! An image is whole or an error. The decoders fill what is missing with grey, so jpeg's coded data
//! is counted first ([`crate::jpeg`]).

use crate::{frame::Frame, jpeg};
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, codecs::jpeg::JpegEncoder};
use std::io::Cursor;
use umt_media::{Limits, MediaError};

/// What the decoder may take for rows and colour profiles, without the image itself.
const DECODER_MEMORY: u64 = 48 << 20;

/// Whether the bytes begin like a still image of a kind that is known, read or not.
pub(crate) fn is_still(bytes: &[u8]) -> bool {
    kind(bytes).is_some()
}

/// The kind of image by its first bytes; an error names what to do with those that are not read.
fn kind(bytes: &[u8]) -> Option<Result<ImageFormat, &'static str>> {
    Some(match bytes {
        [0x89, b'P', b'N', b'G', ..] => Ok(ImageFormat::Png),
        [0xff, 0xd8, ..] => Ok(ImageFormat::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Err("WebP"),
        [b'G', b'I', b'F', b'8', ..] => Err("GIF"),
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Err("BMP"),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Err("TIFF"),
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => Err("JPEG 2000"),
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Err("JPEG XL"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f', ..] => Err("AVIF"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', b'i', b'c' | b'x', ..] => Err("HEIC"),
        [b'P', b'1'..=b'6', b' ' | b'\n' | b'\r', ..] => Err("PNM"),
        _ => return None,
    })
}

/// Decodes a jpeg or png image to RGB; rotated as its EXIF entry asks, transparency dropped.
///
/// # Errors
/// [`MediaError::Limit`] over `limits.max_pixels` or for an image that unpacks to more than images
/// do; [`MediaError::Unsupported`] names another kind, whatever the file's name ends in;
/// [`MediaError::Malformed`] for an image that is not whole.
pub fn decode_image(bytes: &[u8], limits: &Limits) -> Result<Frame, MediaError> {
    decode(bytes, true, limits)
}

/// [`decode_image`] without the rotation: pixels as they are stored. For images that belong pixel
/// by pixel to a depth or a label map, whose files have no such entry.
///
/// # Errors
/// As [`decode_image`].
pub fn decode_stored_image(bytes: &[u8], limits: &Limits) -> Result<Frame, MediaError> {
    decode(bytes, false, limits)
}

fn decode(bytes: &[u8], rotate: bool, limits: &Limits) -> Result<Frame, MediaError> {
    let format = match kind(bytes) {
        Some(Ok(format)) => format,
        Some(Err(name)) => {
            let reason = "it may be whole; convert it once: ffmpeg -i IN OUT.png";
            return Err(MediaError::unsupported(format!("a {name} image"), reason));
        }
        None => return Err(MediaError::malformed("the image", "is neither jpeg nor png")),
    };
    let rare = match format {
        ImageFormat::Jpeg => jpeg::check(bytes, limits)?,
        _ => false,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(DECODER_MEMORY);
    reader.limits(memory);
    let mut decoder = reader.into_decoder().map_err(image_error)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    Limits::check("the number of pixels of an image", pixels, limits.max_pixels)?;
    Limits::check("the pixels that the bytes of an image unpack to", pixels, limits.pixels_of(bytes.len()))?;
    if format == ImageFormat::Png {
        // By bytes, because a pixel may have eight of them: as many as the pixels that are free have.
        let most = 8 * limits.pixels_of(bytes.len() / 8);
        Limits::check("the bytes that a png image unpacks to", decoder.total_bytes(), most)?;
        // Eight bytes a pixel and one a row are the most that an image has; packing adds little.
        let most = pixels.saturating_mul(10).saturating_add(1 << 16);
        Limits::check("the packed data of an image of this size", png_data(bytes), most)?;
    }
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = if rare {
        jpeg::decode_rare(bytes, width, height)?
    } else {
        DynamicImage::from_decoder(decoder).map_err(image_error)?
    };
    if rotate {
        image.apply_orientation(orientation);
    }
    let image = image.into_rgb8();
    let (width, height) = image.dimensions();
    Ok(Frame { width: width as usize, height: height as usize, rgb: image.into_raw() })
}

/// What the EXIF entry of a jpeg or png image asks for, in EXIF's own numbers (TIFF 6.0's Orientation); `None` for an image
/// that is upright as it is stored, and for what is no such image.
pub fn exif_orientation(bytes: &[u8]) -> Option<u8> {
    let format = kind(bytes)?.ok()?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(DECODER_MEMORY);
    reader.limits(memory);
    let number = reader.into_decoder().ok()?.orientation().ok()?.to_exif();
    (number != 1).then_some(number)
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
        .map_err(image_error)?;
    Ok(bytes)
}

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

fn image_error(error: image::ImageError) -> MediaError {
    match error {
        image::ImageError::Unsupported(error) => {
            MediaError::unsupported("the image", format!("{error}; store it as jpeg or png"))
        }
        error => MediaError::malformed("the image", error.to_string()),
    }
}
