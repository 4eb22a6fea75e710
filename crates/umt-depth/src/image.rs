//! Depth and class ids stored as PNG.

use png::{BitDepth, ColorType, Decoder, DecodingError, Encoder, Transformations};
use std::io::Cursor;
use umt_media::{Limits, MediaError};

/// Distances to the camera, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepthMap {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Millimetres; 0 where nothing was measured.
    pub mm: Vec<u16>,
}

/// What each pixel shows, as the file's own ids, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The ids.
    pub ids: Vec<u16>,
}

/// How a file's values are coded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DepthCode {
    /// Millimetres per value.
    Unit(f64),
    /// Millimetres with their 16 bits rotated to the left by three, as SUN RGB-D publishes them.
    Rotated,
}

impl DepthCode {
    /// The value of a depth; `None` where it does not fit into 16 bits.
    pub fn value(self, mm: u16) -> Option<u16> {
        match self {
            Self::Unit(unit) => {
                let value = (f64::from(mm) / unit).round();
                (0.0..=65_535.0).contains(&value).then_some(value as u16)
            }
            Self::Rotated => Some(mm.rotate_left(3)),
        }
    }

    /// The depth of a value; `None` over 65,535 mm.
    pub fn millimetres(self, value: u16) -> Option<u16> {
        match self {
            Self::Unit(1.0) => Some(value),
            Self::Unit(unit) => {
                let mm = (f64::from(value) * unit).round();
                // What was measured must not become a hole.
                (mm <= 65_535.0).then_some((mm as u16).max(u16::from(value > 0)))
            }
            Self::Rotated => Some(value.rotate_right(3)),
        }
    }
}

/// A depth PNG (grey, 8 or 16 bit) in millimetres.
///
/// # Errors
/// [`MediaError::Limit`] over `limits.max_pixels`, before memory is set aside; colour images are
/// unsupported; damaged files and depths over 65,535 mm are malformed.
pub fn decode_depth(bytes: &[u8], code: DepthCode, limits: &Limits) -> Result<DepthMap, MediaError> {
    let IdMap { width, height, ids: mut mm } = decode_grey(bytes, false, "the depth image", limits)?;
    if code != DepthCode::Unit(1.0) {
        for (at, value) in mm.iter_mut().enumerate() {
            *value = code.millimetres(*value).ok_or_else(|| {
                let reason =
                    format!("value {value} at ({}, {}) is over 65535 mm with {code:?}", at % width, at / width);
                MediaError::malformed("the depth image", reason)
            })?;
        }
    }
    Ok(DepthMap { width, height, mm })
}

/// The ids of a label PNG: grey of 8 or 16 bit, or the indices of an image with a palette.
///
/// # Errors
/// As [`decode_depth`].
pub fn decode_ids(bytes: &[u8], limits: &Limits) -> Result<IdMap, MediaError> {
    decode_grey(bytes, true, "the label image", limits)
}

fn decode_grey(bytes: &[u8], indexed: bool, what: &str, limits: &Limits) -> Result<IdMap, MediaError> {
    let failed = |error: DecodingError| MediaError::malformed(what, error.to_string());
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: DECODER_MEMORY });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(failed)?;
    let (width, height) = header.size();
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    Limits::check(&format!("the number of pixels of {what}"), pixels, limits.max_pixels)?;
    // Maps of few values pack better than photographs, and take less memory.
    const FREE_PIXELS: u64 = 12_000_000;
    let most = limits.pixels_of(bytes.len()).max(limits.max_pixels.min(FREE_PIXELS));
    Limits::check(&format!("the pixels that the bytes of {what} unpack to"), pixels, most)?;
    let sixteen = match (header.color_type, header.bit_depth) {
        (ColorType::Grayscale, BitDepth::Sixteen) => true,
        (ColorType::Grayscale, BitDepth::Eight) => false,
        (ColorType::Indexed, BitDepth::Eight) if indexed => false,
        (colour, bits) => {
            let kinds = if indexed { "grey of 8 or 16 bit, or a palette of 8 bit" } else { "grey of 8 or 16 bit" };
            return Err(MediaError::unsupported(
                format!("{what} of {colour:?} {bits:?}"),
                format!("store it as {kinds}"),
            ));
        }
    };
    let mut reader = decoder.read_info().map_err(failed)?;
    let size = reader.output_buffer_size().unwrap_or(usize::MAX);
    if size as u64 != pixels * (1 + u64::from(sixteen)) {
        return Err(MediaError::malformed(what, "its size does not fit its header"));
    }
    let mut raw = vec![0; size];
    reader.next_frame(&mut raw).map_err(failed)?;
    reader.finish().map_err(failed)?;
    let ids = if sixteen {
        raw.as_chunks::<2>().0.iter().map(|&value| u16::from_be_bytes(value)).collect()
    } else {
        raw.into_iter().map(u16::from).collect()
    };
    Ok(IdMap { width: width as usize, height: height as usize, ids })
}

