//! Matrix product for linear layers, over the same register tile as the convolutions.
use super::Isa;
use super::simd::{LANES, MAX_ROWS, Op, Simd, dispatch};
use super::tile::{Put, Run, Tile};
use super::work::{Scratch, Shared, parallel};

/// Rows of `a` in a task.
const TASK_ROWS: usize = 48;
/// Columns of `c` in a task.
const TASK_COLUMNS: usize = 128;

/// `c = a b` or `c += a b` with explicit instruction set, see [`super::gemm`].
pub fn gemm(
    isa: Isa,
    size: [usize; 3],
    a: &[f32],
    stride_a: [usize; 2],
    b: &[f32],
    stride_b: [usize; 2],
    c: &mut [f32],
    accumulate: bool,
) {
    let [m, n, k] = size;
    if m == 0 || n == 0 {
        return;
    }
    let panels = n.div_ceil(LANES);
    let mut packed = Scratch::new(panels * k * LANES);
    let shared = Shared::new(&mut packed);
    parallel(panels, k * n > 1 << 14, |p| {
        // SAFETY: each task writes its own panel.
        let panel = unsafe { shared.part(p * k * LANES, k * LANES) };
        let lanes = (n - p * LANES).min(LANES);
        for (d, line) in panel.chunks_exact_mut(LANES).enumerate() {
            for (l, v) in line.iter_mut().enumerate() {
                *v = if l < lanes { b[d * stride_b[0] + (p * LANES + l) * stride_b[1]] } else { 0.0 };
            }
        }
    });
    // Rows are read step by step; a transposed matrix would touch a new line at each.
    let transpose = stride_a[1] != 1;
    let mut rows = Scratch::new(if transpose { m * k } else { 0 });
    if transpose {
        for (i, row) in rows.chunks_exact_mut(k.max(1)).enumerate() {
            for (d, v) in row.iter_mut().enumerate() {
                *v = a[i * stride_a[0] + d * stride_a[1]];
            }
        }
    }
    let (a, lda) = if transpose { (&rows[..], k) } else { (a, stride_a[0]) };
    let (across, down) = (n.div_ceil(TASK_COLUMNS), m.div_ceil(TASK_ROWS));
    let out = Shared::new(c);
    parallel(across * down, m * n * k > 1 << 17, |t| {
        let (i, j) = (t / across * TASK_ROWS, t % across * TASK_COLUMNS);
        let task = Task {
            a,
            lda,
            b: &packed,
            k,
            n,
            rows: i..(i + TASK_ROWS).min(m),
            columns: j..(j + TASK_COLUMNS).min(n),
            c: out,
            accumulate,
        };
        dispatch(isa, task);
    });
}

struct Task<'a> {
    a: &'a [f32],
    lda: usize,
    b: &'a [f32],
    k: usize,
    n: usize,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    c: Shared,
    accumulate: bool,
}

impl Op for Task<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut column = self.columns.start;
        while column < self.columns.end {
            let panels = if self.columns.end - column > LANES { S::PANELS } else { 1 };
            let mut tile = Tile {
                count: S::ROWS,
                rows: [self.a.as_ptr(); MAX_ROWS],
                step_a: 1,
                runs: &[Run { a: 0, b: 0 }],
                len: self.k,
                b: self.b.as_ptr().add(column / LANES * self.k * LANES),
                step_b: LANES,
                panel_b: self.k * LANES,
                out: [std::ptr::null_mut(); MAX_ROWS],
                columns: (self.columns.end - column).min(panels * LANES),
                put: if self.accumulate { Put::Add } else { Put::Set },
                bias: std::ptr::null(),
                relu: false,
            };
            let mut row = self.rows.start;
            while row < self.rows.end {
                for i in 0..S::ROWS {
                    let used = row + i < self.rows.end;
                    tile.rows[i] = if used { self.a.as_ptr().add((row + i) * self.lda) } else { tile.rows[0] };
                    tile.out[i] =
                        if used { self.c.ptr().add((row + i) * self.n + column) } else { std::ptr::null_mut() };
                }
                S::tile(&tile, panels);
                row += S::ROWS;
            }
            column += panels * LANES;
        }
    }
}
