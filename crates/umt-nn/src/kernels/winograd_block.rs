//! A convolution of one [`Form`], block by block: input transforms, products, and the way back.
//!
//! # Safety
//! Callers of the unsafe functions owe two things: each pointer is valid for all elements that its sizes and steps
//! reach, and the processor has the instructions of `S`, which `dispatch` sees to.
use super::Isa;
use super::simd::{LANES, Op, Simd, dispatch};
use super::tile::Dense;
use super::winograd::{Form, OutputTile};
use super::winograd_filter::{Filter, Panel, step as step_u};
use super::winograd_tiles::Tiles;
use super::work::{Scratch, Shared, cut, parallel};

/// A convolution with a 3 by 3 kernel: forward, or backward with turned weights.
pub struct Conv<'a, F> {
    pub tiles: Tiles,
    pub x: &'a [f32],
    /// Height, width and channels of the input, channels of the output.
    pub sizes: [usize; 4],
    pub pad: [usize; 2],
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
    pub y: Shared,
    pub stream: bool,
    pub form: F,
}

/// Filters as they are stored, or transformed before.
pub enum Filters<'a> {
    Plain(Filter<'a>),
    Ready(&'a [f32]),
}

/// Each panel of sixteen filters is a task.
pub fn transform_filters<F: Form>(isa: Isa, form: F, f: &Filter, u: &mut [f32]) {
    let [c, k] = f.channels();
    let (panels, depth) = (k.div_ceil(LANES), c.next_multiple_of(LANES));
    let size = F::WEIGHTS * step_u(depth);
    let shared = Shared::new(u);
    parallel(panels, panels * depth > 256, |panel| {
        // SAFETY: each task writes its own panel.
        let out = unsafe { shared.part(panel * size, size) };
        dispatch(isa, Panel { form, f, panel, panels: 1, depth: 0..depth, out });
    });
}

/// A block's share of tiles: their transforms and products stay in the second-level cache.
fn block_tiles<F: Form>(c: usize) -> usize {
    match (F::POINTS > 36, c) {
        (false, 0..=32) => 24,
        (false, 33..=128) => 48,
        (true, 0..=16) => 12,
        _ => 24,
    }
}

/// Output panels multiplied before they are transformed back.
const PANELS: usize = 4;
/// Input channels whose filters are transformed at once when there are few tiles; a constant, though it would not change a bit.
const DEPTH: usize = 64;

impl<F: Form> Conv<'_, F> {
    fn depth(&self) -> usize {
        self.sizes[2].next_multiple_of(LANES)
    }

    pub fn run(&self, isa: Isa, filters: &Filters) {
        let (count, k, depth) = (self.tiles.count(), self.sizes[3], self.depth());
        let few = if F::POINTS <= 36 { 128 } else { 48 };
        // Filters that were transformed before need not be worth their transform, only the threads.
        let large = match filters {
            Filters::Plain(_) => depth * k > 128 * 128,
            Filters::Ready(_) => depth * k >= 32 * 32,
        };
        if count <= few && large {
            self.by_channels(isa, filters);
            return;
        }
        match filters {
            Filters::Plain(f) => {
                let mut u = Scratch::new(k.div_ceil(LANES) * F::WEIGHTS * step_u(depth));
                transform_filters(isa, self.form, f, &mut u);
                self.by_tiles(isa, &u);
            }
            Filters::Ready(u) => self.by_tiles(isa, u),
        }
    }

    fn by_tiles(&self, isa: Isa, u: &[f32]) {
        let (count, k, depth) = (self.tiles.count(), self.sizes[3], self.depth());
        let per = block_tiles::<F>(depth);
        // A few blocks would leave threads without work.
        let per = if count.div_ceil(per) < 6 { count.div_ceil(6).next_multiple_of(12).clamp(12, per) } else { per };
        parallel(count.div_ceil(per), count * depth * k * F::POINTS > 1 << 18, |b| {
            let range = b * per..(b * per + per).min(count);
            dispatch(isa, Block { conv: self, u, range, per });
        });
    }

    /// Few tiles and many channels: the input is transformed once, and each task transforms its filters and uses them at once.
    fn by_channels(&self, isa: Isa, filters: &Filters) {
        let (count, depth) = (self.tiles.count(), self.depth());
        let per = count.next_multiple_of(12);
        let step = depth * per + LANES;
        let mut v = Scratch::new(F::POINTS * step);
        let shared = Shared::new(&mut v);
        let (groups, c) = (count.div_ceil(4), self.sizes[2]);
        let parts = if groups < 8 { c.div_ceil(8 * LANES) } else { 1 };
        parallel(groups * parts, true, |i| {
            let g = i / parts;
            let range = g * 4..(g * 4 + 4).min(count);
            let channels = cut(c, parts, LANES, i % parts);
            dispatch(isa, Inputs { conv: self, range, channels, per, step, v: shared, first: 0 });
        });
        let pairs = self.sizes[3].div_ceil(2 * LANES);
        parallel(pairs, true, |pair| {
            let panels = (self.sizes[3].div_ceil(LANES) - pair * 2).min(2);
            let mut m = Scratch::new(F::POINTS * (2 * per * LANES + LANES));
            let mut p = Products {
                conv: self,
                v: &v,
                m: &mut m,
                range: 0..count,
                per,
                step,
                panel: pair * 2,
                panels,
                depth: 0..depth,
            };
            let f = match filters {
                Filters::Plain(f) => f,
                Filters::Ready(u) => {
                    let size = F::WEIGHTS * step_u(depth);
                    dispatch(isa, Multiply(&mut p, &u[pair * 2 * size..][..panels * size]));
                    dispatch(isa, Back(&p));
                    return;
                }
            };
            let mut u = Scratch::new(panels * F::WEIGHTS * step_u(DEPTH.min(depth)));
            for from in (0..depth).step_by(DEPTH) {
                let part = from..(from + DEPTH).min(depth);
                let size = F::WEIGHTS * step_u(part.len());
                dispatch(
                    isa,
                    Panel {
                        form: self.form,
                        f,
                        panel: pair * 2,
                        panels,
                        depth: part.clone(),
                        out: &mut u[..panels * size],
                    },
                );
                p.depth = part;
                dispatch(isa, Multiply(&mut p, &u));
            }
            dispatch(isa, Back(&p));
        });
    }
}

