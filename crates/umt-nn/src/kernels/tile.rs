//! The one register tile under every matrix product and convolution: `ROWS` rows by one or two panels of sixteen columns.
//!
//! Rows are pointers, so that output pixels of a convolution, rows of a matrix and elements of a filter are all the same to it.
//! Each output is one chain of multiply-adds in the order of runs and steps, whatever tile it falls into.
use super::simd::{LANES, MAX_ROWS, Simd};

/// A stretch of the inner dimension: where it starts, relative to each row pointer and to the panel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// Offset in floats from a row pointer.
    pub a: isize,
    /// Offset in floats from the panel pointer.
    pub b: isize,
}

/// What happens to the value already in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is replaced.
    Set,
    /// It is added to.
    Add,
}

/// Arguments of a register tile. Pointers are valid for all steps of all runs; unused rows repeat a used one and have a null output.
pub struct Tile<'a> {
    /// Rows in use.
    pub count: usize,
    /// Start of each row.
    pub rows: [*const f32; MAX_ROWS],
    /// Floats from one step to the next in a row.
    pub step_a: usize,
    /// The runs, all of `len` steps.
    pub runs: &'a [Run],
    /// Steps in a run.
    pub len: usize,
    /// First panel.
    pub b: *const f32,
    /// Floats from one step to the next in a panel.
    pub step_b: usize,
    /// Floats from one panel to the next.
    pub panel_b: usize,
    /// Output of each row, or null.
    pub out: [*mut f32; MAX_ROWS],
    /// Columns to write, up to 16 times the panels.
    pub columns: usize,
    /// What to do with the output.
    pub put: Put,
    /// One value per column (padded to whole panels), or null.
    pub bias: *const f32,
    /// Whether negative outputs become 0.
    pub relu: bool,
}

/// The body for `R` rows and `P` panels.
///
/// # Safety
/// The pointers are valid as [`Tile`] says, and the code runs inside `dispatch`.
#[inline(always)]
pub unsafe fn body<S: Simd, const R: usize, const P: usize>(t: &Tile) {
    let mut acc = [[S::splat(0.0); P]; R];
    for run in t.runs {
        let mut rows = [std::ptr::null::<f32>(); R];
        for i in 0..R {
            rows[i] = t.rows[i].offset(run.a);
        }
        let mut b = t.b.offset(run.b);
        let mut at = 0;
        let step = t.step_a;
        for _ in 0..t.len {
            let mut bv = [S::splat(0.0); P];
            for j in 0..P {
                bv[j] = S::load(b.add(j * t.panel_b));
            }
            for i in 0..R {
                let av = S::splat(*rows[i].add(at));
                for j in 0..P {
                    acc[i][j] = S::fma(av, bv[j], acc[i][j]);
                }
            }
            at += step;
            b = b.add(t.step_b);
        }
    }
    if !t.bias.is_null() {
        for j in 0..P {
            let v = S::load(t.bias.add(j * LANES));
            for i in 0..R {
                acc[i][j] = S::add(acc[i][j], v);
            }
        }
    }
    for i in 0..R {
        let out = t.out[i];
        if out.is_null() {
            continue;
        }
        for j in 0..P {
            let o = out.add(j * LANES);
            let n = t.columns.saturating_sub(j * LANES).min(LANES);
            // One loop over the accumulators: a second one would not be unrolled, and put them all into memory.
            let mut v = acc[i][j];
            if t.put == Put::Add {
                v = S::add(v, if n == LANES { S::load(o) } else { S::load_part(o, n) });
            }
            if t.relu {
                v = S::relu(v);
            }
            if n == LANES {
                S::store(o, v);
            } else {
                S::store_part(o, v, n);
            }
        }
    }
}

