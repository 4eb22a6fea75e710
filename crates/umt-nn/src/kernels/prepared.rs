//! Weights brought once into the form that a convolution multiplies by, for networks that are evaluated and not trained.
use super::shape::ConvShape;
use super::winograd_conv::{self, Way};
use super::{checked, conv, direct, isa, len, patch, product};
use crate::Array;
use crate::timing::{Work, timed};

/// How an evaluated convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Transformed filters.
    Winograd(Way),
    /// Filters that are transformed each time.
    Packed(Way),
    Direct,
    /// As in training: its weights are few.
    Plain,
}

/// A convolution's weights, ready to multiply by.
#[derive(Debug)]
pub struct Prepared {
    choice: Choice,
    weights: Array,
}

/// Transformed filters of this size in bytes and more leave the caches from one evaluation to the next, and reading four times as much takes longer
/// than the transform.
const LARGE: usize = 4 << 20;

fn choice(s: &ConvShape) -> Choice {
    if conv::depthwise(s) {
        return Choice::Plain;
    }
    if let Some(way) = winograd_conv::way(s) {
        let large = way.weights() * s.c * s.k * size_of::<f32>() >= LARGE;
        return if large { Choice::Packed(way) } else { Choice::Winograd(way) };
    }
    if patch::suits(s) {
        return Choice::Plain;
    }
    if s.groups == 1 { Choice::Direct } else { Choice::Plain }
}

impl Prepared {
    /// Prepares weights `[kh, kw, c / groups, k]` for convolutions like `s`.
    pub fn new(s: &ConvShape, w: &[f32]) -> Prepared {
        len("w", w, s.w_len());
        let choice = choice(s);
        let weights = match choice {
            Choice::Winograd(way) => winograd_conv::prepare(isa(), way, s, w),
            Choice::Packed(_) => winograd_conv::pack(s, w),
            Choice::Direct => direct::prepare(s, w),
            Choice::Plain => {
                let mut copy = Array::uninit(&[w.len()]);
                copy.make_mut().copy_from_slice(w);
                copy
            }
        };
        Prepared { choice, weights }
    }

    /// Whether a convolution of this shape multiplies by this form.
    pub fn fits(&self, s: &ConvShape) -> bool {
        self.choice == choice(s)
    }

    /// `y = relu?(x * w (+ bias))`; [`Prepared::fits`] holds.
    pub fn forward(&self, s: &ConvShape, x: &[f32], bias: Option<&[f32]>, relu: bool, y: &mut [f32]) {
        len("x", x, s.x_len());
        len("y", y, s.y_len());
        if let Some(bias) = bias {
            len("bias", bias, s.k);
        }
        let w = self.weights.as_slice();
        let work = || Work { floats: s.x_len() + w.len() + s.y_len(), ..product("convolution", s) };
        timed(work, || match self.choice {
            Choice::Winograd(way) => winograd_conv::forward_prepared(isa(), way, s, x, w, true, bias, relu, y),
            Choice::Packed(way) => winograd_conv::forward_prepared(isa(), way, s, x, w, false, bias, relu, y),
            Choice::Direct => direct::forward_prepared(isa(), s, x, w, bias, relu, y),
            Choice::Plain => {
                checked(s, x, w, y);
                conv::forward(isa(), s, x, w, bias, relu, y);
            }
        });
    }
}