/// Input transforms of a range of tiles into `[points][depth / 16][per][16]`, the first tile at row 0.
struct Inputs<'a, F> {
    conv: &'a Conv<'a, F>,
    range: std::ops::Range<usize>,
    /// Whole lanes, but for the last.
    channels: std::ops::Range<usize>,
    per: usize,
    step: usize,
    v: Shared,
    /// The tile of row 0.
    first: usize,
}

impl<F: Form> Op for Inputs<'_, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (conv, [h, w, c, _]) = (self.conv, self.conv.sizes);
        for t in self.range {
            conv.tiles.prefetch::<S>(t + self.per, conv.x.as_ptr(), h, w, c, F::STEP);
            let window = conv.tiles.window(t, conv.x.as_ptr(), h, w, c, conv.pad);
            for first in self.channels.clone().step_by(LANES) {
                let patch = window.channels(first, c);
                let out = self.v.ptr().add(first * self.per + (t - self.first) * LANES);
                F::input::<S>(&patch, out, self.step);
            }
        }
    }
}

/// Products of transformed inputs and filters, and their way back, for `panels` output panels and a part of the depth.
struct Products<'a, F> {
    conv: &'a Conv<'a, F>,
    v: &'a [f32],
    m: &'a mut [f32],
    range: std::ops::Range<usize>,
    per: usize,
    step: usize,
    panel: usize,
    panels: usize,
    depth: std::ops::Range<usize>,
}

