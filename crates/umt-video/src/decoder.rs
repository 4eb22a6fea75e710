//! What a video decoder is, so that the one in use can be replaced without the rest knowing.

use crate::colour::Colour;
use umt_media::MediaError;

/// Decodes the samples of one track, in the order they are stored.
pub(crate) trait VideoDecoder {
    /// What can be said of a sample without decoding it.
    fn inspect(&self, sample: &[u8]) -> Result<Coded, MediaError>;

    /// Decodes the next sample to the picture that it holds.
    fn decode(&mut self, sample: &[u8]) -> Result<Picture, MediaError>;
}

/// How a sample depends on others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coded {
    /// Neither it nor what follows needs anything before it.
    pub random_access: bool,
    /// Nothing needs it: it can be left out.
    pub disposable: bool,
}

/// A decoded picture: luma, and two chroma planes of half its width and height.
pub(crate) struct Picture {
    pub luma: Vec<u8>,
    pub chroma: [Vec<u8>; 2],
    /// Bytes from one luma row to the next; chroma rows have half.
    pub stride: usize,
    /// First pixel shown, both even.
    pub origin: [usize; 2],
    pub width: usize,
    pub height: usize,
    pub colour: Colour,
}

impl Picture {
    /// `None` if the planes do not hold the pixels that are shown.
    pub fn new(
        luma: Vec<u8>,
        chroma: [Vec<u8>; 2],
        stride: usize,
        origin: [usize; 2],
        width: usize,
        height: usize,
        colour: Colour,
    ) -> Option<Self> {
        let [left, top] = origin;
        let rows = top + height;
        let even = [stride, left, top].iter().all(|pixels| pixels.is_multiple_of(2));
        let fits = left + width <= stride
            && luma.len() >= stride * rows
            && chroma.iter().all(|plane| plane.len() >= stride / 2 * rows.div_ceil(2));
        (even && fits && width > 0 && height > 0).then_some(Self {
            luma,
            chroma,
            stride,
            origin,
            width,
            height,
            colour,
        })
    }

    /// RGB, 8 bits each, row by row. One chroma sample colours its four pixels, as in ffmpeg's
    /// conversion at equal size.
    pub fn to_rgb(&self) -> Vec<u8> {
        let [left, top] = self.origin;
        let mut rgb = vec![0; self.width * self.height * 3];
        for (row, out) in rgb.chunks_exact_mut(self.width * 3).enumerate() {
            let luma = &self.luma[(top + row) * self.stride + left..][..self.width];
            let chroma_at = (top + row) / 2 * (self.stride / 2) + left / 2;
            let chroma_width = self.width.div_ceil(2);
            let cb = &self.chroma[0][chroma_at..][..chroma_width];
            let cr = &self.chroma[1][chroma_at..][..chroma_width];
            for (((out, luma), &cb), &cr) in out.chunks_mut(6).zip(luma.chunks(2)).zip(cb).zip(cr) {
                let chroma = self.colour.chroma(cb, cr);
                for (pixel, &luma) in out.chunks_exact_mut(3).zip(luma) {
                    let grey = self.colour.grey(luma);
                    pixel[0] = (grey + chroma[0]).clamp(0, 255) as u8;
                    pixel[1] = (grey + chroma[1]).clamp(0, 255) as u8;
                    pixel[2] = (grey + chroma[2]).clamp(0, 255) as u8;
                }
            }
        }
        rgb
    }
}
