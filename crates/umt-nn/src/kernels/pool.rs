//! Max-pooling, and means over rows.
use super::Isa;
use super::shape::PoolShape;
use super::simd::{Op, Simd, dispatch};
use super::work::{Scratch, Shared, parallel};

/// Max-pooling; `argmax` receives the position `row * w + column` of the first largest element in its image. NaN wins, so that it is seen.
pub fn max_pool(isa: Isa, s: &PoolShape, x: &[f32], y: &mut [f32], argmax: Option<&mut [u32]>) {
    let (oh, ow) = (s.out_h(), s.out_w());
    let out = Shared::new(y);
    let places = argmax.map(|a| {
        // SAFETY: `u32` and `f32` have the same size and alignment; the memory is only written through `u32` again.
        Shared::new(unsafe { std::slice::from_raw_parts_mut(a.as_mut_ptr().cast::<f32>(), a.len()) })
    });
    parallel(s.n * oh, s.y_len() > 1 << 14, |line| {
        // SAFETY: each task writes its own output row.
        let y = unsafe { out.part(line * ow * s.c, ow * s.c) };
        let mut unused = Scratch::new(if places.is_some() { 0 } else { s.c });
        for (p, y) in y.chunks_exact_mut(s.c).enumerate() {
            // SAFETY: each task writes its own row of places, or its own scratch.
            let place = unsafe {
                let at = match places {
                    Some(a) => a.ptr().add((line * ow + p) * s.c),
                    None => unused.as_mut_ptr(),
                };
                std::slice::from_raw_parts_mut(at.cast::<u32>(), s.c)
            };
            dispatch(isa, Window { s, x, image: line / oh, row: line % oh, column: p, y, place });
        }
    });
}

/// Positions of a window inside the input.
fn window(s: &PoolShape, row: usize, column: usize) -> impl Iterator<Item = usize> {
    let range = |i: usize, at: usize, len: usize| {
        let from = at * s.stride[i];
        from.saturating_sub(s.pad[i])..(from + s.window[i]).saturating_sub(s.pad[i]).min(len)
    };
    let columns = range(1, column, s.w);
    let w = s.w;
    range(0, row, s.h).flat_map(move |r| columns.clone().map(move |c| r * w + c))
}

struct Window<'a> {
    s: &'a PoolShape,
    x: &'a [f32],
    image: usize,
    row: usize,
    column: usize,
    y: &'a mut [f32],
    place: &'a mut [u32],
}

impl Op for Window<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (s, c) = (self.s, self.s.c);
        let image = &self.x[self.image * s.h * s.w * c..][..s.h * s.w * c];
        let mut first = true;
        for at in window(s, self.row, self.column) {
            let x = &image[at * c..][..c];
            if first {
                self.y.copy_from_slice(x);
                self.place.fill(at as u32);
                first = false;
                continue;
            }
            for ((y, p), &x) in self.y.iter_mut().zip(self.place.iter_mut()).zip(x) {
                // False for NaN in y, so the first NaN stays.
                let wins = x > *y || (x.is_nan() && !y.is_nan());
                *y = if wins { x } else { *y };
                *p = if wins { at as u32 } else { *p };
            }
        }
    }
}

/// Gradient of max-pooling to its input; overwrites `dx`.
pub fn max_pool_backward(isa: Isa, s: &PoolShape, argmax: &[u32], dy: &[f32], dx: &mut [f32]) {
    let (inputs, outputs) = (s.h * s.w * s.c, s.out_h() * s.out_w() * s.c);
    let out = Shared::new(dx);
    parallel(s.n, s.x_len() > 1 << 14, |i| {
        // SAFETY: each task writes its own image.
        let dx = unsafe { out.part(i * inputs, inputs) };
        let (argmax, dy) = (&argmax[i * outputs..][..outputs], &dy[i * outputs..][..outputs]);
        dispatch(isa, Unpool { s, argmax, dy, dx });
    });
}

struct Unpool<'a> {
    s: &'a PoolShape,
    argmax: &'a [u32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Op for Unpool<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (s, c) = (self.s, self.s.c);
        self.dx.fill(0.0);
        let mut pixel = 0;
        for row in 0..s.out_h() {
            for column in 0..s.out_w() {
                let (place, dy) = (&self.argmax[pixel * c..][..c], &self.dy[pixel * c..][..c]);
                for at in window(s, row, column) {
                    let dx = &mut self.dx[at * c..][..c];
                    for ((d, &p), &g) in dx.iter_mut().zip(place).zip(dy) {
                        *d += if p == at as u32 { g } else { 0.0 };
                    }
                }
                pixel += 1;
            }
        }
    }
}

/// Mean over the middle axis of `[groups, rows, c]`.
pub fn mean_rows(isa: Isa, groups: usize, rows: usize, c: usize, x: &[f32], y: &mut [f32]) {
    let out = Shared::new(y);
    parallel(groups, groups * rows * c > 1 << 15, |g| {
        // SAFETY: each task writes its own group.
        let y = unsafe { out.part(g * c, c) };
        dispatch(isa, Mean { x: &x[g * rows * c..][..rows * c], c, y });
    });
}

/// Rows that are summed before they join the total, so that the mean of a large map loses few digits.
const MEAN_BLOCK: usize = 256;

struct Mean<'a> {
    x: &'a [f32],
    c: usize,
    y: &'a mut [f32],
}

impl Op for Mean<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let scale = 1.0 / (self.x.len() / self.c).max(1) as f32;
        self.y.fill(0.0);
        let mut part = Scratch::new(self.c);
        for block in self.x.chunks(MEAN_BLOCK * self.c.max(1)) {
            part.fill(0.0);
            for row in block.chunks_exact(self.c) {
                part.iter_mut().zip(row).for_each(|(y, x)| *y += x);
            }
            self.y.iter_mut().zip(part.iter()).for_each(|(y, p)| *y += p);
        }
        self.y.iter_mut().for_each(|y| *y *= scale);
    }
}

/// Backward of [`mean_rows`]: each row receives `dy / rows`.
pub fn mean_rows_backward(groups: usize, rows: usize, c: usize, dy: &[f32], dx: &mut [f32]) {
    let out = Shared::new(dx);
    let scale = 1.0 / rows.max(1) as f32;
    parallel(groups, groups * rows * c > 1 << 15, |g| {
        let mut line = Scratch::new(c);
        line.iter_mut().zip(&dy[g * c..][..c]).for_each(|(l, d)| *l = d * scale);
        // SAFETY: each task writes its own group.
        let dx = unsafe { out.part(g * rows * c, rows * c) };
        dx.chunks_exact_mut(c).for_each(|row| row.copy_from_slice(&line));
    });
}
