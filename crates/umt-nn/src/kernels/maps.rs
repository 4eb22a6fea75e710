//! The public kernels on feature maps beside convolution, batch-norm and max-pooling; lengths are checked here.
use super::sample::{Sample, Taps, Weights};
use super::tables::{self, DOUBLED, Factors};
use super::{
    ConvShape, PoolShape, checked, conv, cross_entropy as entropy, elementwise, gate, isa, len, norm, pass, product,
    sample,
};
use crate::timing::timed;

/// How a map changes its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resize {
    /// Each output takes the source at `floor(i * sources / outputs)`, as PyTorch's mode `nearest`.
    Nearest,
    /// Each output is interpolated between four sources, as PyTorch's mode `bilinear` without aligned corners.
    Bilinear,
    /// Each output is the mean of the sources it covers, as PyTorch's adaptive average pooling.
    Average,
}

impl Resize {
    pub(crate) fn axis(self, sources: usize, outputs: usize) -> Factors {
        match self {
            Self::Nearest => Factors::nearest(sources, outputs),
            Self::Bilinear => Factors::bilinear(sources, outputs),
            Self::Average => Factors::adaptive(sources, outputs),
        }
    }
}

/// `[n, h, w, c]` with `from` = `[h, w]` to `[n, h', w', c]` with `to` = `[h', w']`; no side is 0.
pub fn resize(how: Resize, n: usize, from: [usize; 2], to: [usize; 2], c: usize, x: &[f32], y: &mut [f32]) {
    len("x", x, n * from[0] * from[1] * c);
    len("y", y, n * to[0] * to[1] * c);
    timed(
        || pass("resize", &[n, from[0], from[1], c], x.len() + n * to[0] * to[1] * c),
        || separable(n, from, c, &how.axis(from[0], to[0]), &how.axis(from[1], to[1]), x, y),
    );
}

/// Gradient of [`resize`] to its input; overwrites `dx`.
pub fn resize_backward(how: Resize, n: usize, from: [usize; 2], to: [usize; 2], c: usize, dy: &[f32], dx: &mut [f32]) {
    len("dy", dy, n * to[0] * to[1] * c);
    len("dx", dx, n * from[0] * from[1] * c);
    let (rows, columns) = (how.axis(from[0], to[0]).transposed(from[0]), how.axis(from[1], to[1]).transposed(from[1]));
    timed(
        || pass("resize, backward", &[n, from[0], from[1], c], dy.len() + n * from[0] * from[1] * c),
        || separable(n, to, c, &rows, &columns, dy, dx),
    );
}

fn separable(n: usize, source: [usize; 2], c: usize, rows: &Factors, columns: &Factors, x: &[f32], y: &mut [f32]) {
    let weights = Weights::Product(&rows.factors, &columns.factors);
    let s = Sample { n, source, c, rows: &rows.taps, columns: &columns.taps, weights };
    sample::forward(isa(), &s, x, None, None, y);
}

fn windows(s: &PoolShape) -> [Factors; 2] {
    [
        Factors::average(s.h, s.window[0], s.stride[0], s.pad[0]),
        Factors::average(s.w, s.window[1], s.stride[1], s.pad[1]),
    ]
}

/// Average over windows; padding counts as zeros, as by default in PyTorch.
pub fn average_pool(s: &PoolShape, x: &[f32], y: &mut [f32]) {
    super::checked_pool(s, x, y, None);
    let [rows, columns] = windows(s);
    timed(
        || pass("average-pool", &[s.n, s.h, s.w, s.c], s.x_len() + s.y_len()),
        || separable(s.n, [s.h, s.w], s.c, &rows, &columns, x, y),
    );
}

/// Gradient of [`average_pool`] to its input; overwrites `dx`.
pub fn average_pool_backward(s: &PoolShape, dy: &[f32], dx: &mut [f32]) {
    super::checked_pool(s, dx, dy, None);
    let [rows, columns] = windows(s);
    timed(
        || pass("average-pool, backward", &[s.n, s.h, s.w, s.c], s.x_len() + s.y_len()),
        || separable(s.n, [s.out_h(), s.out_w()], s.c, &rows.transposed(s.h), &columns.transposed(s.w), dy, dx),
    );
}

