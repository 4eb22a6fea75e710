//! The public kernels of batch normalisation and of what stands beside it; lengths are checked here.
use super::{isa, len, norm, norm_backward, pass};
use crate::timing::timed;

/// Sum over rows of `[rows, c]`: gradient to a bias.
pub fn bias_grad(rows: usize, c: usize, dy: &[f32], db: &mut [f32]) {
    len("dy", dy, rows * c);
    len("db", db, c);
    timed(|| pass("gradient to bias", &[rows, c], rows * c), || norm::row_sums(isa(), rows, c, dy, db));
}

/// Mean and biased variance over the rows of `[rows, c]`.
pub fn batch_norm_stats(rows: usize, c: usize, z: &[f32], mean: &mut [f32], var: &mut [f32]) {
    len("z", z, rows * c);
    len("mean", mean, c);
    len("var", var, c);
    timed(|| pass("batch-norm statistics", &[rows, c], rows * c), || norm::stats(isa(), rows, c, z, mean, var));
}

/// `y = relu?(a * z + b (+ skip))`, `a` and `b` by channel.
pub fn scale_shift(
    rows: usize,
    c: usize,
    z: &[f32],
    a: &[f32],
    b: &[f32],
    skip: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    len("z", z, rows * c);
    affine(rows, c, z.as_ptr(), a, b, skip, relu, y);
}

/// [`scale_shift`] with `y` in the place of `z`.
pub fn scale_shift_in_place(
    rows: usize,
    c: usize,
    z: &mut [f32],
    a: &[f32],
    b: &[f32],
    skip: Option<&[f32]>,
    relu: bool,
) {
    affine(rows, c, z.as_ptr(), a, b, skip, relu, z);
}

fn affine(rows: usize, c: usize, z: *const f32, a: &[f32], b: &[f32], skip: Option<&[f32]>, relu: bool, y: &mut [f32]) {
    len("y", y, rows * c);
    len("a", a, c);
    len("b", b, c);
    if let Some(s) = skip {
        len("skip", s, rows * c);
    }
    let floats = (if skip.is_some() { 3 } else { 2 }) * rows * c;
    timed(
        || pass("batch-norm, forward", &[rows, c], floats),
        // SAFETY: `z` comes from a slice of `rows * c` floats that is `y` itself or borrowed apart from it.
        || unsafe { norm::scale_shift(isa(), rows, c, z, a, b, skip, relu, y) },
    );
}

/// Backward of batch normalisation with batch statistics, skip and ReLU: `y = relu?(gamma * (z - mean) * inv_std + beta (+ skip))`.
///
/// `y` is the output after the ReLU, `None` without one; `dskip` receives the gradient after the mask. Overwrites all outputs.
pub fn batch_norm_backward(
    rows: usize,
    c: usize,
    z: &[f32],
    y: Option<&[f32]>,
    dy: &[f32],
    gamma: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    dz: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    dskip: Option<&mut [f32]>,
) {
    for (what, v) in [("z", z), ("dy", dy), ("y", y.unwrap_or(z)), ("dz", dz), ("dskip", dskip.as_deref().unwrap_or(z))]
    {
        len(what, v, rows * c);
    }
    for (what, v) in [("gamma", gamma), ("mean", mean), ("inv_std", inv_std), ("dgamma", dgamma), ("dbeta", dbeta)] {
        len(what, v, c);
    }
    let mask = y.map_or(norm_backward::Mask::All, norm_backward::Mask::Output);
    let t = norm_backward::Backward { rows, c, z, mask, dy, gamma, mean, inv_std };
    let arrays = 3 + usize::from(y.is_some()) + usize::from(dskip.is_some());
    timed(
        || pass("batch-norm, backward", &[rows, c], arrays * rows * c),
        || norm_backward::backward(isa(), &t, dz, dgamma, dbeta, dskip),
    );
}

/// [`batch_norm_backward`] of `y = relu(a * z + b)` without skip, given the `a` and `b` that [`scale_shift`] had: the output is not read, nor need
/// it be kept.
pub fn batch_norm_relu_backward(
    rows: usize,
    c: usize,
    z: &[f32],
    a: &[f32],
    b: &[f32],
    dy: &[f32],
    gamma: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    dz: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    for (what, v) in [("z", z), ("dy", dy), ("dz", dz)] {
        len(what, v, rows * c);
    }
    for (what, v) in [
        ("a", a),
        ("b", b),
        ("gamma", gamma),
        ("mean", mean),
        ("inv_std", inv_std),
        ("dgamma", dgamma),
        ("dbeta", dbeta),
    ] {
        len(what, v, c);
    }
    let t = norm_backward::Backward { rows, c, z, mask: norm_backward::Mask::Affine(a, b), dy, gamma, mean, inv_std };
    timed(
        || pass("batch-norm, backward", &[rows, c], 3 * rows * c),
        || norm_backward::backward(isa(), &t, dz, dgamma, dbeta, None),
    );
}
