//! Sums over neighbours, channel by channel: resizing, average pooling, depth-wise convolution, learned upsampling, and the way back of each.
//!
//! The one idea: along each axis a table says which source positions an output sums and with which weight ([`Taps`]); the gradient to the source is
//! the same sum over the transposed table, so nothing is scattered and one kernel serves all.
use super::Isa;
use super::simd::{LANES, Op, Simd, dispatch};
use super::work::{Scratch, Shared, cut, parallel};

/// Along one axis: for each output, pairs of a source position and the number of a weight.
#[derive(Clone, Debug)]
pub struct Taps {
    /// Where the pairs of each output begin; one more than there are outputs.
    first: Vec<usize>,
    pairs: Vec<(usize, usize)>,
    /// Weights.
    pub count: usize,
}

impl Taps {
    /// A table of `outputs` outputs over `count` weights.
    pub fn new<I: IntoIterator<Item = (usize, usize)>>(outputs: usize, count: usize, of: impl Fn(usize) -> I) -> Taps {
        let (mut first, mut pairs) = (vec![0], Vec::new());
        for i in 0..outputs {
            pairs.extend(of(i));
            first.push(pairs.len());
        }
        Taps { first, pairs, count }
    }

    /// For each of `sources` source positions the outputs that sum it.
    pub fn transposed(&self, sources: usize) -> Taps {
        let mut of = vec![Vec::new(); sources];
        for output in 0..self.outputs() {
            for &(source, weight) in self.of(output) {
                of[source].push((output, weight));
            }
        }
        Taps::new(sources, self.count, |i| of[i].iter().copied())
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.first.len() - 1
    }

    /// What an output sums: (source, number of a weight).
    #[inline(always)]
    pub fn of(&self, output: usize) -> &[(usize, usize)] {
        &self.pairs[self.first[output]..self.first[output + 1]]
    }
}

/// What source positions are multiplied by.
#[derive(Clone, Copy)]
pub enum Weights<'a> {
    /// `[rows.count][columns.count][c]`.
    ByChannel(&'a [f32]),
    /// The product of one factor by row and one by column.
    Product(&'a [f32], &'a [f32]),
}

/// Sums over `[n, h, w, c]`.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    /// Images.
    pub n: usize,
    /// Height and width of the source.
    pub source: [usize; 2],
    /// Channels.
    pub c: usize,
    /// Along rows and along columns.
    pub rows: &'a Taps,
    pub columns: &'a Taps,
    pub weights: Weights<'a>,
}

/// `y = sums of x (+ bias by channel) (+ skip)`.
pub fn forward(isa: Isa, s: &Sample, x: &[f32], bias: Option<&[f32]>, skip: Option<&[f32]>, y: &mut [f32]) {
    let (lines, row) = (s.n * s.rows.outputs(), s.columns.outputs() * s.c);
    let out = Shared::new(y);
    parallel(lines, lines * row > 1 << 14, |line| {
        // SAFETY: each task writes its own row.
        let y = unsafe { out.part(line * row, row) };
        let skip = skip.map(|skip| &skip[line * row..][..row]);
        dispatch(isa, Line { s, x, line, bias, skip, y });
    });
}

struct Line<'a> {
    s: &'a Sample<'a>,
    x: &'a [f32],
    line: usize,
    bias: Option<&'a [f32]>,
    skip: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Line<'_> {
    /// The channels `first..first + lanes` of the row.
    #[inline(always)]
    unsafe fn block<S: Simd, const WHOLE: bool, const BY_CHANNEL: bool>(&mut self, first: usize, lanes: usize) {
        let s = self.s;
        let (image, row) = (self.line / s.rows.outputs(), self.line % s.rows.outputs());
        let load = |p: *const f32| if WHOLE { S::load(p) } else { S::load_part(p, lanes) };
        let bias = self.bias.map_or(S::splat(0.0), |b| load(b.as_ptr().add(first)));
        let rows = s.rows.of(row);
        let image = self.x.as_ptr().add(image * s.source[0] * s.source[1] * s.c + first);
        for column in 0..s.columns.outputs() {
            let mut sum = bias;
            for &(r, wr) in rows {
                let line = image.add(r * s.source[1] * s.c);
                for &(t, wt) in s.columns.of(column) {
                    let weight = match s.weights {
                        Weights::ByChannel(w) if BY_CHANNEL => {
                            load(w.as_ptr().add((wr * s.columns.count + wt) * s.c + first))
                        }
                        Weights::Product(a, b) if !BY_CHANNEL => S::splat(a[wr] * b[wt]),
                        _ => S::splat(0.0),
                    };
                    sum = S::fma(load(line.add(t * s.c)), weight, sum);
                }
            }
            let at = column * s.c + first;
            if let Some(skip) = self.skip {
                sum = S::add(sum, load(skip.as_ptr().add(at)));
            }
            let to = self.y.as_mut_ptr().add(at);
            if WHOLE { S::store(to, sum) } else { S::store_part(to, sum, lanes) }
        }
    }
}