/// Learned upsampling (Seichter et al., "Efficient RGB-D semantic segmentation", 2021): nearest to `to`, then a depth-wise convolution with weights
/// `[3, 3, 1, c]`, bias and one zero on each side, `+ skip`. The doubled map is never made: of the nine weights those that meet the same source are
/// added first. Each side of `to` is twice that of `from`, or one less.
pub fn upsample(
    n: usize,
    from: [usize; 2],
    to: [usize; 2],
    c: usize,
    x: &[f32],
    w: &[f32],
    bias: &[f32],
    skip: Option<&[f32]>,
    y: &mut [f32],
) {
    checked_doubling(from, to);
    len("x", x, n * from[0] * from[1] * c);
    len("w", w, 9 * c);
    len("bias", bias, c);
    len("skip", skip.unwrap_or(y), n * to[0] * to[1] * c);
    len("y", y, n * to[0] * to[1] * c);
    let (rows, columns) = (tables::doubled(from[0], to[0]), tables::doubled(from[1], to[1]));
    let joined = joined(c, w);
    let s = Sample { n, source: from, c, rows: &rows, columns: &columns, weights: Weights::ByChannel(&joined) };
    let floats = x.len() + y.len() * if skip.is_some() { 2 } else { 1 };
    timed(
        || pass("learned upsampling", &[n, from[0], from[1], c], floats),
        || sample::forward(isa(), &s, x, Some(bias), skip, y),
    );
}

/// Gradients of [`upsample`] to its input, if wanted, and its weights; overwrites both.
pub fn upsample_backward(
    n: usize,
    from: [usize; 2],
    to: [usize; 2],
    c: usize,
    x: &[f32],
    w: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dw: &mut [f32],
) {
    checked_doubling(from, to);
    len("x", x, n * from[0] * from[1] * c);
    len("w", w, 9 * c);
    len("dw", dw, 9 * c);
    len("dy", dy, n * to[0] * to[1] * c);
    let (rows, columns) = (tables::doubled(from[0], to[0]), tables::doubled(from[1], to[1]));
    let joined = joined(c, w);
    let s = Sample { n, source: from, c, rows: &rows, columns: &columns, weights: Weights::ByChannel(&joined) };
    let mut sums = vec![0.0; joined.len()];
    timed(
        || pass("learned upsampling, backward", &[n, from[0], from[1], c], 2 * (x.len() + dy.len())),
        || {
            sample::grad_weight(isa(), &s, x, dy, &mut sums);
            dw.fill(0.0);
            each_joined(|tap, at| add(&mut dw[tap * c..][..c], &sums[at * c..][..c]));
            if let Some(dx) = dx {
                len("dx", dx, x.len());
                let (rows, columns) = (rows.transposed(from[0]), columns.transposed(from[1]));
                let back = Sample { source: to, rows: &rows, columns: &columns, ..s };
                sample::forward(isa(), &back, dy, None, None, dx);
            }
        },
    );
}

fn checked_doubling(from: [usize; 2], to: [usize; 2]) {
    let doubles = |i: usize| from[i] > 0 && (to[i] == 2 * from[i] || to[i] + 1 == 2 * from[i]);
    assert!(doubles(0) && doubles(1), "upsampling of {from:?} to {to:?}");
}

/// Calls `f(tap, joined weight)` for each tap of a 3x3 kernel in each joined weight.
fn each_joined(mut f: impl FnMut(usize, usize)) {
    for (i, rows) in DOUBLED.iter().enumerate() {
        for (j, columns) in DOUBLED.iter().enumerate() {
            for r in *rows {
                columns.iter().for_each(|t| f(r * 3 + t, i * DOUBLED.len() + j));
            }
        }
    }
}

fn joined(c: usize, w: &[f32]) -> Vec<f32> {
    let mut joined = vec![0.0; DOUBLED.len() * DOUBLED.len() * c];
    each_joined(|tap, at| add(&mut joined[at * c..][..c], &w[tap * c..][..c]));
    joined
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
}

/// The tables of a depth-wise convolution.
pub(super) fn depthwise(s: &ConvShape) -> [Taps; 2] {
    [
        tables::convolution(s.h, s.out_h(), s.kh, s.stride[0], s.pad[0], s.dilation[0]),
        tables::convolution(s.w, s.out_w(), s.kw, s.stride[1], s.pad[1], s.dilation[1]),
    ]
}

/// `y = Σ over streams of x · gate`: `x` is `[n, rows, c]`, its gate `[n, c]`. One stream is a squeeze-and-excitation, two are ESANet's SE-add.
pub fn gated_sum(rows: usize, c: usize, streams: &[(&[f32], &[f32])], y: &mut [f32]) {
    for (x, g) in streams {
        len("x", x, y.len());
        len("gate", g, y.len() / rows.max(1));
    }
    let streams: Vec<_> = streams.iter().map(|&(x, gate)| gate::Stream { x, gate }).collect();
    let floats = (streams.len() + 1) * y.len();
    timed(|| pass("gated sum", &[rows, c], floats), || gate::forward(isa(), rows, c, &streams, y));
}

/// Gradients of one stream of [`gated_sum`]: to `x`, if wanted, and to the gate; overwrites both.
pub fn gated_sum_backward(
    rows: usize,
    c: usize,
    x: &[f32],
    gate: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dgate: &mut [f32],
) {
    len("dy", dy, x.len());
    len("dx", dx.as_deref().unwrap_or(x), x.len());
    len("gate", gate, x.len() / rows.max(1));
    len("dgate", dgate, gate.len());
    let floats = x.len() * if dx.is_some() { 3 } else { 2 };
    timed(
        || pass("gated sum, backward", &[rows, c], floats),
        || gate::backward(isa(), rows, c, gate::Stream { x, gate }, dy, dx, dgate),
    );
}