impl<F: Form> Products<'_, F> {
    /// Floats from point to point: one line more than a power of two, so that points do not share cache sets.
    fn step_m(&self) -> usize {
        self.panels * self.per * LANES + LANES
    }

    /// `u` is `[panels][36][depth][16]` with a line behind each depth.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&mut self, u: &[f32]) {
        let (depth, per, rows) = (self.depth.len(), self.per, self.range.len());
        let (size, step_m) = (F::WEIGHTS * step_u(depth), self.step_m());
        for point in 0..F::POINTS {
            let mut p = 0;
            while p < self.panels {
                let wide = S::PANELS.min(self.panels - p);
                let mut row = 0;
                while row < rows {
                    let t = Dense {
                        a: self.v.as_ptr().add(point * self.step + self.depth.start * per + row * LANES),
                        rows: rows - row,
                        block_a: per * LANES,
                        depth,
                        b: u.as_ptr().add(p * size + F::weights(point) * step_u(depth)),
                        panel_b: size,
                        out: self.m.as_mut_ptr().add(point * step_m + (p * per + row) * LANES),
                        panel_out: per * LANES,
                        row_out: LANES,
                        fresh: self.depth.start == 0,
                        start: std::ptr::null(),
                        stream: false,
                    };
                    S::dense(&t, wide);
                    row += S::ROWS;
                }
                p += wide;
            }
        }
    }

    #[inline(always)]
    unsafe fn back<S: Simd>(&self) {
        let (conv, k) = (self.conv, self.conv.sizes[3]);
        // Of the first channel; the same for all panels.
        let place = |t| conv.tiles.output_tile(t, conv.y.ptr(), k, conv.stream, conv.relu);
        let places: Vec<OutputTile> = self.range.clone().map(place).collect();
        for p in 0..self.panels {
            let first = (self.panel + p) * LANES;
            let bias = conv.bias.map_or(S::splat(0.0), |b| S::load_part(b.as_ptr().add(first), k - first));
            for (row, place) in places.iter().enumerate() {
                let place = place.channels(first, k);
                F::output::<S>(self.m.as_ptr().add((p * self.per + row) * LANES), self.step_m(), bias, &place);
            }
        }
        if conv.stream {
            S::fence();
        }
    }
}

struct Multiply<'a, 'b, F>(&'a mut Products<'b, F>, &'a [f32]);

impl<F: Form> Op for Multiply<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        self.0.multiply::<S>(self.1);
    }
}

struct Back<'a, 'b, F>(&'a Products<'b, F>);

impl<F: Form> Op for Back<'_, '_, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        self.0.back::<S>();
    }
}

/// All of a block of tiles.
struct Block<'a, F> {
    conv: &'a Conv<'a, F>,
    u: &'a [f32],
    range: std::ops::Range<usize>,
    per: usize,
}

impl<F: Form> Op for Block<'_, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (conv, depth, per) = (self.conv, self.conv.depth(), self.per);
        let step = depth * per + LANES;
        let mut v = Scratch::new(F::POINTS * step);
        let shared = Shared::new(&mut v);
        let channels = 0..conv.sizes[2];
        Inputs { conv, range: self.range.clone(), channels, per, step, v: shared, first: self.range.start }.run::<S>();
        let mut m = Scratch::new(F::POINTS * (PANELS * per * LANES + LANES));
        let size = F::WEIGHTS * step_u(depth);
        let all = conv.sizes[3].div_ceil(LANES);
        for panel in (0..all).step_by(PANELS) {
            let panels = PANELS.min(all - panel);
            let mut p = Products {
                conv,
                v: &v,
                m: &mut m,
                range: self.range.clone(),
                per,
                step,
                panel,
                panels,
                depth: 0..depth,
            };
            p.multiply::<S>(&self.u[panel * size..][..panels * size]);
            p.back::<S>();
        }
    }
}