impl Op for Line<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let c = self.s.c;
        for first in (0..c).step_by(LANES) {
            let lanes = (c - first).min(LANES);
            match (lanes == LANES, matches!(self.s.weights, Weights::ByChannel(_))) {
                (true, true) => self.block::<S, true, true>(first, lanes),
                (true, false) => self.block::<S, true, false>(first, lanes),
                (false, true) => self.block::<S, false, true>(first, lanes),
                (false, false) => self.block::<S, false, false>(first, lanes),
            }
        }
    }
}

/// Gradient to weights by channel, `[rows.count][columns.count][c]`: each row of `dy` has sums of its own, which are added in order.
pub fn grad_weight(isa: Isa, s: &Sample, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let lines = s.n * s.rows.outputs();
    // Cut by shape, never by threads.
    let chunks = lines.clamp(1, 16);
    let mut sums = Scratch::zeros(chunks * dw.len());
    let shared = Shared::new(&mut sums);
    parallel(chunks, dy.len() > 1 << 14, |i| {
        // SAFETY: each task has its own sums.
        let sums = unsafe { shared.part(i * dw.len(), dw.len()) };
        dispatch(isa, Sums { s, x, dy, lines: cut(lines, chunks, 1, i), sums });
    });
    dw.copy_from_slice(&sums[..dw.len()]);
    for chunk in sums.chunks_exact(dw.len().max(1)).skip(1) {
        dw.iter_mut().zip(chunk).for_each(|(a, b)| *a += b);
    }
}

struct Sums<'a> {
    s: &'a Sample<'a>,
    x: &'a [f32],
    dy: &'a [f32],
    lines: std::ops::Range<usize>,
    sums: &'a mut [f32],
}

impl Op for Sums<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let s = self.s;
        let (height, width, count) = (s.rows.outputs(), s.columns.outputs(), s.columns.count);
        let mut own = Scratch::new(count * LANES);
        for line in self.lines {
            let image = self.x.as_ptr().add(line / height * s.source[0] * s.source[1] * s.c);
            let dy = self.dy.as_ptr().add(line * width * s.c);
            for &(r, wr) in s.rows.of(line % height) {
                let source = image.add(r * s.source[1] * s.c);
                for first in (0..s.c).step_by(LANES) {
                    let lanes = (s.c - first).min(LANES);
                    let load = |p: *const f32| if lanes == LANES { S::load(p) } else { S::load_part(p, lanes) };
                    own.fill(0.0);
                    for column in 0..width {
                        let d = load(dy.add(column * s.c + first));
                        for &(t, wt) in s.columns.of(column) {
                            let sum = own.as_mut_ptr().add(wt * LANES);
                            S::store(sum, S::fma(load(source.add(t * s.c + first)), d, S::load(sum)));
                        }
                    }
                    for wt in 0..count {
                        let to = self.sums.as_mut_ptr().add((wr * count + wt) * s.c + first);
                        let sum = S::load(own.as_ptr().add(wt * LANES));
                        let old = if lanes == LANES { S::load(to) } else { S::load_part(to, lanes) };
                        S::store_part(to, S::add(old, sum), lanes);
                    }
                }
            }
        }
    }
}
