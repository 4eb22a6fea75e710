//! Convolution without a transform: forward, and the gradient to the input, as one "gather" over register tiles.
//!
//! An output pixel sums runs of the padded input against packed weights. Forward gathers windows of `x`; the gradient to the input gathers
//! windows of `dy`, one such convolution for each phase of the stride, so that nothing is scattered and nothing multiplied by an inserted zero.
use super::Isa;
use super::shape::ConvShape;
use super::simd::{LANES, MAX_ROWS, Op, Simd, dispatch};
use super::tile::{Put, Run, Tile};
use super::work::{Scratch, Shared, parallel};
use crate::Array;

/// One axis of a gather: output `i` reads source positions `i * stride + tap`.
struct Axis {
    /// Outputs.
    len: usize,
    stride: usize,
    /// Offset of each tap, ascending, and the index of its kernel element.
    taps: Vec<(isize, usize)>,
    /// Source positions.
    source: usize,
}

impl Axis {
    fn low(&self) -> isize {
        self.taps[0].0
    }
    fn high(&self, outputs: usize) -> isize {
        (outputs as isize - 1) * self.stride as isize + self.taps[self.taps.len() - 1].0
    }
    fn padded(&self) -> bool {
        self.low() < 0 || self.high(self.len) >= self.source as isize
    }
    /// Whether the taps lie side by side.
    fn dense(&self) -> bool {
        self.taps.windows(2).all(|t| t[1].0 == t[0].0 + 1)
    }
}

/// A gather: source, window, weights and where outputs go.
struct Gather<'a> {
    source: &'a [f32],
    n: usize,
    /// Channels of a source pixel, the first that is read and how many are.
    pixel: usize,
    first: usize,
    c: usize,
    rows: Axis,
    cols: Axis,
    /// `[panels][taps * c][16]`
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    relu: bool,
    out: Shared,
    /// Offset of the first output, and floats from image to image, row to row and pixel to pixel.
    origin: usize,
    step: [usize; 3],
    k: usize,
}

/// Forward convolution of one shape with explicit instruction set.
pub fn forward(isa: Isa, s: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>, relu: bool, y: &mut [f32]) {
    let (cg, kg) = (s.c / s.groups, s.k / s.groups);
    let [rows, cols] = taps(s);
    let out = Shared::new(y);
    for g in 0..s.groups {
        let packed = pack(&rows, &cols, cg, kg, |r, t, c, k| ((r * s.kw + t) * cg + c) * s.k + g * kg + k, w, 1);
        group(isa, s, g, x, &packed, bias, relu, out);
    }
}

/// Weights `[panels][taps][c][16]` for [`forward_prepared`]; one group.
pub fn prepare(s: &ConvShape, w: &[f32]) -> Array {
    let [rows, cols] = taps(s);
    let mut packed = Array::uninit(&[s.k.div_ceil(LANES) * s.kh * s.kw * s.c * LANES]);
    pack_into(&rows, &cols, s.c, s.k, |r, t, c, k| ((r * s.kw + t) * s.c + c) * s.k + k, w, 1, packed.make_mut());
    packed
}

/// [`forward`] of one group with weights from [`prepare`].
pub fn forward_prepared(
    isa: Isa,
    s: &ConvShape,
    x: &[f32],
    packed: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    group(isa, s, 0, x, packed, bias, relu, Shared::new(y));
}

/// Row and column taps of a forward convolution.
fn taps(s: &ConvShape) -> [Vec<(isize, usize)>; 2] {
    let axis = |i: usize, n: usize| -> Vec<(isize, usize)> {
        (0..n).map(|t| ((t * s.dilation[i]) as isize - s.pad[i] as isize, t)).collect()
    };
    [axis(0, s.kh), axis(1, s.kw)]
}

