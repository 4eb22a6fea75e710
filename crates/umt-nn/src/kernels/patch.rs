//! Forward convolutions with few input channels (stems): windows of a few output rows are packed side by side, then multiplied as matrices.
//!
//! Runs of the inner dimension are too short for pointers to pay; a packed window has constant addresses.
//!
//! # Safety
//! Callers of the unsafe functions owe two things: each pointer is valid for all elements that its sizes and steps
//! reach, and the processor has the instructions of `S`, which `dispatch` sees to.
use super::Isa;
use super::norm::streams;
use super::shape::ConvShape;
use super::simd::{LANES, Op, Simd, dispatch};
use super::tile::Dense;
use super::weight::copy_row;
use super::work::{Scratch, Shared, parallel};

/// Pixels packed at once, in whole output rows.
const PIXELS: usize = 240;

/// Most values of a window.
const DEEPEST: usize = 256;

/// Whether windows are small, and their rows too short for the direct kernel.
pub fn suits(s: &ConvShape) -> bool {
    let depth = s.kh * s.kw * s.c;
    let small = s.kw * s.c <= LANES && depth <= 2 * LANES || s.c <= 4 && depth <= DEEPEST;
    s.groups == 1 && s.dilation == [1, 1] && s.k.is_multiple_of(LANES) && s.kh > 1 && small
}

/// Floats of a packed window.
fn wide(s: &ConvShape) -> usize {
    (s.kh * s.kw * s.c).next_multiple_of(LANES)
}

/// Forward convolution; [`suits`] holds.
pub fn forward(isa: Isa, s: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let lines = s.n * s.out_h();
    let (depth, wide, panels) = (s.kh * s.kw * s.c, wide(s), s.k / LANES);
    let mut weights = Scratch::zeros(panels * wide * LANES);
    for (p, panel) in weights.chunks_exact_mut(wide * LANES).enumerate() {
        for (row, line) in panel.chunks_exact_mut(LANES).take(depth).enumerate() {
            line.copy_from_slice(&w[row * s.k + p * LANES..][..LANES]);
        }
    }
    let stream = streams(y);
    let out = Shared::new(y);
    let per = (PIXELS / s.out_w()).max(1);
    parallel(lines.div_ceil(per), s.flops() > 1 << 18, |b| {
        dispatch(
            isa,
            Forward { s, x, weights: &weights, bias, lines: b * per..(b * per + per).min(lines), y: out, stream },
        );
    });
}

/// A stretch of a window that lies in one row of the source and in one block of sixteen.
#[derive(Clone, Copy)]
struct Piece {
    /// Offset from the window's start in the source.
    from: usize,
    /// Offset from the window's place in its block.
    to: usize,
}

/// The pieces of a window in order, for source rows of `width` floats and blocks of `block`. Each store runs over into what the next one writes,
/// and what follows the last value is written as zeros by the last.
fn pieces(s: &ConvShape, width: usize, block: usize) -> Vec<Piece> {
    let (run, depth) = (s.kw * s.c, s.kh * s.kw * s.c);
    let starts = (0..depth).filter(|i| i % run == 0 || i % LANES == 0);
    starts.map(|i| Piece { from: i / run * width + i % run, to: i / LANES * block + i % LANES }).collect()
}

/// Packs the windows of a range of output rows as `[depth / 16][rows][16]`; `packed` has sixteen floats more than the blocks.
#[inline(always)]
unsafe fn pack<S: Simd>(s: &ConvShape, x: &[f32], lines: std::ops::Range<usize>, rows: usize, packed: &mut [f32]) {
    let (oh, ow, depth) = (s.out_h(), s.out_w(), s.kh * s.kw * s.c);
    let width = ((ow - 1) * s.stride[1] + s.kw) * s.c;
    let mut source = Scratch::new(s.kh * width + LANES);
    let pieces = pieces(s, width, rows * LANES);
    let end = packed.as_mut_ptr().add(depth / LANES * rows * LANES + depth % LANES);
    let mut at = 0;
    for line in lines {
        for r in 0..s.kh {
            copy_row(s, x, 0, line / oh, line % oh * s.stride[0] + r, &mut source[r * width..][..width]);
        }
        for p in 0..ow {
            let (from, to) = (source.as_ptr().add(p * s.stride[1] * s.c), packed.as_mut_ptr().add(at));
            for piece in &pieces {
                S::store(to.add(piece.to), S::load(from.add(piece.from)));
            }
            if !depth.is_multiple_of(LANES) {
                S::store(end.add(at), S::splat(0.0));
            }
            at += LANES;
        }
    }
}

struct Forward<'a> {
    s: &'a ConvShape,
    x: &'a [f32],
    /// `[panels][wide][16]`
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    lines: std::ops::Range<usize>,
    y: Shared,
    stream: bool,
}

impl Op for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (s, wide) = (self.s, wide(self.s));
        let pixels = self.lines.len() * s.out_w();
        let rows = pixels + S::ROWS;
        let mut packed = Scratch::new(rows * wide + LANES);
        pack::<S>(s, self.x, self.lines.clone(), rows, &mut packed);
        let y = self.y.ptr().add(self.lines.start * s.out_w() * s.k);
        let mut rest = Scratch::new(S::ROWS * 2 * LANES);
        for first in (0..s.k).step_by(S::PANELS * LANES) {
            let panels = S::PANELS.min((s.k - first) / LANES);
            for p in (0..pixels).step_by(S::ROWS) {
                // A tile that reaches over the end goes elsewhere first.
                let whole = p + S::ROWS <= pixels;
                let t = Dense {
                    a: packed.as_ptr().add(p * LANES),
                    rows: S::ROWS,
                    block_a: rows * LANES,
                    depth: s.kh * s.kw * s.c,
                    b: self.weights.as_ptr().add(first * wide),
                    panel_b: wide * LANES,
                    out: if whole { y.add(p * s.k + first) } else { rest.as_mut_ptr() },
                    row_out: if whole { s.k } else { panels * LANES },
                    panel_out: LANES,
                    start: self.bias.map_or(std::ptr::null(), |b| b.as_ptr().add(first)),
                    fresh: true,
                    stream: whole && self.stream,
                };
                S::dense(&t, panels);
                if !whole {
                    for (i, row) in rest.chunks_exact(panels * LANES).take(pixels - p).enumerate() {
                        std::ptr::copy_nonoverlapping(row.as_ptr(), y.add((p + i) * s.k + first), row.len());
                    }
                }
            }
        }
        if self.stream {
            S::fence();
        }
    }
}
