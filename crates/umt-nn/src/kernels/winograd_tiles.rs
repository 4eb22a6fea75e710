//! How the outputs of a convolution are cut into tiles, and where the window of each lies.
//!
//! # Safety
//! Callers of the unsafe functions owe two things: each pointer is valid for all elements that its sizes and steps
//! reach, and the processor has the instructions of `S`, which `dispatch` sees to.
use super::simd::{LANES, Simd};
use super::winograd::{Form, OutputTile, Patch};

/// The tiles of a batch of images.
#[derive(Clone, Copy)]
pub struct Tiles {
    pub images: usize,
    /// Outputs.
    pub h: usize,
    pub w: usize,
    /// Rows and columns of the outputs and the windows of a tile, and distance of windows.
    side: [usize; 2],
    window: [usize; 2],
    step: [usize; 2],
    /// Tiles down and across.
    pub down: usize,
    pub across: usize,
}

impl Tiles {
    /// Tiles over `h` by `w` outputs.
    pub fn new<F: Form>(images: usize, h: usize, w: usize) -> Tiles {
        Tiles {
            images,
            h,
            w,
            side: F::SIDE,
            window: F::WINDOW,
            step: F::STEP,
            down: h.div_ceil(F::SIDE[0]),
            across: w.div_ceil(F::SIDE[1]),
        }
    }
    pub fn count(&self) -> usize {
        self.images * self.down * self.across
    }
    /// Image, row and column of tile `t`.
    #[inline(always)]
    fn at(&self, t: usize) -> (usize, usize, usize) {
        let (line, x) = (t / self.across, t % self.across);
        (line / self.down, line % self.down, x)
    }
    /// The input window of tile `t` of images `x` of `h` by `w` pixels of `c` channels with padding.
    #[inline(always)]
    pub fn window(&self, t: usize, x: *const f32, h: usize, w: usize, c: usize, pad: [usize; 2]) -> Patch {
        let (image, i, j) = self.at(t);
        let (i, j) = (i * self.step[0], j * self.step[1]);
        let range = |at: usize, pad: usize, len: usize, n: usize| {
            [pad.saturating_sub(at).min(n), (len + pad).saturating_sub(at).min(n)]
        };
        let row = (image * h + i).wrapping_sub(pad[0]);
        let at = x.wrapping_add(row.wrapping_mul(w).wrapping_add(j).wrapping_sub(pad[1]).wrapping_mul(c));
        Patch {
            at,
            row: w * c,
            column: c,
            rows: range(i, pad[0], h, self.window[0]),
            columns: range(j, pad[1], w, self.window[1]),
            lanes: c.min(LANES),
        }
    }
    /// Asks for the pixels of images `x` of `w` by `h` pixels of `c` channels that tile `t` is the first to read.
    #[inline(always)]
    pub unsafe fn prefetch<S: Simd>(&self, t: usize, x: *const f32, h: usize, w: usize, c: usize, step: [usize; 2]) {
        let (image, i, j) = self.at(t);
        if image >= self.images {
            return;
        }
        let at = x.wrapping_add(((image * h + i * step[0]) * w + j * step[1]) * c);
        for row in 0..step[0] {
            for line in (0..step[1] * c).step_by(LANES) {
                S::prefetch(at.wrapping_add(row * w * c + line));
            }
        }
    }
    /// The output window of tile `t` of images of `c` channels, for reading.
    #[inline(always)]
    pub fn outputs(&self, t: usize, y: *const f32, c: usize) -> Patch {
        let p = self.output_tile(t, y.cast_mut(), c, false, false);
        Patch { at: p.at, row: p.row, column: c, rows: [0, p.rows], columns: [0, p.columns], lanes: p.lanes }
    }
    /// The same for writing.
    #[inline(always)]
    pub fn output_tile(&self, t: usize, y: *mut f32, c: usize, stream: bool, relu: bool) -> OutputTile {
        let (image, i, j) = self.at(t);
        let (i, j) = (i * self.side[0], j * self.side[1]);
        let at = y.wrapping_add(((image * self.h + i) * self.w + j) * c);
        let (rows, columns) = (self.side[0].min(self.h - i), self.side[1].min(self.w - j));
        OutputTile { at, row: self.w * c, column: c, rows, columns, lanes: c.min(LANES), stream, relu }
    }
}