/// Forward convolution of group `g` with its packed weights.
fn group(isa: Isa, s: &ConvShape, g: usize, x: &[f32], packed: &[f32], bias: Option<&[f32]>, relu: bool, out: Shared) {
    let (oh, ow, cg, kg) = (s.out_h(), s.out_w(), s.c / s.groups, s.k / s.groups);
    let [rows, cols] = taps(s);
    let padded_bias = bias.map(|b| pad_to_panels(&b[g * kg..(g + 1) * kg]));
    Gather {
        source: x,
        n: s.n,
        pixel: s.c,
        first: g * cg,
        c: cg,
        rows: Axis { len: oh, stride: s.stride[0], taps: rows, source: s.h },
        cols: Axis { len: ow, stride: s.stride[1], taps: cols, source: s.w },
        weights: packed,
        bias: padded_bias.as_deref(),
        relu,
        out,
        origin: g * kg,
        step: [oh * ow * s.k, ow * s.k, s.k],
        k: kg,
    }
    .run(isa);
}

/// Gradient to the input with explicit instruction set; overwrites `dx`.
pub fn grad_input(isa: Isa, s: &ConvShape, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let (oh, ow, cg, kg) = (s.out_h(), s.out_w(), s.c / s.groups, s.k / s.groups);
    // Input position stride * i + phase receives kernel element t from output i + (phase + pad - t * dilation) / stride.
    let taps = |i: usize, n: usize, phase: usize| -> Vec<(isize, usize)> {
        let stride = s.stride[i] as isize;
        let offset = |t: usize| (phase + s.pad[i]) as isize - (t * s.dilation[i]) as isize;
        (0..n).rev().filter(|&t| offset(t) % stride == 0).map(|t| (offset(t) / stride, t)).collect()
    };
    let covered = s.kh >= s.stride[0] && s.kw >= s.stride[1] && s.dilation == [1, 1];
    if !covered {
        dx.fill(0.0);
    }
    let out = Shared::new(dx);
    for g in 0..s.groups {
        for a in 0..s.stride[0].min(s.h) {
            for b in 0..s.stride[1].min(s.w) {
                let (rows, cols) = (taps(0, s.kh, a), taps(1, s.kw, b));
                if rows.is_empty() || cols.is_empty() {
                    continue;
                }
                let packed =
                    pack(&rows, &cols, kg, cg, |r, t, k, c| ((r * s.kw + t) * cg + c) * s.k + g * kg + k, w, s.k);
                Gather {
                    source: dy,
                    n: s.n,
                    pixel: s.k,
                    first: g * kg,
                    c: kg,
                    rows: Axis { len: (s.h - a).div_ceil(s.stride[0]), stride: 1, taps: rows, source: oh },
                    cols: Axis { len: (s.w - b).div_ceil(s.stride[1]), stride: 1, taps: cols, source: ow },
                    weights: &packed,
                    bias: None,
                    relu: false,
                    out,
                    origin: (a * s.w + b) * s.c + g * cg,
                    step: [s.h * s.w * s.c, s.stride[0] * s.w * s.c, s.stride[1] * s.c],
                    k: cg,
                }
                .run(isa);
            }
        }
    }
}

fn pad_to_panels(v: &[f32]) -> Scratch {
    let mut s = Scratch::zeros(v.len().next_multiple_of(LANES));
    s[..v.len()].copy_from_slice(v);
    s
}

/// Weights as `[panels of k][taps][c][16]`; `at(r, t, c, k)` is the position in `w`, `stride_k` the distance of neighbours in k.
fn pack(
    rows: &[(isize, usize)],
    cols: &[(isize, usize)],
    c: usize,
    k: usize,
    at: impl Fn(usize, usize, usize, usize) -> usize + Sync + Send,
    w: &[f32],
    stride_k: usize,
) -> Scratch {
    let mut packed = Scratch::new(k.div_ceil(LANES) * rows.len() * cols.len() * c * LANES);
    pack_into(rows, cols, c, k, at, w, stride_k, &mut packed);
    packed
}

