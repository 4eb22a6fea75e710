//! Tokens of a map, and the transformer block that the attention fusions share.

use crate::Weights;
use candle_core::{D, Tensor};
use umt_nn::{Array, NnError, Param, Params, init};
use umt_random::Rng;

/// Largest numbers of tokens over frames, rows and columns.
pub(crate) type Grid = [usize; 3];

/// The places of a map `[n, h, w, c]` or `[n, t, h, w, c]` as tokens `[n, count, c]`.
///
/// An axis longer than the grid's is averaged down to it in windows that cover it evenly (PyTorch's
/// `adaptive_avg_pool`: window `i` of `k` is from `floor(i len / k)` to `ceil((i + 1) len / k)`); a
/// shorter one stays as it is. Where a token comes from it does not say: with their padding, the
/// convolutions before have written that into the map.
pub(crate) fn tokens(map: &Tensor, grid: Grid) -> Result<Tensor, NnError> {
    let ([n, t, h, w], c) = match *map.dims() {
        [n, h, w, c] => ([n, 1, h, w], c),
        [n, t, h, w, c] => ([n, t, h, w], c),
        ref other => return Err(NnError::shape("tokens", "[n, h, w, c] or [n, t, h, w, c]", other)),
    };
    let all = map.reshape((n, t * h * w, c))?;
    let axes: Vec<Vec<std::ops::Range<usize>>> = [t, h, w].into_iter().zip(grid).map(|(l, k)| windows(l, k)).collect();
    let [frames, rows, columns] = axes.as_slice() else {
        return Err(NnError::shape("tokens", "three axes", &[axes.len()]));
    };
    let count = frames.len() * rows.len() * columns.len();
    if count == t * h * w {
        return Ok(all);
    }
    let mut means = vec![0f32; count * t * h * w];
    let mut token = 0;
    for time in frames {
        for row in rows {
            for column in columns {
                let share = 1.0 / (time.len() * row.len() * column.len()) as f32;
                let places = time
                    .clone()
                    .flat_map(|t| row.clone().flat_map(move |r| column.clone().map(move |c| (t * h + r) * w + c)));
                places.for_each(|place| means[token * t * h * w + place] = share);
                token += 1;
            }
        }
    }
    let means = Tensor::from_vec(means, (1, count, t * h * w), map.device())?;
    Ok(means.broadcast_matmul(&all)?)
}

/// Windows that cover `len` evenly, `most` at most.
fn windows(len: usize, most: usize) -> Vec<std::ops::Range<usize>> {
    let count = len.min(most).max(1);
    (0..count).map(|i| i * len / count..((i + 1) * len).div_ceil(count)).collect()
}

/// What a transformer over tokens may be.
pub(crate) fn check(kind: &str, width: usize, heads: usize, layers: usize, grid: Grid) -> Result<(), NnError> {
    if heads == 0 || width == 0 || !width.is_multiple_of(heads) {
        return Err(NnError::Unsupported(format!("{kind}: a width of {width} cannot be shared among {heads} heads")));
    }
    if layers == 0 || grid.contains(&0) {
        return Err(NnError::Unsupported(format!("{kind} needs at least one layer, and a grid above 0 on each axis")));
    }
    Ok(())
}

/// How many times wider the hidden layer of a block's perceptron is (Vaswani et al. 2017).
const HIDDEN: usize = 4;

/// Adds the parameters of [`block`], freshly drawn.
pub(crate) fn init_block(params: &mut Params, name: &str, width: usize, rng: &mut Rng) {
    init_norm(params, &format!("{name}.norm1"), width);
    for part in ["query", "key", "value", "out"] {
        init::linear(params, &format!("{name}.{part}"), width, width, rng);
    }
    init_norm(params, &format!("{name}.norm2"), width);
    init::linear(params, &format!("{name}.mlp1"), width, HIDDEN * width, rng);
    init::linear(params, &format!("{name}.mlp2"), HIDDEN * width, width, rng);
}

/// A transformer block with normalisation first (Vaswani et al. 2017; Xiong et al. 2020):
/// `y = x + attention(norm1(x), context or norm1(x))`, `y + mlp2(gelu(mlp1(norm2(y))))`.
///
/// `x` is `[n, tokens, width]`; `context` `[n, others, width]` is normalised by the caller.
pub(crate) fn block(
    weights: &Weights,
    name: &str,
    x: &Tensor,
    context: Option<&Tensor>,
    heads: usize,
) -> Result<Tensor, NnError> {
    let normed = norm(weights, &format!("{name}.norm1"), x)?;
    let y = (x + attention(weights, name, &normed, context.unwrap_or(&normed), heads)?)?;
    let inner = weights.linear(&format!("{name}.mlp1"), &norm(weights, &format!("{name}.norm2"), &y)?)?;
    Ok((&y + weights.linear(&format!("{name}.mlp2"), &gelu(&inner)?)?)?)
}

/// `out(softmax(q k^T / sqrt(d)) v)` with `heads` heads of `d = width / heads` each.
fn attention(weights: &Weights, name: &str, x: &Tensor, context: &Tensor, heads: usize) -> Result<Tensor, NnError> {
    let (n, count, width) = x.dims3()?;
    let split = |part: &str, x: &Tensor| -> Result<Tensor, NnError> {
        let y = weights.linear(&format!("{name}.{part}"), x)?;
        Ok(y.reshape((n, (), heads, width / heads))?.transpose(1, 2)?.contiguous()?)
    };
    let (query, key, value) = (split("query", x)?, split("key", context)?, split("value", context)?);
    let scores = (query.matmul(&key.transpose(2, 3)?.contiguous()?)? * (1.0 / ((width / heads) as f64).sqrt()))?;
    let mixed = softmax(&scores)?.matmul(&value)?;
    weights.linear(&format!("{name}.out"), &mixed.transpose(1, 2)?.reshape((n, count, width))?)
}

pub(crate) fn softmax(x: &Tensor) -> Result<Tensor, NnError> {
    // The largest is subtracted so that nothing overflows; the result does not depend on it.
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    Ok(shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?)
}

/// `x Phi(x)`, with the error function.
fn gelu(x: &Tensor) -> Result<Tensor, NnError> {
    Ok(((x * 0.5)? * ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)?)?)
}

/// Adds the parameters of [`norm`]: scale 1, shift 0.
pub(crate) fn init_norm(params: &mut Params, name: &str, width: usize) {
    params.insert(format!("{name}.weight"), Param::weight(Array::full(&[width], 1.0)));
    params.insert(format!("{name}.bias"), Param::weight(Array::zeros(&[width])));
}

/// Each row of the last axis at mean 0 and variance 1, with PyTorch's constant of layer normalisation.
pub(crate) fn standardised(x: &Tensor) -> Result<Tensor, NnError> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
    Ok(centred.broadcast_div(&deviation)?)
}

/// Layer normalisation over the last axis (Ba et al. 2016), with PyTorch's constant.
pub(crate) fn norm(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor, NnError> {
    let scaled = standardised(x)?.broadcast_mul(weights.get(&format!("{name}.weight"))?)?;
    Ok(scaled.broadcast_add(weights.get(&format!("{name}.bias"))?)?)
}
