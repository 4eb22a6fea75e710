//! Frames, their size and their orientation.

use crate::mp4::Matrix;
use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};
use umt_media::{Limits, MediaError};

/// An image of three 8-bit channels (red, green, blue), row-major: `rgb[(y * width + x) * 3 + c]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 3` bytes.
    pub rgb: Vec<u8>,
}

impl Frame {
    /// The image at another size, the aspect ratio not kept: a triangle filter whose width grows with the reduction
    /// (PIL's `BILINEAR`, torchvision's `antialias=True`).
    ///
    /// # Errors
    /// A size of nothing, or bytes that do not fit the size.
    pub fn resized(&self, width: usize, height: usize) -> Result<Frame, MediaError> {
        let mut scaler = Scaler::new(Some((width, height)), &Limits::default())?;
        scaler.resize(self, width, height)
    }

    /// The part of `width` and `height` whose upper left corner is at `left` and `top`; what lies outside is left out.
    pub fn part(&self, left: usize, top: usize, width: usize, height: usize) -> Frame {
        let (left, top) = (left.min(self.width), top.min(self.height));
        let (width, height) = (width.min(self.width - left), height.min(self.height - top));
        let rows = self.rgb.chunks_exact(3 * self.width.max(1)).skip(top).take(height);
        let rgb = rows.flat_map(|row| &row[3 * left..3 * (left + width)]).copied().collect();
        Frame { width, height, rgb }
    }
}

/// Brings frames to one size, by [`Frame::resized`]'s filter.
pub(crate) struct Scaler {
    resizer: Resizer,
    options: ResizeOptions,
    /// Width and height; `None` leaves frames as they are.
    size: Option<(usize, usize)>,
}

impl Scaler {
    /// Errors: a size of nothing or over `limits.max_pixels`.
    pub fn new(size: Option<(usize, usize)>, limits: &Limits) -> Result<Self, MediaError> {
        if let Some((width, height)) = size {
            if width == 0 || height == 0 {
                return Err(MediaError::malformed("the frame size", format!("{width}x{height} holds no pixel")));
            }
            let pixels = (width as u64).saturating_mul(height as u64);
            Limits::check("the number of pixels of a resized frame", pixels, limits.max_pixels)?;
        }
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Ok(Self { resizer: Resizer::new(), options, size })
    }

    /// `frame` at the size wanted once it has been turned by `orientation`, and turned.
    pub fn run(&mut self, frame: Frame, orientation: Orientation) -> Result<Frame, MediaError> {
        let size = self.size.unwrap_or(orientation.size((frame.width, frame.height)));
        // Turning and resizing may change places, and the smaller frame is the faster to turn.
        let (width, height) = orientation.size(size);
        let resized =
            if (width, height) == (frame.width, frame.height) { frame } else { self.resize(&frame, width, height)? };
        Ok(orientation.apply(resized))
    }

    /// By the typed call: the one that decides at run time compiles the kernels of every pixel type.
    fn resize(&mut self, frame: &Frame, width: usize, height: usize) -> Result<Frame, MediaError> {
        let failed = |reason: &str| MediaError::malformed("a frame that is to be resized", reason);
        let (from_width, from_height) = (frame.width as u32, frame.height as u32);
        let from = TypedImageRef::<U8x3>::from_buffer(from_width, from_height, &frame.rgb)
            .map_err(|_| failed("its bytes do not fit its size"))?;
        let mut rgb = vec![0; width * height * 3];
        let mut to = TypedImage::<U8x3>::from_buffer(width as u32, height as u32, &mut rgb)
            .map_err(|_| failed("its size is wrong"))?;
        self.resizer.resize_typed(&from, &mut to, Some(&self.options)).map_err(|error| failed(&error.to_string()))?;
        Ok(Frame { width, height, rgb })
    }
}

/// One of the eight ways to store an image: swap the axes, then mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Orientation {
    /// Rows become columns.
    pub transpose: bool,
    /// Left and right change places, after the axes.
    pub flip_x: bool,
    /// Top and bottom change places, after the axes.
    pub flip_y: bool,
}

