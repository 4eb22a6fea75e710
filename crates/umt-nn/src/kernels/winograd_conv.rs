//! Forward convolution and gradient to the input by F(4x4, 3x3).
//!
//! Each output is one chain over the input channels at each point, whatever block it is computed in, so blocks may follow caches and batch freely.
use super::Isa;
use super::norm::streams;
use super::shape::ConvShape;
use super::simd::{LANES, Op, Simd, dispatch};
use super::tile::Dense;
use super::winograd::{POINTS, Place, SIDE, Tiles, input, output, weight};
use super::work::{Scratch, Shared, parallel};

/// A convolution of stride 1 with a 3 by 3 kernel: forward, or backward with turned weights.
struct Conv<'a> {
    tiles: Tiles,
    x: &'a [f32],
    h: usize,
    w: usize,
    c: usize,
    k: usize,
    pad: [usize; 2],
    bias: Option<&'a [f32]>,
    y: Shared,
    stream: bool,
}

/// Whether the transform pays: a fixed property of the shape of one sample.
pub fn suits(s: &ConvShape) -> bool {
    let plain = s.kh == 3 && s.kw == 3 && s.stride == [1, 1] && s.dilation == [1, 1] && s.groups == 1;
    let fill = |len: usize| len as f64 / len.next_multiple_of(SIDE) as f64;
    plain && s.c >= 8 && s.k >= 8 && s.pad[0] <= 2 && s.pad[1] <= 2 && fill(s.out_h()) * fill(s.out_w()) > 0.4
}

/// Forward convolution; [`suits`] holds.
pub fn forward(isa: Isa, s: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let tiles = Tiles::new(s.n, s.out_h(), s.out_w());
    let stream = s.k % LANES == 0 && streams(y);
    let conv = Conv { tiles, x, h: s.h, w: s.w, c: s.c, k: s.k, pad: s.pad, bias, y: Shared::new(y), stream };
    conv.run(isa, &Filter { w, c: s.c, k: s.k, turned: false });
}

/// Gradient to the input: a convolution of `dy` with turned weights; [`suits`] holds.
pub fn grad_input(isa: Isa, s: &ConvShape, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let tiles = Tiles::new(s.n, s.h, s.w);
    let stream = s.c % LANES == 0 && streams(dx);
    let pad = [2 - s.pad[0], 2 - s.pad[1]];
    let conv = Conv { tiles, x: dy, h: s.out_h(), w: s.out_w(), c: s.k, k: s.c, pad, bias: None, y: Shared::new(dx), stream };
    conv.run(isa, &Filter { w, c: s.c, k: s.k, turned: true });
}

/// Weights `[3][3][c][k]`; turned ones convolve k channels to c.
struct Filter<'a> {
    w: &'a [f32],
    c: usize,
    k: usize,
    turned: bool,
}

/// Transforms the filters to sixteen outputs, `[36][depth][16]`.
struct Panel<'a> {
    f: &'a Filter<'a>,
    panel: usize,
    out: &'a mut [f32],
}

impl Op for Panel<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (f, first) = (self.f, self.panel * LANES);
        let (c, outputs) = if f.turned { (f.k, f.c) } else { (f.c, f.k) };
        let depth = c.next_multiple_of(LANES);
        let lanes = (outputs - first).min(LANES);
        let to = self.out.as_mut_ptr();
        if f.turned {
            // Sixteen filters of one input channel at a time, turned by 180 degrees and transposed.
            let mut g = [0.0f32; 9 * LANES * LANES];
            for d in (0..c).step_by(LANES) {
                let n = (c - d).min(LANES);
                for tap in 0..9 {
                    for l in 0..lanes {
                        let from = &f.w[((8 - tap) * f.c + first + l) * f.k + d..][..n];
                        for (i, v) in from.iter().enumerate() {
                            g[(i * 9 + tap) * LANES + l] = *v;
                        }
                    }
                }
                for i in 0..n {
                    weight::<S>(g.as_ptr().add(i * 9 * LANES), LANES, lanes, to.add((d + i) * LANES), depth * LANES);
                }
            }
        } else {
            for d in 0..c {
                weight::<S>(f.w.as_ptr().add(d * f.k + first), f.c * f.k, lanes, to.add(d * LANES), depth * LANES);
            }
        }
        for point in 0..POINTS {
            self.out[(point * depth + c) * LANES..(point + 1) * depth * LANES].fill(0.0);
        }
    }
}

/// Tiles of a block for `c` input channels: their transforms and products stay in the second-level cache.
fn block_tiles(c: usize) -> usize {
    match c {
        0..=32 => 24,
        33..=128 => 48,
        _ => 24,
    }
}

/// Output panels multiplied before they are transformed back.
const PANELS: usize = 4;

