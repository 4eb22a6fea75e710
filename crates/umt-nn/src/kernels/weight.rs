//! Gradient to the weights without a transform: pixels are the inner dimension of the register tile.
//!
//! Rows of the tile are elements (r, t, c) of the filter, columns output channels. Output rows are cut into a fixed number of chunks, each with
//! its own sum, added in order, so that threads never change a bit.
use super::Isa;
use super::shape::ConvShape;
use super::simd::{LANES, MAX_ROWS, Op, Simd, dispatch};
use super::tile::{Put, Run, Tile};
use super::work::{Scratch, Shared, cut, parallel};

/// Pixels whose rows of `x` and `dy` are kept in cache while all tiles pass over them.
const BLOCK_PIXELS: usize = 256;

/// Gradient to the weights with explicit instruction set; overwrites `dw`.
pub fn grad_weight(isa: Isa, s: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let lines = s.n * s.out_h();
    let (cg, kg) = (s.c / s.groups, s.k / s.groups);
    let (m, kp) = (s.kh * s.kw * cg, kg.next_multiple_of(LANES));
    if lines == 0 {
        dw.fill(0.0);
        return;
    }
    // Small filters: many chunks. Large ones: few chunks, and the filter itself is split.
    let chunks = ((1 << 19) / (m * kp)).clamp(2, 16).min(lines);
    let strips = (16 / chunks).clamp(1, m.div_ceil(48));
    let mut sums = Scratch::zeros(chunks * m * kp);
    for g in 0..s.groups {
        if g > 0 {
            sums.fill(0.0);
        }
        let shared = Shared::new(&mut sums);
        parallel(chunks * strips, s.flops() > 1 << 18, |t| {
            let (chunk, strip) = (t / strips, t % strips);
            let rows = cut(m, strips, 12, strip);
            let task = Task {
                s,
                x,
                dy,
                group: g,
                lines: cut(lines, chunks, 1, chunk),
                rows,
                sums: shared,
                offset: chunk * m * kp,
            };
            dispatch(isa, task);
        });
        let out = Shared::new(dw);
        parallel(m.div_ceil(64), chunks * m * kg > 1 << 16, |b| {
            for row in b * 64..(b * 64 + 64).min(m) {
                // SAFETY: each task writes its own rows of the group.
                let to = unsafe { out.part(row * s.k + g * kg, kg) };
                to.copy_from_slice(&sums[row * kp..][..kg]);
                for chunk in 1..chunks {
                    for (a, b) in to.iter_mut().zip(&sums[(chunk * m + row) * kp..][..kg]) {
                        *a += b;
                    }
                }
            }
        });
    }
}

struct Task<'a> {
    s: &'a ConvShape,
    x: &'a [f32],
    dy: &'a [f32],
    group: usize,
    lines: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    sums: Shared,
    offset: usize,
}