/// Adds `scale` times `row`, `[n, c]`, to each of the rows of `x`, `[n, rows, c]`.
pub fn add_rows(rows: usize, c: usize, row: &[f32], scale: f32, x: &mut [f32]) {
    len("row", row, x.len() / rows.max(1));
    timed(|| pass("sum with rows", &[rows, c], 2 * row.len() * rows), || gate::add_rows(isa(), rows, c, row, scale, x));
}

/// Convolution followed by a ReLU, see [`super::conv2d`].
pub fn conv2d_relu(s: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    checked(s, x, w, y);
    if let Some(b) = bias {
        len("bias", b, s.k);
    }
    timed(|| product("convolution", s), || conv::forward(isa(), s, x, w, bias, true, y));
}

/// The gradient `d` of a ReLU of `[rows, c]` with output `y` becomes that of its input; `db` receives the gradient to a bias before the ReLU.
pub fn relu_bias_backward_in_place(rows: usize, c: usize, y: &[f32], d: &mut [f32], db: &mut [f32]) {
    len("y", y, rows * c);
    len("d", d, rows * c);
    len("db", db, c);
    timed(
        || pass("ReLU, backward, and gradient to bias", &[rows, c], 3 * rows * c),
        || norm::masked_row_sums(isa(), rows, c, y, d, db),
    );
}

/// `d = 0` where the output `y` is not above 0.
pub fn relu_backward_in_place(y: &[f32], d: &mut [f32]) {
    len("d", d, y.len());
    timed(|| pass("ReLU, backward", &[], 3 * y.len()), || elementwise::relu_backward_in_place(isa(), y, d));
}

/// `y = 1 / (1 + e^-x)`
pub fn sigmoid(x: &[f32], y: &mut [f32]) {
    len("y", y, x.len());
    y.iter_mut().zip(x).for_each(|(y, x)| *y = 1.0 / (1.0 + (-x).exp()));
}

/// `dx = dy · y · (1 - y)`
pub fn sigmoid_backward(y: &[f32], dy: &[f32], dx: &mut [f32]) {
    len("dy", dy, y.len());
    len("dx", dx, y.len());
    dx.iter_mut().zip(y).zip(dy).for_each(|((dx, y), dy)| *dx = dy * y * (1.0 - y));
}

/// Sum over all values of `(a - b)²`, and `scale · (a - b)` in `grad`.
pub fn squared_distance(a: &[f32], b: &[f32], scale: f32, grad: &mut [f32]) -> f64 {
    len("b", b, a.len());
    len("grad", grad, a.len());
    timed(|| pass("squared distance", &[], 3 * b.len()), || elementwise::squared_distance(isa(), a, b, scale, grad))
}

/// What [`cross_entropy`] returns: both sums are over the rows that count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Weighted losses, in nats.
    pub loss: f64,
    /// Weights of the labels.
    pub weight: f64,
}

impl CrossEntropy {
    /// The weighted mean; 0 where no row counts.
    pub fn mean(&self) -> f64 {
        if self.weight > 0.0 { self.loss / self.weight } else { 0.0 }
    }
}

/// Summed weight of the labels below `classes`: what [`cross_entropy`] divides by.
#[cfg(feature = "cuda")]
pub(crate) fn label_weight(classes: usize, labels: &[u8], weights: Option<&[f32]>) -> f64 {
    entropy::Targets { labels, weights, smoothing: 0.0 }.total(classes)
}

/// Softmax cross-entropy of `[rows, classes]` logits against one class per row, and the gradient of the weighted mean, as PyTorch's with `weight`,
/// `label_smoothing` and reduction `mean`. A label beyond the classes (255: void) takes its row out of the loss; where none counts, loss and gradient
/// are 0. At most 255 classes.
pub fn cross_entropy(
    classes: usize,
    logits: &[f32],
    labels: &[u8],
    weights: Option<&[f32]>,
    smoothing: f32,
    grad: Option<&mut [f32]>,
) -> CrossEntropy {
    len("logits", logits, labels.len() * classes);
    len("grad", grad.as_deref().unwrap_or(logits), logits.len());
    if let Some(w) = weights {
        len("weights", w, classes);
    }
    let targets = entropy::Targets { labels, weights, smoothing };
    let weight = targets.total(classes);
    let scale = if weight > 0.0 { (1.0 / weight) as f32 } else { 0.0 };
    let arrays = if grad.is_some() { 2 } else { 1 };
    let loss = timed(
        || pass("cross-entropy", &[labels.len(), classes], arrays * logits.len()),
        || entropy::run(isa(), classes, logits, &targets, scale, grad),
    );
    CrossEntropy { loss, weight }
}