impl Conv<'_> {
    fn depth(&self) -> usize {
        self.c.next_multiple_of(LANES)
    }

    fn run(&self, isa: Isa, f: &Filter) {
        let count = self.tiles.count();
        let (panels, depth) = (self.k.div_ceil(LANES), self.depth());
        let heavy = count * depth * self.k * POINTS > 1 << 18;
        if count <= 128 && depth * self.k > 128 * 128 {
            self.by_channels(isa, f);
            return;
        }
        let size = POINTS * depth * LANES;
        let mut u = Scratch::new(panels * size);
        let shared = Shared::new(&mut u);
        parallel(panels, panels * depth > 256, |panel| {
            // SAFETY: each task writes its own panel.
            let out = unsafe { shared.part(panel * size, size) };
            dispatch(isa, Panel { f, panel, out });
        });
        let per = block_tiles(depth);
        parallel(count.div_ceil(per), heavy, |b| {
            let range = b * per..(b * per + per).min(count);
            dispatch(isa, Block { conv: self, u: &u, range, per });
        });
    }

    /// Few tiles and many channels: the input is transformed once, and each task transforms its filters and uses them at once.
    fn by_channels(&self, isa: Isa, f: &Filter) {
        let (count, depth) = (self.tiles.count(), self.depth());
        let per = count.next_multiple_of(12);
        let step = depth * per + LANES;
        let mut v = Scratch::new(POINTS * step);
        let shared = Shared::new(&mut v);
        let groups = count.div_ceil(4);
        parallel(groups, true, |g| {
            let range = g * 4..(g * 4 + 4).min(count);
            dispatch(isa, Inputs { conv: self, range, per, step, v: shared, first: 0 });
        });
        let pairs = self.k.div_ceil(2 * LANES);
        let size = POINTS * depth * LANES;
        parallel(pairs, true, |pair| {
            let panels = (self.k.div_ceil(LANES) - pair * 2).min(2);
            let mut u = Scratch::new(panels * size);
            for (i, out) in u.chunks_exact_mut(size).enumerate() {
                dispatch(isa, Panel { f, panel: pair * 2 + i, out });
            }
            let mut m = Scratch::new(POINTS * (2 * per * LANES + LANES));
            dispatch(isa, Products { conv: self, v: &v, u: &u, m: &mut m, range: 0..count, per, step, panel: pair * 2, panels });
        });
    }
}

/// Input transforms of a range of tiles into `[36][depth / 16][per][16]`, the first tile at row 0.
struct Inputs<'a> {
    conv: &'a Conv<'a>,
    range: std::ops::Range<usize>,
    per: usize,
    step: usize,
    v: Shared,
    /// The tile of row 0.
    first: usize,
}

impl Op for Inputs<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let c = self.conv;
        for t in self.range {
            c.tiles.prefetch::<S>(t + self.per, c.x.as_ptr(), c.h, c.w, c.c);
            for first in (0..c.c).step_by(LANES) {
                let patch = c.tiles.window(t, c.x.as_ptr(), c.h, c.w, c.c, c.pad, first);
                let out = self.v.ptr().add(first * self.per + (t - self.first) * LANES);
                input::<S>(&patch, out, self.step);
            }
        }
    }
}

/// Products of transformed inputs and filters, and their way back, for `panels` output panels.
struct Products<'a> {
    conv: &'a Conv<'a>,
    v: &'a [f32],
    /// `[panels][36][depth][16]`
    u: &'a [f32],
    m: &'a mut [f32],
    range: std::ops::Range<usize>,
    per: usize,
    step: usize,
    panel: usize,
    panels: usize,
}

impl Op for Products<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (c, depth, per) = (self.conv, self.conv.depth(), self.per);
        let rows = self.range.len();
        let size = POINTS * depth * LANES;
        // One line more than a power of two, so that points do not share cache sets.
        let step_m = self.panels * per * LANES + LANES;
        for point in 0..POINTS {
            let mut p = 0;
            while p < self.panels {
                let wide = S::PANELS.min(self.panels - p);
                let mut row = 0;
                while row < rows {
                    let t = Dense {
                        a: self.v.as_ptr().add(point * self.step + row * LANES),
                        block_a: per * LANES,
                        blocks: depth / LANES,
                        b: self.u.as_ptr().add(p * size + point * depth * LANES),
                        panel_b: size,
                        out: self.m.as_mut_ptr().add(point * step_m + (p * per + row) * LANES),
                        panel_out: per * LANES,
                    };
                    S::dense(&t, wide);
                    row += S::ROWS;
                }
                p += wide;
            }
        }
        for p in 0..self.panels {
            let first = (self.panel + p) * LANES;
            let lanes = (c.k - first).min(LANES);
            let bias = c.bias.map_or(S::splat(0.0), |b| S::load_part(b.as_ptr().add(first), lanes));
            for (row, t) in self.range.clone().enumerate() {
                let (image, i, j) = c.tiles.at(t);
                let place = Place {
                    at: c.y.ptr().add(((image * c.tiles.h + i) * c.tiles.w + j) * c.k + first),
                    row: c.tiles.w * c.k,
                    column: c.k,
                    rows: SIDE.min(c.tiles.h - i),
                    columns: SIDE.min(c.tiles.w - j),
                    lanes,
                    stream: c.stream,
                };
                output::<S>(self.m.as_ptr().add((p * per + row) * LANES), step_m, bias, &place);
            }
        }
        if c.stream {
            S::fence();
        }
    }
}

/// All of a block of tiles.
struct Block<'a> {
    conv: &'a Conv<'a>,
    u: &'a [f32],
    range: std::ops::Range<usize>,
    per: usize,
}

impl Op for Block<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (c, depth, per) = (self.conv, self.conv.depth(), self.per);
        let step = depth * per + LANES;
        let mut v = Scratch::new(POINTS * step);
        let shared = Shared::new(&mut v);
        Inputs { conv: c, range: self.range.clone(), per, step, v: shared, first: self.range.start }.run::<S>();
        let mut m = Scratch::new(POINTS * (PANELS * per * LANES + LANES));
        let size = POINTS * depth * LANES;
        for panel in (0..c.k.div_ceil(LANES)).step_by(PANELS) {
            let panels = PANELS.min(c.k.div_ceil(LANES) - panel);
            let u = &self.u[panel * size..][..panels * size];
            Products { conv: c, v: &v, u, m: &mut m, range: self.range.clone(), per, step, panel, panels }.run::<S>();
        }
    }
}