impl Op for Task<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let s = self.s;
        let (oh, ow, cg, kg) = (s.out_h(), s.out_w(), s.c / s.groups, s.k / s.groups);
        let kp = kg.next_multiple_of(LANES);
        let copy = s.pad != [0, 0] || s.groups > 1;
        let pack = kg != s.k || kg != kp;
        let width = if copy { (ow - 1) * s.stride[1] + s.dilation[1] * (s.kw - 1) + 1 } else { s.w };
        let deep = s.dilation[0] * (s.kh - 1) + 1;
        let block = (BLOCK_PIXELS / ow).min(32768 / (ow * s.stride[1] * s.stride[0] * cg)).max(1);
        let mut scratch = Scratch::new(if copy { block * s.stride[0].max(deep) * width * cg } else { 0 });
        let mut packed = Scratch::new(if pack { block * ow * kp } else { 0 });
        let mut runs: Vec<Run> = Vec::with_capacity(block);
        // Where each element of the filter lies in a window.
        let place = |row: usize| {
            let (tap, c) = (row / cg, row % cg);
            (tap / s.kw * s.dilation[0] * width + tap % s.kw * s.dilation[1]) * cg + c
        };
        // Tiles of equal height, so that the last is not almost empty.
        let high = self.rows.len().div_ceil(self.rows.len().div_ceil(S::ROWS));
        let places: Vec<usize> = self.rows.clone().map(place).collect();
        let mut at = self.lines.start;
        while at < self.lines.end {
            let to = (at + block).min(self.lines.end);
            runs.clear();
            // Windows of each output row; rows of the same image share their input rows.
            let (mut filled, mut image, mut next) = (0, usize::MAX, 0);
            for line in at..to {
                let (img, row) = (line / oh, line % oh);
                let a = if copy {
                    let top = row * s.stride[0];
                    let mut first = top;
                    let mut before = filled;
                    if img == image && next > top {
                        before = filled - (next - top);
                        first = next;
                    }
                    let end = top + deep;
                    for r in first..end {
                        copy_row(s, self.x, self.group, img, r, &mut scratch[filled * width * cg..][..width * cg]);
                        filled += 1;
                    }
                    (image, next) = (img, end.max(first));
                    (before * width * cg) as isize
                } else {
                    ((img * s.h + row * s.stride[0]) * s.w * s.c) as isize
                };
                let b = if pack {
                    for p in 0..ow {
                        let from = &self.dy[(line * ow + p) * s.k + self.group * kg..][..kg];
                        let to = &mut packed[((line - at) * ow + p) * kp..][..kp];
                        to[..kg].copy_from_slice(from);
                        to[kg..].fill(0.0);
                    }
                    (line - at) * ow * kp
                } else {
                    line * ow * s.k
                };
                runs.push(Run { a, b: b as isize });
            }
            let base = if copy { scratch.as_ptr() } else { self.x.as_ptr() };
            let b = if pack { packed.as_ptr() } else { self.dy.as_ptr() };
            let mut column = 0;
            while column < kp {
                let panels = if kp - column > LANES { S::PANELS } else { 1 };
                let mut tile = Tile {
                    count: high,
                    rows: [base; MAX_ROWS],
                    step_a: s.stride[1] * cg,
                    runs: &runs,
                    len: ow,
                    b: b.add(column),
                    step_b: kp,
                    panel_b: LANES,
                    out: [std::ptr::null_mut(); MAX_ROWS],
                    columns: panels * LANES,
                    put: Put::Add,
                    bias: std::ptr::null(),
                    relu: false,
                };
                let mut row = self.rows.start;
                while row < self.rows.end {
                    for i in 0..S::ROWS {
                        if i < high && row + i < self.rows.end {
                            tile.rows[i] = base.add(places[row + i - self.rows.start]);
                            tile.out[i] = self.sums.ptr().add(self.offset + (row + i) * kp + column);
                        } else {
                            tile.rows[i] = tile.rows[0];
                            tile.out[i] = std::ptr::null_mut();
                        }
                    }
                    S::tile(&tile, panels);
                    row += high;
                }
                column += panels * LANES;
            }
            at = to;
        }
    }
}

/// Row `r` of the padded input of one group, zero outside.
pub(super) fn copy_row(s: &ConvShape, x: &[f32], group: usize, image: usize, r: usize, to: &mut [f32]) {
    let cg = s.c / s.groups;
    if r < s.pad[0] || r >= s.pad[0] + s.h {
        to.fill(0.0);
        return;
    }
    let before = s.pad[1] * cg;
    let before = before.min(to.len());
    let inside = s.w.min((to.len() - before) / cg);
    to[..before].fill(0.0);
    to[before + inside * cg..].fill(0.0);
    let from = (image * s.h + r - s.pad[0]) * s.w * s.c + group * cg;
    let to = &mut to[before..before + inside * cg];
    if s.groups == 1 {
        to.copy_from_slice(&x[from..from + inside * cg]);
    } else {
        for (i, pixel) in to.chunks_exact_mut(cg).enumerate() {
            pixel.copy_from_slice(&x[from + i * s.c..][..cg]);
        }
    }
}
