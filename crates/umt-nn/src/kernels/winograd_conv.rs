//! Forward convolution and gradient to the input by F(4x4, 3x3), of stride 1 and 2, and by F(4, 3) for filters of 3 by 1 and 1 by 3.
//!
//! Each output is one chain over the input channels at each point, whatever block it is computed in, so blocks may follow caches and batch freely.
use super::Isa;
use super::norm::streams;
use super::shape::ConvShape;
use super::simd::LANES;
use super::winograd::{Doubling, Form, Halving, Same};
use super::winograd_block::{Conv, Filters, transform_filters};
use super::winograd_filter::{Filter, Order, step};
use super::winograd_line::{Across, Down};
use super::winograd_tiles::Tiles;
use super::work::Shared;
use crate::Array;

/// A way to filter, by the shape of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// 3 by 3, stride 1.
    Same,
    /// 3 by 3, stride 2.
    Halving,
    /// 3 by 1.
    Down,
    /// 1 by 3.
    Across,
}

impl Way {
    /// Floats that a filter becomes.
    pub fn weights(self) -> usize {
        match self {
            Way::Same => Same::WEIGHTS,
            Way::Halving => Halving::WEIGHTS,
            Way::Down => Down::WEIGHTS,
            Way::Across => Across::WEIGHTS,
        }
    }
}

/// The transform that pays, if one does: a fixed property of the shape of one sample.
pub fn way(s: &ConvShape) -> Option<Way> {
    let fill = |len: usize| len as f64 / len.next_multiple_of(4) as f64;
    if s.dilation != [1, 1] || s.groups != 1 {
        return None;
    }
    let (way, channels, least) = match ([s.kh, s.kw], s.stride, s.pad) {
        ([3, 3], [1, 1], [0..=2, 0..=2]) => (Way::Same, 8, 0.4),
        ([3, 3], [2, 2], [1, 1]) => (Way::Halving, 16, 0.7),
        ([3, 1], [1, 1], [0..=2, 0]) => (Way::Down, 16, 0.7),
        ([1, 3], [1, 1], [0, 0..=2]) => (Way::Across, 16, 0.7),
        _ => return None,
    };
    (s.c.min(s.k) >= channels && fill(s.out_h()) * fill(s.out_w()) > least).then_some(way)
}

/// Forward convolution by `way`.
pub fn forward(
    isa: Isa,
    way: Way,
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    let stream = s.k.is_multiple_of(LANES) && streams(y);
    let job = Job {
        isa,
        filters: Filters::Plain(Filter { w, c: s.c, k: s.k, order: Order::Stored }),
        out: [s.n, s.out_h(), s.out_w()],
        x,
        sizes: [s.h, s.w, s.c, s.k],
        pad: s.pad,
        bias,
        relu,
        y: Shared::new(y),
        stream,
    };
    match way {
        Way::Same => job.run(Same),
        Way::Halving => job.run(Halving),
        Way::Down => job.run(Down),
        Way::Across => job.run(Across),
    }
}

/// Transformed filters `[panels][points][depth][16]`, a line behind each depth, for [`forward_prepared`].
pub fn prepare(isa: Isa, way: Way, s: &ConvShape, w: &[f32]) -> Array {
    let f = Filter { w, c: s.c, k: s.k, order: Order::Stored };
    match way {
        Way::Same => transformed(isa, Same, &f),
        Way::Halving => transformed(isa, Halving, &f),
        Way::Down => transformed(isa, Down, &f),
        Way::Across => transformed(isa, Across, &f),
    }
}

fn transformed<F: Form>(isa: Isa, form: F, f: &Filter) -> Array {
    let (panels, depth) = (f.k.div_ceil(LANES), f.c.next_multiple_of(LANES));
    let mut u = Array::uninit(&[panels * F::WEIGHTS * step(depth)]);
    transform_filters(isa, form, f, u.make_mut());
    u
}

/// Filters of `taps` elements in the order of [`Order::Packed`], for [`forward_prepared`].
pub fn pack(s: &ConvShape, w: &[f32]) -> Array {
    let taps = s.kh * s.kw;
    let mut packed = Array::uninit(&[s.k.div_ceil(LANES) * s.c * taps * LANES]);
    Filter { w, c: s.c, k: s.k, order: Order::Stored }.pack(taps, packed.make_mut());
    packed
}

/// [`forward`] with filters from [`prepare`], or from [`pack`] if they are not transformed yet.
pub fn forward_prepared(
    isa: Isa,
    way: Way,
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    transformed: bool,
    bias: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    let stream = s.k.is_multiple_of(LANES) && streams(y);
    let packed = Filter { w, c: s.c, k: s.k, order: Order::Packed };
    let job = Job {
        isa,
        filters: if transformed { Filters::Ready(w) } else { Filters::Plain(packed) },
        out: [s.n, s.out_h(), s.out_w()],
        x,
        sizes: [s.h, s.w, s.c, s.k],
        pad: s.pad,
        bias,
        relu,
        y: Shared::new(y),
        stream,
    };
    match way {
        Way::Same => job.run(Same),
        Way::Halving => job.run(Halving),
        Way::Down => job.run(Down),
        Way::Across => job.run(Across),
    }
}

/// Gradient to the input by `way`: a convolution of `dy` with turned weights.
pub fn grad_input(isa: Isa, way: Way, s: &ConvShape, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let stream = s.c.is_multiple_of(LANES) && streams(dx);
    let turned_pad = [s.kh - 1, s.kw - 1].into_iter().zip(s.pad).map(|(k, pad)| k.saturating_sub(pad));
    let pad: Vec<usize> = turned_pad.collect();
    let job = Job {
        isa,
        filters: Filters::Plain(Filter { w, c: s.c, k: s.k, order: Order::Turned }),
        out: [s.n, s.h, s.w],
        x: dy,
        sizes: [s.out_h(), s.out_w(), s.k, s.c],
        pad: if way == Way::Halving { [0, 0] } else { [pad[0], pad[1]] },
        bias: None,
        relu: false,
        y: Shared::new(dx),
        stream,
    };
    match way {
        Way::Same => job.run(Same),
        Way::Halving => job.run(Doubling),
        Way::Down => job.run(Down),
        Way::Across => job.run(Across),
    }
}

/// What all ways have in common.
struct Job<'a> {
    isa: Isa,
    filters: Filters<'a>,
    /// Images, rows and columns of the output.
    out: [usize; 3],
    x: &'a [f32],
    sizes: [usize; 4],
    pad: [usize; 2],
    bias: Option<&'a [f32]>,
    relu: bool,
    y: Shared,
    stream: bool,
}

impl Job<'_> {
    fn run<F: Form>(self, form: F) {
        let Job { isa, filters, out: [n, h, w], x, sizes, pad, bias, relu, y, stream } = self;
        Conv { tiles: Tiles::new::<F>(n, h, w), x, sizes, pad, bias, relu, y, stream, form }.run(isa, &filters);
    }
}
