//! Whether a jpeg is whole: its coded data are walked and counted, block by block.
//!
//! Decoders fill what is missing, and a file can declare any size over the data of a small image.
//! Source: ITU-T T.81, sections B.2, F.2.2 (sequential) and G.1.2, G.2 (progressive).

mod scan;

use image::DynamicImage;
use scan::{Bits, Huffman, Scan, malformed, next_marker};
use std::io::Cursor;
use umt_media::{Limits, MediaError};

fn unsupported(kind: &str) -> MediaError {
    let reason = "it may be whole; convert it once: ffmpeg -i IN OUT.png";
    MediaError::unsupported(format!("a jpeg image {kind}"), reason)
}

/// One colour component, and what of it was found.
struct Component {
    id: u8,
    sampling: [usize; 2],
    /// Blocks in a scan of this component alone.
    size: [usize; 2],
    /// Blocks with those that fill the last MCUs.
    padded: [usize; 2],
    /// Per block, which coefficients are not zero; kept for progressive images.
    nonzero: Vec<u64>,
    /// Of each coefficient, the lowest bit that was coded; 255: none.
    lowest: [u8; 64],
}

struct Frame {
    components: Vec<Component>,
    mcus: [usize; 2],
    progressive: bool,
}

/// Walks the whole file. Returns whether the image is of a kind that the usual decoder gets wrong:
/// a scan for each component, or chroma sampled more finely than luma.
///
/// # Errors
/// [`MediaError::Malformed`] if any block of any component is missing, [`MediaError::Unsupported`]
/// for arithmetic coding and other rare processes, [`MediaError::Limit`] for the size.
pub(crate) fn check(bytes: &[u8], limits: &Limits) -> Result<bool, MediaError> {
    let mut at = 2;
    let mut frame: Option<Frame> = None;
    let mut tables: [[Option<Huffman>; 4]; 2] = Default::default();
    let mut restart = 0;
    let mut rare = false;
    loop {
        let marker = next_marker(bytes, &mut at)?;
        if marker == 0xd9 {
            break;
        }
        if matches!(marker, 0x01 | 0xd0..=0xd8) {
            continue;
        }
        let length = bytes.get(at..at + 2).map(|b| usize::from(b[0]) << 8 | usize::from(b[1]));
        let body = length.filter(|&n| n >= 2).and_then(|n| bytes.get(at + 2..at + n));
        let body = body.ok_or_else(|| malformed("a segment is cut short"))?;
        at += 2 + body.len();
        match marker {
            0xc4 => tables_of(body, &mut tables)?,
            0xc0..=0xc2 => {
                if frame.is_some() {
                    return Err(malformed("it has two frame headers"));
                }
                let new = frame_of(body, marker == 0xc2, bytes.len(), limits)?;
                let luma = new.components.first().map_or([1, 1], |c| c.sampling);
                // The usual decoder knows luma of one or two samples a chroma sample.
                let usual = |s: [usize; 2]| (0..2).all(|axis| s[axis] == 1 && luma[axis] <= 2);
                rare |= new.components.len() > 1 && !new.components.iter().skip(1).all(|c| usual(c.sampling));
                frame = Some(new);
            }
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => {
                return Err(unsupported("of a lossless, arithmetic or hierarchical process"));
            }
            0xdd => restart = body.get(..2).map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1])),
            0xdc => return Err(unsupported("that states its height after its data")),
            0xda => {
                let frame = frame.as_mut().ok_or_else(|| malformed("a scan comes before the frame header"))?;
                let scan = Scan::read(body, |id| frame.components.iter().position(|c| c.id == id))?;
                rare |= !frame.progressive && scan.components.len() < frame.components.len();
                at += walk(frame, &scan, &tables, restart, bytes.get(at..).unwrap_or_default())?;
            }
            _ => (),
        }
    }
    let frame = frame.ok_or_else(|| malformed("it has no frame header"))?;
    if frame.components.iter().any(|c| c.lowest != [0; 64]) {
        return Err(malformed("part of its data is missing: a scan is left out"));
    }
    Ok(rare)
}

/// Decodes an image of the kinds that [`check`] reports, with a second decoder.
pub(crate) fn decode_rare(bytes: &[u8], width: u32, height: u32) -> Result<DynamicImage, MediaError> {
    let mut decoder = jpeg_decoder::Decoder::new(Cursor::new(bytes));
    let pixels = decoder.decode().map_err(|error| malformed(error.to_string()))?;
    let format = decoder.info().map(|info| info.pixel_format);
    let image = match format {
        Some(jpeg_decoder::PixelFormat::RGB24) => {
            image::RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
        }
        Some(jpeg_decoder::PixelFormat::L8) => {
            image::GrayImage::from_raw(width, height, pixels).map(DynamicImage::from)
        }
        _ => return Err(unsupported("of four components with a scan for each or unusual sampling")),
    };
    image.ok_or_else(|| malformed("its pixels do not fit its size"))
}