fn pack_into(
    rows: &[(isize, usize)],
    cols: &[(isize, usize)],
    c: usize,
    k: usize,
    at: impl Fn(usize, usize, usize, usize) -> usize + Sync + Send,
    w: &[f32],
    stride_k: usize,
    packed: &mut [f32],
) {
    let depth = rows.len() * cols.len() * c;
    let panels = k.div_ceil(LANES);
    let shared = Shared::new(packed);
    parallel(panels, panels * depth > 4096, |p| {
        // SAFETY: each task writes its own panel.
        let panel = unsafe { shared.part(p * depth * LANES, depth * LANES) };
        let lanes = (k - p * LANES).min(LANES);
        let mut lines = panel.chunks_exact_mut(LANES);
        for &(_, r) in rows {
            for &(_, t) in cols {
                for ci in 0..c {
                    let Some(line) = lines.next() else { return };
                    let from = at(r, t, ci, p * LANES);
                    if stride_k == 1 && lanes == LANES {
                        line.copy_from_slice(&w[from..from + LANES]);
                    } else {
                        for (l, v) in line.iter_mut().enumerate() {
                            *v = if l < lanes { w[from + l * stride_k] } else { 0.0 };
                        }
                    }
                }
            }
        }
    });
}

/// About so many output pixels make a task: enough to reuse the weights in cache, few enough that their window stays there too.
const TASK_PIXELS: usize = 240;
/// Fewer tasks than this leave threads without work.
const LEAST_TASKS: usize = 16;

impl Gather<'_> {
    fn run(&self, isa: Isa) {
        let lines = self.n * self.rows.len;
        if lines == 0 || self.cols.len == 0 {
            return;
        }
        // The part of a task depends on the shape of a sample alone.
        let window = self.c * self.cols.len * self.cols.stride * self.rows.stride;
        let per_task = (TASK_PIXELS / self.cols.len).min(65536 / window.max(1)).max(1);
        let tasks = lines.div_ceil(per_task);
        let work = lines * self.cols.len * self.k * self.c * self.rows.taps.len() * self.cols.taps.len();
        // Few pixels and many outputs are spread over threads by panels, in pairs as the widest tile takes them.
        let pairs = self.k.div_ceil(2 * LANES);
        let parts = if tasks >= LEAST_TASKS { 1 } else { LEAST_TASKS.div_ceil(tasks).min(pairs) };
        let per_part = pairs.div_ceil(parts) * 2 * LANES;
        let parts = self.k.div_ceil(per_part);
        parallel(tasks * parts, work > 1 << 17, |i| {
            let (from, first) = (i / parts * per_task, i % parts * per_part);
            let outputs = first..(first + per_part).min(self.k);
            dispatch(isa, Task { g: self, from, to: (from + per_task).min(lines), outputs })
        });
    }
}

struct Task<'a> {
    g: &'a Gather<'a>,
    from: usize,
    to: usize,
    /// Starts at a panel.
    outputs: std::ops::Range<usize>,
}

