//! Where layers take fresh parameters from.

use crate::{Key, Param, Params, init, init::ConvInit};
use std::fmt::Display;
use umt_random::Rng;

/// Adds fresh parameters to a [`Params`] under a path; the order in which layers are built is that of the random draws.
pub struct ParamBuilder<'a> {
    params: &'a mut Params,
    rng: &'a mut Rng,
    path: String,
    conv_init: ConvInit,
}

impl<'a> ParamBuilder<'a> {
    /// A builder at the root, whose initial values come from `rng`.
    pub fn new(params: &'a mut Params, rng: &'a mut Rng) -> Self {
        Self { params, rng, path: String::new(), conv_init: ConvInit::default() }
    }

    /// The builder for `name` below this path ("push prefix").
    pub fn pp(&mut self, name: impl Display) -> ParamBuilder<'_> {
        let path = self.join(name);
        ParamBuilder { params: self.params, rng: self.rng, path, conv_init: self.conv_init }
    }

    /// The same builder with another distribution of fresh convolution weights.
    pub fn with_conv_init(self, conv_init: ConvInit) -> Self {
        Self { conv_init, ..self }
    }

    /// Adds a parameter, or replaces the one of this name.
    pub fn add(&mut self, name: &str, param: Param) -> Key {
        let name = self.join(name);
        self.params.insert(name.clone(), param);
        name.into()
    }

    /// Adds a trainable parameter of values uniform in `±bound`.
    pub fn uniform(&mut self, name: &str, shape: &[usize], bound: f32) -> Key {
        let value = init::draw(shape, self.rng, |rng| rng.range(-bound, bound));
        self.add(name, Param::weight(value))
    }

    /// Adds convolution weights `[kh, kw, input / groups, output]`.
    pub(super) fn conv_weight(&mut self, name: &str, shape: [usize; 4]) -> Key {
        let value = init::conv_weight(shape, self.conv_init, self.rng);
        self.add(name, Param::conv(value))
    }

    fn join(&self, name: impl Display) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }
}