impl Orientation {
    /// Of a track header's matrix; an error if it turns by anything but right angles.
    pub fn of_matrix(matrix: Matrix) -> Result<Self, MediaError> {
        let Matrix { a, b, c, d } = matrix;
        match (a, b, c, d) {
            (0, 0, 0, 0) => Ok(Self::default()),
            (a, 0, 0, d) if a != 0 && d != 0 => Ok(Self { transpose: false, flip_x: a < 0, flip_y: d < 0 }),
            (0, b, c, 0) if b != 0 && c != 0 => Ok(Self { transpose: true, flip_x: c < 0, flip_y: b < 0 }),
            _ => Err(MediaError::unsupported(
                "a track turned by other than right angles",
                "re-encode the clip: ffmpeg -i IN OUT.mp4",
            )),
        }
    }

    /// Width and height after turning; also the size before, given the one after.
    pub fn size(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.transpose { (height, width) } else { (width, height) }
    }

    /// The frame as it is to be seen.
    pub fn apply(self, frame: Frame) -> Frame {
        if self == Self::default() {
            return frame;
        }
        let (width, height) = self.size((frame.width, frame.height));
        let mut rgb = Vec::with_capacity(frame.rgb.len());
        for y in 0..height {
            let y = if self.flip_y { height - 1 - y } else { y };
            for x in 0..width {
                let x = if self.flip_x { width - 1 - x } else { x };
                let (from_x, from_y) = if self.transpose { (y, x) } else { (x, y) };
                let at = (from_y * frame.width + from_x) * 3;
                rgb.extend_from_slice(&frame.rgb[at..at + 3]);
            }
        }
        Frame { width, height, rgb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(a: i32, b: i32, c: i32, d: i32) -> (usize, usize, Vec<u8>) {
        // 1 2 3
        // 4 5 6
        let rgb = (1..7u8).flat_map(|value| [value; 3]).collect();
        let orientation = Orientation::of_matrix(Matrix { a, b, c, d }).unwrap();
        let frame = orientation.apply(Frame { width: 3, height: 2, rgb });
        let values = frame.rgb.chunks(3).map(|pixel| pixel[0]).collect();
        (frame.width, frame.height, values)
    }

    #[test]
    fn matrices_turn_clockwise() {
        const ONE: i32 = 0x1_0000;
        assert_eq!(turned(ONE, 0, 0, ONE), (3, 2, vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(turned(0, ONE, -ONE, 0), (2, 3, vec![4, 1, 5, 2, 6, 3]));
        assert_eq!(turned(-ONE, 0, 0, -ONE), (3, 2, vec![6, 5, 4, 3, 2, 1]));
        assert_eq!(turned(0, -ONE, ONE, 0), (2, 3, vec![3, 6, 2, 5, 1, 4]));
        assert_eq!(turned(-ONE, 0, 0, ONE), (3, 2, vec![3, 2, 1, 6, 5, 4]));
        let skewed = Matrix { a: ONE, b: 1, c: 0, d: ONE };
        assert!(matches!(Orientation::of_matrix(skewed), Err(MediaError::Unsupported { .. })));
    }

    #[test]
    fn a_turned_frame_has_the_size_asked_for() {
        let frame = Frame { width: 8, height: 4, rgb: vec![7; 96] };
        let mut scaler = Scaler::new(Some((6, 5)), &Limits::default()).unwrap();
        let quarter = Orientation { transpose: true, flip_x: true, flip_y: false };
        let frame = scaler.run(frame, quarter).unwrap();
        assert_eq!((frame.width, frame.height, frame.rgb), (6, 5, vec![7; 90]));
        assert!(Scaler::new(Some((0, 5)), &Limits::default()).is_err());
        assert!(Scaler::new(Some((usize::MAX, 2)), &Limits::default()).is_err());
    }
}
