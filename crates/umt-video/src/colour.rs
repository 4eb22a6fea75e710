//! From luma and chroma to RGB, bit for bit as ffmpeg's `-pix_fmt rgb24` on x86 has it.
//!
//! ffmpeg rounds each term down by itself, which makes a picture darker by about one level in 255
//! than the exact conversion. Agreement is worth more here than that level.

use crate::decoder::Picture;

/// Fixed-point factors of the conversion (ITU-T H.264, E.2.1, equations for `matrix_coefficients`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colour {
    luma_offset: i32,
    luma: i32,
    red_of_cr: i32,
    green_of_cb: i32,
    green_of_cr: i32,
    blue_of_cb: i32,
}

/// Fraction bits of the factors.
const FACTOR_BITS: u32 = 13;

impl Colour {
    /// By the number in `matrix_coefficients`; `None` if it is no luma-chroma matrix known here.
    ///
    /// Where a stream says nothing, it is BT.601 in the limited range, as ffmpeg has it whatever
    /// the picture's size.
    pub fn new(matrix: Option<u8>, full_range: bool) -> Option<Self> {
        // Weights of red and blue in luma.
        let (kr, kb) = match matrix.unwrap_or(2) {
            1 => (0.2126, 0.0722),
            2 | 5 | 6 => (0.299, 0.114),
            4 => (0.3, 0.11),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            _ => return None,
        };
        let kg: f64 = 1.0 - kr - kb;
        let (luma, chroma) = if full_range { (1.0, 1.0) } else { (255.0 / 219.0, 255.0 / 224.0) };
        let fixed = |factor: f64| (factor * f64::from(1u32 << FACTOR_BITS)).round() as i32;
        Some(Self {
            luma_offset: if full_range { 0 } else { 16 },
            luma: fixed(luma),
            red_of_cr: fixed(2.0 * (1.0 - kr) * chroma),
            green_of_cb: fixed(-2.0 * kb * (1.0 - kb) / kg * chroma),
            green_of_cr: fixed(-2.0 * kr * (1.0 - kr) / kg * chroma),
            blue_of_cb: fixed(2.0 * (1.0 - kb) * chroma),
        })
    }
}

/// RGB, 8 bits each, row by row. One chroma sample colours its four pixels, as in ffmpeg's
/// conversion at equal size.
pub(crate) fn to_rgb(picture: &Picture) -> Vec<u8> {
    let colour = &picture.colour;
    let [left, top] = picture.origin;
    let mut rgb = vec![0; picture.width * picture.height * 3];
    for (row, out) in rgb.chunks_exact_mut(picture.width * 3).enumerate() {
        let luma = &picture.luma[(top + row) * picture.stride + left..][..picture.width];
        let chroma_at = (top + row) / 2 * (picture.stride / 2) + left / 2;
        let chroma_width = picture.width.div_ceil(2);
        let cb = &picture.chroma[0][chroma_at..][..chroma_width];
        let cr = &picture.chroma[1][chroma_at..][..chroma_width];
        for (((out, luma), &cb), &cr) in out.chunks_mut(6).zip(luma.chunks(2)).zip(cb).zip(cr) {
            let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
            let red = term(colour.red_of_cr, cr);
            let green = term(colour.green_of_cb, cb) + term(colour.green_of_cr, cr);
            let blue = term(colour.blue_of_cb, cb);
            for (pixel, &luma) in out.chunks_exact_mut(3).zip(luma) {
                let luma = term(colour.luma, i32::from(luma) - colour.luma_offset);
                pixel[0] = (luma + red).clamp(0, 255) as u8;
                pixel[1] = (luma + green).clamp(0, 255) as u8;
                pixel[2] = (luma + blue).clamp(0, 255) as u8;
            }
        }
    }
    rgb
}

/// The product, rounded down.
fn term(factor: i32, value: i32) -> i32 {
    (factor * value) >> FACTOR_BITS
}