fn tables_of(mut body: &[u8], tables: &mut [[Option<Huffman>; 4]; 2]) -> Result<(), MediaError> {
    while let Some((&head, rest)) = body.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(|| malformed("a Huffman table is cut short"))?;
        let total = counts.iter().map(|&n| usize::from(n)).sum();
        let (symbols, rest) = rest.split_at_checked(total).ok_or_else(|| malformed("a Huffman table is cut short"))?;
        let slot = tables.get_mut(usize::from(head >> 4)).and_then(|class| class.get_mut(usize::from(head & 15)));
        *slot.ok_or_else(|| malformed("a Huffman table has no place"))? = Some(Huffman::new(counts, symbols)?);
        body = rest;
    }
    Ok(())
}

fn frame_of(body: &[u8], progressive: bool, file: usize, limits: &Limits) -> Result<Frame, MediaError> {
    let [precision, h1, h0, w1, w0, count, list @ ..] = body else {
        return Err(malformed("its frame header is cut short"));
    };
    if *precision != 8 {
        return Err(unsupported(&format!("of {precision} bits")));
    }
    let size = [usize::from(*w1) << 8 | usize::from(*w0), usize::from(*h1) << 8 | usize::from(*h0)];
    if size.contains(&0) || !matches!(count, 1..=4) || list.len() < 3 * usize::from(*count) {
        return Err(malformed(format!("{}x{} pixels of {count} components", size[0], size[1])));
    }
    let pixels = size[0] as u64 * size[1] as u64;
    Limits::check("the number of pixels of an image", pixels, limits.max_pixels)?;
    Limits::check("the pixels that the bytes of an image unpack to", pixels, limits.pixels_of(file))?;
    let list: Vec<&[u8]> = list.chunks_exact(3).take(usize::from(*count)).collect();
    let sampling = |c: &[u8]| [usize::from(c[1] >> 4), usize::from(c[1] & 15)];
    if list.iter().any(|c| sampling(c).iter().any(|s| !(1..=4).contains(s))) {
        return Err(malformed("a component has no sampling of 1 to 4"));
    }
    let most = |axis: usize| list.iter().map(|c| sampling(c)[axis]).max().unwrap_or(1);
    let most = [most(0), most(1)];
    let mcus = [size[0].div_ceil(8 * most[0]), size[1].div_ceil(8 * most[1])];
    let component = |c: &&[u8]| {
        let sampling = sampling(c);
        let axis = |axis: usize| (size[axis] * sampling[axis]).div_ceil(most[axis]).div_ceil(8);
        let padded = [mcus[0] * sampling[0], mcus[1] * sampling[1]];
        let nonzero = if progressive { vec![0; padded[0] * padded[1]] } else { Vec::new() };
        Component { id: c[0], sampling, size: [axis(0), axis(1)], padded, nonzero, lowest: [255; 64] }
    };
    Ok(Frame { components: list.iter().map(component).collect(), mcus, progressive })
}

/// Walks the coded data of one scan. Returns its length.
fn walk(
    frame: &mut Frame,
    scan: &Scan,
    tables: &[[Option<Huffman>; 4]; 2],
    restart: usize,
    data: &[u8],
) -> Result<usize, MediaError> {
    let alone = scan.components.len() == 1;
    let [across, down] = match scan.components.first() {
        Some(&(index, ..)) if alone => frame.components[index].size,
        _ => frame.mcus,
    };
    let mut bits = Bits::new(data);
    let total = across * down;
    let mut end_of_band = 0;
    for mcu in 0..total {
        if restart > 0 && mcu > 0 && mcu % restart == 0 {
            bits.restart()?;
            end_of_band = 0;
        }
        for &(index, dc, ac) in &scan.components {
            let component = &mut frame.components[index];
            let [h, v] = if alone { [1, 1] } else { component.sampling };
            for inner in 0..h * v {
                let (x, y) = (mcu % across * h + inner % h, mcu / across * v + inner / h);
                let mut none = 0;
                let nonzero = component.nonzero.get_mut(y * component.padded[0] + x).unwrap_or(&mut none);
                let tables = (tables[0][dc].as_ref(), tables[1][ac].as_ref());
                let walked = if frame.progressive {
                    scan.progressive_block(&mut bits, tables, nonzero, &mut end_of_band)
                } else {
                    scan::sequential_block(&mut bits, tables)
                };
                walked.map_err(|error| match error {
                    scan::Fault::Cut => {
                        malformed(format!("part of its data is missing: a scan ends at {mcu} of {total} MCUs"))
                    }
                    scan::Fault::Wrong(reason) => malformed(reason),
                })?;
            }
        }
    }
    for &(index, ..) in &scan.components {
        let lowest = &mut frame.components[index].lowest;
        let (from, to, low) = if frame.progressive { (scan.from, scan.to, scan.low) } else { (0, 63, 0) };
        lowest[from..=to].fill(low);
    }
    Ok(bits.position())
}