/// Arguments of [`dense`]: matrices in blocks of sixteen of the inner dimension, so that every address is a pointer plus a constant.
pub struct Dense {
    /// `[blocks][rows][16]`
    pub a: *const f32,
    /// Rows that are wanted; a tile of more may write further ones, which exist.
    pub rows: usize,
    /// Floats from block to block of `a`.
    pub block_a: usize,
    /// The inner dimension.
    pub depth: usize,
    /// Panels `[blocks * 16][16]`.
    pub b: *const f32,
    /// Floats from panel to panel of `b`.
    pub panel_b: usize,
    /// Panels `[rows][16]`.
    pub out: *mut f32,
    /// Floats from panel to panel of `out`, and from row to row.
    pub panel_out: usize,
    pub row_out: usize,
    /// Whether the output starts anew: from 0, or from one value per column if not null.
    pub fresh: bool,
    pub start: *const f32,
    /// Store past the caches; outputs are aligned to 64 bytes.
    pub stream: bool,
}

/// `out (+)= a b` for `R` rows and `P` panels; each output is one chain of multiply-adds in order.
///
/// # Safety
/// The pointers are valid as [`Dense`] says, and the code runs inside `dispatch`.
#[inline(always)]
pub unsafe fn dense<S: Simd, const R: usize, const P: usize>(t: &Dense) {
    let mut acc = [[S::splat(0.0); P]; R];
    if !t.fresh {
        for i in 0..R {
            for j in 0..P {
                acc[i][j] = S::load(t.out.add(j * t.panel_out + i * t.row_out));
            }
        }
    } else if !t.start.is_null() {
        for j in 0..P {
            let v = S::load(t.start.add(j * LANES));
            for i in 0..R {
                acc[i][j] = v;
            }
        }
    }
    let mut b = t.b;
    let mut block = t.a;
    let mut left = t.depth;
    while left > 0 {
        let mut a = block;
        let steps = left.min(LANES);
        left -= steps;
        for _ in 0..steps {
            let mut bv = [S::splat(0.0); P];
            for j in 0..P {
                bv[j] = S::load(b.add(j * t.panel_b));
            }
            for i in 0..R {
                let av = S::splat(*a.add(i * LANES));
                for j in 0..P {
                    acc[i][j] = S::fma(av, bv[j], acc[i][j]);
                }
            }
            a = a.add(1);
            b = b.add(LANES);
        }
        block = block.wrapping_add(t.block_a);
    }
    for i in 0..R {
        for j in 0..P {
            let out = t.out.add(j * t.panel_out + i * t.row_out);
            if t.stream { S::stream(out, acc[i][j]) } else { S::store(out, acc[i][j]) }
        }
    }
}

/// Arguments of [`outer`].
pub struct Outer {
    /// Sixteen values a step, and floats from step to step.
    pub a: *const f32,
    pub step_a: usize,
    /// The same.
    pub b: *const f32,
    pub step_b: usize,
    /// Steps.
    pub steps: usize,
    /// `[16][16]`
    pub out: *mut f32,
    /// Whether the output starts from 0.
    pub fresh: bool,
}

/// `out (+)= aᵀ b`, `R` rows at a time; each output is one chain of multiply-adds over the steps.
///
/// # Safety
/// The pointers are valid as [`Outer`] says, and the code runs inside `dispatch`.
#[inline(always)]
pub unsafe fn outer<S: Simd, const R: usize>(t: &Outer) {
    for row in (0..LANES).step_by(R) {
        let out = t.out.add(row * LANES);
        let mut acc = [S::splat(0.0); R];
        if !t.fresh {
            for i in 0..R {
                acc[i] = S::load(out.add(i * LANES));
            }
        }
        let (mut a, mut b) = (t.a.add(row), t.b);
        for _ in 0..t.steps {
            let bv = S::load(b);
            for i in 0..R {
                acc[i] = S::fma(S::splat(*a.add(i)), bv, acc[i]);
            }
            a = a.wrapping_add(t.step_a);
            b = b.wrapping_add(t.step_b);
        }
        for i in 0..R {
            S::store(out.add(i * LANES), acc[i]);
        }
    }
}
