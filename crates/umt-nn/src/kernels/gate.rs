//! Channels multiplied by gates: `y = Σ x · gate`, one gate per image and channel.
use super::Isa;
use super::simd::{LANES, Op, Simd, dispatch};
use super::work::{Scratch, Shared, parallel};

/// Pixels in a block with sums of its own.
const BLOCK: usize = 256;

/// One stream `[n, rows, c]` and its gates `[n, c]`.
#[derive(Clone, Copy)]
pub struct Stream<'a> {
    pub x: &'a [f32],
    pub gate: &'a [f32],
}

/// Blocks of an image, and the pixels of block `b`: (first, number).
fn block(rows: usize, b: usize) -> (usize, usize) {
    (b * BLOCK, BLOCK.min(rows - b * BLOCK))
}

/// `y = Σ over streams of x · gate`.
pub fn forward(isa: Isa, rows: usize, c: usize, streams: &[Stream], y: &mut [f32]) {
    let images = y.len() / (rows * c).max(1);
    let blocks = rows.div_ceil(BLOCK);
    let out = Shared::new(y);
    parallel(images * blocks, images * rows * c > 1 << 15, |t| {
        let (image, (from, pixels)) = (t / blocks, block(rows, t % blocks));
        // SAFETY: each task writes its own pixels.
        let y = unsafe { out.part((image * rows + from) * c, pixels * c) };
        dispatch(isa, Sum { streams, at: (image * rows + from) * c, image, c, y });
    });
}

struct Sum<'a> {
    streams: &'a [Stream<'a>],
    at: usize,
    image: usize,
    c: usize,
    y: &'a mut [f32],
}

impl Op for Sum<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let c = self.c;
        for (i, stream) in self.streams.iter().enumerate() {
            for first in (0..c).step_by(LANES) {
                let lanes = (c - first).min(LANES);
                let gate = S::load_part(stream.gate.as_ptr().add(self.image * c + first), lanes);
                for at in (first..self.y.len()).step_by(c) {
                    let (x, y) = (stream.x.as_ptr().add(self.at + at), self.y.as_mut_ptr().add(at));
                    if lanes == LANES {
                        let old = if i > 0 { S::load(y) } else { S::splat(0.0) };
                        S::store(y, S::fma(S::load(x), gate, old));
                    } else {
                        let old = if i > 0 { S::load_part(y, lanes) } else { S::splat(0.0) };
                        S::store_part(y, S::fma(S::load_part(x, lanes), gate, old), lanes);
                    }
                }
            }
        }
    }
}

/// Gradients of one stream: `dx = dy · gate` if wanted, `dgate = Σ over rows of dy · x`.
pub fn backward(
    isa: Isa,
    rows: usize,
    c: usize,
    stream: Stream,
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dgate: &mut [f32],
) {
    let images = dgate.len() / c.max(1);
    let blocks = rows.div_ceil(BLOCK);
    let mut sums = Scratch::new(images * blocks * c);
    let (shared, out) = (Shared::new(&mut sums), dx.map(Shared::new));
    parallel(images * blocks, images * rows * c > 1 << 15, |t| {
        let (image, (from, pixels)) = (t / blocks, block(rows, t % blocks));
        let at = (image * rows + from) * c;
        // SAFETY: each task writes its own pixels and its own sums.
        let (dx, sums) = unsafe { (out.map(|out| out.part(at, pixels * c)), shared.part(t * c, c)) };
        dispatch(isa, Back { stream, at, image, c, dy: &dy[at..][..pixels * c], dx, sums });
    });
    for (image, d) in dgate.chunks_exact_mut(c).enumerate() {
        d.fill(0.0);
        for b in 0..blocks {
            d.iter_mut().zip(&sums[(image * blocks + b) * c..]).for_each(|(d, s)| *d += s);
        }
    }
}

struct Back<'a> {
    stream: Stream<'a>,
    at: usize,
    image: usize,
    c: usize,
    dy: &'a [f32],
    dx: Option<&'a mut [f32]>,
    sums: &'a mut [f32],
}

impl Op for Back<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let c = self.c;
        let dx = self.dx.map_or(std::ptr::null_mut(), |dx| dx.as_mut_ptr());
        for first in (0..c).step_by(LANES) {
            let lanes = (c - first).min(LANES);
            let load = |p: *const f32| if lanes == LANES { S::load(p) } else { S::load_part(p, lanes) };
            let gate = load(self.stream.gate.as_ptr().add(self.image * c + first));
            let mut sum = S::splat(0.0);
            for at in (first..self.dy.len()).step_by(c) {
                let d = load(self.dy.as_ptr().add(at));
                sum = S::fma(d, load(self.stream.x.as_ptr().add(self.at + at)), sum);
                if !dx.is_null() {
                    let to = dx.add(at);
                    if lanes == LANES {
                        S::store(to, S::mul(d, gate))
                    } else {
                        S::store_part(to, S::mul(d, gate), lanes)
                    }
                }
            }
            S::store_part(self.sums.as_mut_ptr().add(first), sum, lanes);
        }
    }
}

/// `x += row · scale` for each row of an image, one `row` of `c` values per image.
pub fn add_rows(isa: Isa, rows: usize, c: usize, row: &[f32], scale: f32, x: &mut [f32]) {
    let images = x.len() / (rows * c).max(1);
    let blocks = rows.div_ceil(BLOCK);
    let out = Shared::new(x);
    parallel(images * blocks, images * rows * c > 1 << 15, |t| {
        let (image, (from, pixels)) = (t / blocks, block(rows, t % blocks));
        // SAFETY: each task writes its own pixels.
        let x = unsafe { out.part((image * rows + from) * c, pixels * c) };
        dispatch(isa, AddRow { row: &row[image * c..][..c], scale, x });
    });
}

struct AddRow<'a> {
    row: &'a [f32],
    scale: f32,
    x: &'a mut [f32],
}

impl Op for AddRow<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (c, scale) = (self.row.len(), S::splat(self.scale));
        for first in (0..c).step_by(LANES) {
            let lanes = (c - first).min(LANES);
            let row = S::mul(S::load_part(self.row.as_ptr().add(first), lanes), scale);
            for at in (first..self.x.len()).step_by(c) {
                let p = self.x.as_mut_ptr().add(at);
                if lanes == LANES {
                    S::store(p, S::add(S::load(p), row));
                } else {
                    S::store_part(p, S::add(S::load_part(p, lanes), row), lanes);
                }
            }
        }
    }
}
