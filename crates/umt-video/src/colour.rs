//! From luma and chroma to RGB, bit for bit as ffmpeg's `-pix_fmt rgb24` on x86 has it.
//!
//! ffmpeg rounds each term down by itself, which makes a picture darker by about one level in 255
//! than the exact conversion. Agreement is worth more here than that level.

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

impl Colour {
    /// Adds to red, green and blue of the pixels of one chroma sample.
    pub fn chroma(&self, cb: u8, cr: u8) -> [i32; 3] {
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        [term(self.red_of_cr, cr), term(self.green_of_cb, cb) + term(self.green_of_cr, cr), term(self.blue_of_cb, cb)]
    }

    /// The grey level of a luma sample.
    pub fn grey(&self, luma: u8) -> i32 {
        term(self.luma, i32::from(luma) - self.luma_offset)
    }
}

/// The product, rounded down.
fn term(factor: i32, value: i32) -> i32 {
    (factor * value) >> FACTOR_BITS
}