/// A depth map as a grey PNG of 16 bit.
///
/// # Errors
/// A map whose values do not fit its size, or the code's 16 bits.
pub fn encode_depth(map: &DepthMap, code: DepthCode) -> Result<Vec<u8>, MediaError> {
    let unfit =
        || MediaError::malformed("the depth map", format!("a depth that does not fit into 16 bits with {code:?}"));
    let values: Vec<u16> = map.mm.iter().map(|&mm| code.value(mm).ok_or_else(unfit)).collect::<Result<_, _>>()?;
    let bytes: Vec<u8> = values.into_iter().flat_map(u16::to_be_bytes).collect();
    encode_grey(map.width, map.height, BitDepth::Sixteen, &bytes)
}

/// A map of ids as a grey PNG, of 8 bit where all fit.
///
/// # Errors
/// A map whose values do not fit its size.
pub fn encode_ids(map: &IdMap) -> Result<Vec<u8>, MediaError> {
    let narrow: Option<Vec<u8>> = map.ids.iter().map(|&id| u8::try_from(id).ok()).collect();
    match narrow {
        Some(bytes) => encode_grey(map.width, map.height, BitDepth::Eight, &bytes),
        None => {
            let bytes: Vec<u8> = map.ids.iter().flat_map(|id| id.to_be_bytes()).collect();
            encode_grey(map.width, map.height, BitDepth::Sixteen, &bytes)
        }
    }
}

fn encode_grey(width: usize, height: usize, bits: BitDepth, bytes: &[u8]) -> Result<Vec<u8>, MediaError> {
    let failed = |reason: String| MediaError::malformed("the map", reason);
    let (Ok(wide), Ok(high)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(failed(format!("{width}x{height} is too large for an image")));
    };
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, wide, high);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(bits);
    let mut writer = encoder.write_header().map_err(|error| failed(error.to_string()))?;
    writer.write_image_data(bytes).map_err(|error| failed(error.to_string()))?;
    writer.finish().map_err(|error| failed(error.to_string()))?;
    Ok(out)
}

/// What the decoder may take for rows and chunks, without the image itself.
const DECODER_MEMORY: usize = 48 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_kept_and_holes_stay_holes() {
        assert_eq!(DepthCode::Unit(1.0).millimetres(65_535), Some(65_535));
        // 8 bits with 39.2 mm a value, 16 bits with a fifth of a millimetre.
        assert_eq!(DepthCode::Unit(39.2).millimetres(255), Some(9_996));
        assert_eq!(DepthCode::Unit(0.2).millimetres(10_000), Some(2_000));
        assert_eq!(DepthCode::Unit(0.2).millimetres(1), Some(1));
        assert_eq!(DepthCode::Unit(0.2).millimetres(0), Some(0));
        assert_eq!(DepthCode::Unit(2.0).millimetres(40_000), None);
        for mm in [0u16, 1, 7, 8, 3_219, 10_000, 65_535] {
            let stored = mm.rotate_left(3);
            assert_eq!(DepthCode::Rotated.millimetres(stored), Some(mm));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mm = vec![0, 1, 700, 8_191, 8_192, 65_535];
        let map = DepthMap { width: 3, height: 2, mm };
        for code in [DepthCode::Unit(1.0), DepthCode::Rotated] {
            let bytes = encode_depth(&map, code).unwrap();
            assert_eq!(decode_depth(&bytes, code, &Limits::default()).unwrap(), map);
        }
        assert!(encode_depth(&map, DepthCode::Unit(0.5)).is_err());
        assert!(encode_depth(&DepthMap { width: 4, ..map }, DepthCode::Unit(1.0)).is_err());
        for ids in [vec![0, 40, 255], vec![0, 256, 894]] {
            let map = IdMap { width: 1, height: 3, ids };
            assert_eq!(decode_ids(&encode_ids(&map).unwrap(), &Limits::default()).unwrap(), map);
        }
    }
}