impl Op for Task<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        let (rows, cols) = (&g.rows, &g.cols);
        let copy = rows.padded() || cols.padded();
        let merged = cols.dense() && (copy || g.c == g.pixel);
        let width = (cols.high(cols.len) - cols.low() + 1) as usize;
        // Position of each output line's window, and of its outputs.
        let count = self.to - self.from;
        let mut lines: Vec<(isize, usize)> = Vec::with_capacity(count);
        let mut images: Vec<(usize, usize, usize, usize)> = Vec::new(); // image, first line, lines, scratch rows before
        let mut scratch_rows = 0;
        let mut at = self.from;
        while at < self.to {
            let (image, first) = (at / rows.len, at % rows.len);
            let n = (rows.len - first).min(self.to - at);
            images.push((image, first, n, scratch_rows));
            let deep = (n - 1) * rows.stride + (rows.high(1) - rows.low()) as usize + 1;
            for i in 0..n {
                let source = if copy {
                    ((scratch_rows + i * rows.stride) * width * g.c) as isize
                } else {
                    let top = ((first + i) * rows.stride) as isize + rows.low();
                    ((image * rows.source) as isize + top) * (cols.source * g.pixel) as isize
                        + cols.low() * g.pixel as isize
                        + g.first as isize
                };
                lines.push((source, g.origin + image * g.step[0] + (first + i) * g.step[1]));
            }
            scratch_rows += deep;
            at += n;
        }
        let mut scratch = Scratch::new(if copy { scratch_rows * width * g.c } else { 0 });
        if copy {
            for &(image, first, n, before) in &images {
                let deep = (n - 1) * rows.stride + (rows.high(1) - rows.low()) as usize + 1;
                let top = (first * rows.stride) as isize + rows.low();
                for i in 0..deep {
                    let to = &mut scratch[(before + i) * width * g.c..][..width * g.c];
                    copy_line(g, image, top + i as isize, to);
                }
            }
        }
        let (base, pixel, line) = if copy {
            (scratch.as_ptr(), g.c, width * g.c)
        } else {
            (g.source.as_ptr(), g.pixel, cols.source * g.pixel)
        };
        let (len, mut runs) = (if merged { cols.taps.len() * g.c } else { g.c }, Vec::new());
        let mut depth = 0;
        for &(r, _) in &rows.taps {
            for &(t, _) in &cols.taps[..if merged { 1 } else { cols.taps.len() }] {
                let a = (r - rows.low()) * line as isize + (t - cols.low()) * pixel as isize;
                runs.push(Run { a, b: (depth * LANES) as isize });
                depth += len;
            }
        }
        let pixels = count * cols.len;
        let step = cols.stride * pixel;
        let mut column = self.outputs.start;
        while column < self.outputs.end {
            let panels = if self.outputs.end - column > LANES { S::PANELS } else { 1 };
            let panel = column / LANES;
            let mut tile = Tile {
                count: S::ROWS,
                rows: [base; MAX_ROWS],
                step_a: 1,
                runs: &runs,
                len,
                b: g.weights.as_ptr().add(panel * depth * LANES),
                step_b: LANES,
                panel_b: depth * LANES,
                out: [std::ptr::null_mut(); MAX_ROWS],
                columns: (self.outputs.end - column).min(panels * LANES),
                put: Put::Set,
                bias: g.bias.map_or(std::ptr::null(), |b| b.as_ptr().add(column)),
                relu: g.relu,
            };
            let (mut l, mut p) = (0, 0);
            let mut done = 0;
            while done < pixels {
                for i in 0..S::ROWS {
                    if done < pixels {
                        let (source, out) = lines[l];
                        tile.rows[i] = base.offset(source + (p * step) as isize);
                        tile.out[i] = g.out.ptr().add(out + p * g.step[2] + column);
                        done += 1;
                        p += 1;
                        if p == cols.len {
                            p = 0;
                            l += 1;
                        }
                    } else {
                        tile.rows[i] = tile.rows[0];
                        tile.out[i] = std::ptr::null_mut();
                    }
                }
                S::tile(&tile, panels);
            }
            column += panels * LANES;
        }
    }
}

/// One row of the source with the columns that windows reach, zero outside.
fn copy_line(g: &Gather, image: usize, row: isize, to: &mut [f32]) {
    let cols = &g.cols;
    if row < 0 || row >= g.rows.source as isize {
        to.fill(0.0);
        return;
    }
    let width = to.len() / g.c;
    let before = (-cols.low()).clamp(0, width as isize) as usize;
    let skip = cols.low().max(0) as usize;
    let inside = cols.source.saturating_sub(skip).min(width - before);
    to[..before * g.c].fill(0.0);
    to[(before + inside) * g.c..].fill(0.0);
    let from = ((image * g.rows.source + row as usize) * cols.source + skip) * g.pixel + g.first;
    let to = &mut to[before * g.c..(before + inside) * g.c];
    if inside == 0 {
        return;
    }
    if g.c == g.pixel {
        to.copy_from_slice(&g.source[from..from + inside * g.c]);
    } else {
        for (i, pixel) in to.chunks_exact_mut(g.c).enumerate() {
            pixel.copy_from_slice(&g.source[from + i * g.pixel..][..g.c]);
        }
    }
}
