//! Small matrix products over blocks of rows, in portable code that the compiler vectorises.
//!
//! Class dimensions are stored in panels of [`LANES`] columns: `panel[p][row][lane]`, so that the
//! inner loops read and write contiguous lanes. Sums run over one index in ascending order, with
//! no fused multiply-add, whatever the machine.

/// Columns of a panel.
pub(super) const LANES: usize = 8;
/// Rows of an accumulator tile; 4 x 8 fills eight 128-bit registers, the baseline of x86-64.
const ROWS: usize = 4;

type Lane = [f32; LANES];

/// Number of panels that hold `classes` columns.
pub(super) fn panels(classes: usize) -> usize {
    classes.div_ceil(LANES)
}

/// `out[p][r][l] = bias[p][l] + sum_k x[r][k] weight[p][k][l]` for the rows of `x: [rows, width]`.
pub(super) fn forward(x: &[f32], width: usize, weight: &[f32], bias: &[f32], out: &mut [f32]) {
    let rows = x.len() / width;
    let weights = weight.chunks_exact(width * LANES);
    let biases = bias.chunks_exact(LANES);
    for ((weight, bias), out) in weights.zip(biases).zip(out.chunks_exact_mut(rows * LANES)) {
        let bias = lane(bias);
        let full = rows / ROWS * ROWS;
        let (x_full, x_rest) = x.split_at(full * width);
        let (out_full, out_rest) = out.split_at_mut(full * LANES);
        let blocks = x_full.chunks_exact(ROWS * width);
        for (x, out) in blocks.zip(out_full.chunks_exact_mut(ROWS * LANES)) {
            let (x0, x) = x.split_at(width);
            let (x1, x) = x.split_at(width);
            let (x2, x3) = x.split_at(width);
            let mut acc = [bias; ROWS];
            let xs = x0.iter().zip(x1).zip(x2).zip(x3);
            for (w, (((a, b), c), d)) in weight.chunks_exact(LANES).zip(xs) {
                add_outer(&mut acc, [*a, *b, *c, *d], &lane(w));
            }
            out.copy_from_slice(acc.as_flattened());
        }
        let rest = x_rest.chunks_exact(width).zip(out_rest.chunks_exact_mut(LANES));
        for (x, out) in rest {
            let mut acc = [bias];
            for (w, a) in weight.chunks_exact(LANES).zip(x) {
                add_outer(&mut acc, [*a], &lane(w));
            }
            out.copy_from_slice(acc.as_flattened());
        }
    }
}

/// `gradient[p][k][l] += sum_r x[r][k] delta[p][r][l]`, the sum of the block in f32, then added in
/// f64 so that long sums over blocks lose nothing.
pub(super) fn backward(x: &[f32], width: usize, delta: &[f32], gradient: &mut [f64]) {
    let rows = x.len() / width;
    let full = width / ROWS * ROWS;
    let deltas = delta.chunks_exact(rows * LANES);
    for (delta, gradient) in deltas.zip(gradient.chunks_exact_mut(width * LANES)) {
        let tiles = gradient[..full * LANES].chunks_exact_mut(ROWS * LANES);
        for (k, gradient) in (0..full).step_by(ROWS).zip(tiles) {
            let mut acc = [[0.0; LANES]; ROWS];
            for (x, d) in x.chunks_exact(width).zip(delta.chunks_exact(LANES)) {
                let x = &x[k..k + ROWS];
                add_outer(&mut acc, [x[0], x[1], x[2], x[3]], &lane(d));
            }
            add_wide(gradient, acc.as_flattened());
        }
        for (k, gradient) in (full..width).zip(gradient[full * LANES..].chunks_exact_mut(LANES)) {
            let mut acc = [[0.0; LANES]];
            for (x, d) in x.chunks_exact(width).zip(delta.chunks_exact(LANES)) {
                add_outer(&mut acc, [x[k]], &lane(d));
            }
            add_wide(gradient, acc.as_flattened());
        }
    }
}

#[inline(always)]
fn add_outer<const R: usize>(acc: &mut [Lane; R], x: [f32; R], w: &Lane) {
    for r in 0..R {
        for l in 0..LANES {
            acc[r][l] += x[r] * w[l];
        }
    }
}

fn add_wide(sum: &mut [f64], block: &[f32]) {
    for (s, b) in sum.iter_mut().zip(block) {
        *s += f64::from(*b);
    }
}

#[inline(always)]
fn lane(values: &[f32]) -> Lane {
    let mut out = [0.0; LANES];
    out.copy_from_slice(&values[..LANES]);
    out
}
