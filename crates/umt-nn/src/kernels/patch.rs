//! Forward convolutions with few input channels (stems): windows of at most 32 values are packed side by side, then multiplied as matrices.
//!
//! The inner dimension is too short for runs of pointers to pay; a packed window has constant addresses.
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

/// Whether windows are small enough, and a whole vector store ends where the window ends.
pub fn suits(s: &ConvShape) -> bool {
    let (run, wide) = (s.kw * s.c, wide(s));
    s.groups == 1
        && s.dilation == [1, 1]
        && s.k.is_multiple_of(LANES)
        && run <= LANES
        && wide <= 2 * LANES
        && (s.kh - 1) * run + LANES >= wide
        && s.kh > 1
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

/// Packs the windows of a range of output rows as `[pixels][wide]`; `packed` has sixteen floats more.
#[inline(always)]
unsafe fn pack<S: Simd>(s: &ConvShape, x: &[f32], lines: std::ops::Range<usize>, packed: &mut [f32]) {
    let (oh, ow, run, wide) = (s.out_h(), s.out_w(), s.kw * s.c, wide(s));
    let width = ((ow - 1) * s.stride[1] + s.kw) * s.c;
    let mut rows = Scratch::new(s.kh * width + LANES);
    let mut tail = [0.0f32; LANES];
    tail[..run].fill(1.0);
    let tail = S::load(tail.as_ptr());
    let mut out = packed.as_mut_ptr();
    for line in lines {
        for r in 0..s.kh {
            copy_row(s, x, 0, line / oh, line % oh * s.stride[0] + r, &mut rows[r * width..][..width]);
        }
        for p in 0..ow {
            // Each store runs over into what the next one writes; the last one brings zeros.
            let from = rows.as_ptr().add(p * s.stride[1] * s.c);
            for r in 0..s.kh - 1 {
                S::store(out.add(r * run), S::load(from.add(r * width)));
            }
            S::store(out.add((s.kh - 1) * run), S::where_positive(tail, S::load(from.add((s.kh - 1) * width))));
            out = out.add(wide);
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
        let mut packed = Scratch::new((pixels + S::ROWS) * wide + LANES);
        pack::<S>(s, self.x, self.lines.clone(), &mut packed);
        let y = self.y.ptr().add(self.lines.start * s.out_w() * s.k);
        let mut rest = Scratch::new(S::ROWS * 2 * LANES);
        for first in (0..s.k).step_by(S::PANELS * LANES) {
            let panels = S::PANELS.min((s.k - first) / LANES);
            for p in (0..pixels).step_by(S::ROWS) {
                // A tile that reaches over the end goes elsewhere first.
                let whole = p + S::ROWS <= pixels;
                let t = Dense {
                    a: packed.as_ptr().add(p * wide),
                    block_a: LANES,
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
                if wide == LANES {
                    S::dense(&t, panels)
                } else {
                    S::dense_wide(&t, panels)
                }
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
