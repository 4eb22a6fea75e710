//! A convolution and the batch-norm behind it: two operators in training, one in evaluation.

use super::{BatchNormOptions, ConvOptions, nhwc, norm::evaluated};
use crate::{
    Array, NnError, Params, Tape, Var,
    kernels::{self, ConvShape, Prepared},
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A convolution whose weights hold the batch-norm behind it.
#[derive(Debug)]
struct Folded {
    prepared: Prepared,
    bias: Array,
}

/// Folded convolutions by name, made at the first evaluation; whoever changes parameters empties it. A copy begins empty.
#[derive(Debug, Default)]
pub(crate) struct Folds(Mutex<BTreeMap<String, Arc<Folded>>>);

impl Clone for Folds {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Folds {
    pub(crate) fn forget(&mut self) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn get(
        &self,
        name: &str,
        shape: &ConvShape,
        make: impl FnOnce() -> Result<Folded, NnError>,
    ) -> Result<Arc<Folded>, NnError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(name).filter(|folded| folded.prepared.fits(shape)) {
            Some(folded) => Ok(folded.clone()),
            None => {
                let folded = Arc::new(make()?);
                all.insert(name.to_owned(), folded.clone());
                Ok(folded)
            }
        }
    }
}

impl Tape {
    /// [`Tape::conv2d`] without ReLU, then [`Tape::batch_norm`].
    ///
    /// In evaluation the batch-norm is folded into the convolution, `w' = w a` and `b' = bias a + b` with the `a` and `b`
    /// by channel that its running statistics give, once for all evaluations until a parameter changes; a shape's
    /// kernel keeps the weights in the form that it multiplies by.
    pub fn conv_norm(
        &mut self,
        params: &Params,
        [conv, norm]: [&str; 2],
        x: &Var,
        skip: Option<&Var>,
        conv_options: ConvOptions,
        norm_options: BatchNormOptions,
    ) -> Result<Var, NnError> {
        if self.is_training() {
            let z = self.conv2d(params, conv, x, ConvOptions { norm: true, ..conv_options })?;
            return self.batch_norm(params, norm, z, skip, norm_options);
        }
        let [n, h, w, c] = nhwc(conv, x)?;
        let weight = params.value(&format!("{conv}.weight"))?;
        let &[kh, kw, per_group, k] = weight.shape() else {
            return Err(NnError::shape(conv, "[kh, kw, c / groups, k]", weight.shape()));
        };
        let ConvOptions { stride, pad, dilation, groups, .. } = conv_options;
        if per_group * groups != c {
            return Err(NnError::shape(conv, format!("{} channels", per_group * groups), x.shape()));
        }
        let shape = ConvShape { n, h, w, c, k, kh, kw, stride, pad, dilation, groups };
        shape.check()?;
        let out = [n, shape.out_h(), shape.out_w(), k];
        if let Some(skip) = skip
            && skip.shape() != out
        {
            return Err(NnError::shape(norm, format!("{out:?} to add"), skip.shape()));
        }
        if !weight.device().is_cpu() {
            // A device's convolution takes its weights as they are; what the fold would save is one short pass.
            let z = self.conv2d(params, conv, x, conv_options)?;
            return self.batch_norm(params, norm, z, skip, norm_options);
        }
        let folded = params.folds().get(conv, &shape, || {
            let [a, mut bias_after] = evaluated(params, norm, k, norm_options)?;
            let (a, b) = (a.as_slice(), bias_after.make_mut());
            if let Some(bias) = params.get(&format!("{conv}.bias")) {
                b.iter_mut().zip(a).zip(bias.value.as_slice()).for_each(|((b, a), bias)| *b += a * bias);
            }
            let mut weight = weight.clone();
            weight.make_mut().chunks_exact_mut(k).for_each(|row| row.iter_mut().zip(a).for_each(|(w, a)| *w *= a));
            Ok(Folded { prepared: Prepared::new(&shape, weight.as_slice()), bias: bias_after })
        })?;
        let mut y = Array::uninit(&out);
        let relu = norm_options.relu && skip.is_none();
        folded.prepared.forward(&shape, x.value.as_slice(), Some(folded.bias.as_slice()), relu, y.make_mut());
        if let Some(skip) = skip {
            kernels::add_relu(y.make_mut(), skip.value.as_slice(), norm_options.relu);
        }
        Ok(Var { value: y, node: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Param, init};

    fn noise(shape: &[usize], id: u64) -> Array {
        let mut rng = umt_random::stream(5, "test.fold", 0, id);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
        Array::from_slice(shape, &values).unwrap()
    }

    fn network(kernel: [usize; 2], c: usize, k: usize, bias: bool) -> Params {
        let mut params = Params::default();
        params.insert("conv.weight", Param::conv(noise(&[kernel[0], kernel[1], c, k], 1)));
        if bias {
            params.insert("conv.bias", Param::weight(noise(&[k], 2)));
        }
        init::batch_norm(&mut params, "bn", k);
        let positive = |id| {
            let mut v = noise(&[k], id);
            v.make_mut().iter_mut().for_each(|v| *v = 0.5 + v.abs());
            v
        };
        params.insert("bn.weight", Param::weight(noise(&[k], 3)));
        params.insert("bn.bias", Param::weight(noise(&[k], 4)));
        params.insert("bn.running_mean", Param::buffer(noise(&[k], 5)));
        params.insert("bn.running_var", Param::buffer(positive(6)));
        params
    }

    /// Every kernel that may be chosen, few and many tiles, with and without what may follow: as the two operators say.
    #[test]
    fn folded_is_what_the_two_say() {
        // n, side, c, k, kernel, stride; the filters of the last three are too large to be kept transformed.
        let cases = [
            ([2, 9, 5, 7], [3, 3], 1),
            ([1, 28, 16, 32], [3, 3], 1),
            ([8, 28, 16, 32], [3, 3], 2),
            ([1, 14, 160, 160], [3, 3], 1),
            ([3, 12, 16, 16], [3, 1], 1),
            ([2, 17, 3, 16], [3, 3], 2),
            ([2, 23, 3, 32], [7, 7], 2),
            ([2, 10, 24, 40], [1, 1], 2),
            ([1, 7, 384, 336], [3, 3], 1),
            ([3, 7, 200, 160], [3, 3], 1),
            ([2, 14, 256, 512], [3, 3], 2),
        ];
        for ([n, side, c, k], kernel, stride) in cases {
            let conv =
                ConvOptions { stride: [stride; 2], pad: [kernel[0] / 2, kernel[1] / 2], ..ConvOptions::default() };
            for (bias, with_skip, relu) in [(false, false, true), (true, true, true), (true, false, false)] {
                let params = network(kernel, c, k, bias);
                let mut tape = Tape::eval();
                let x = tape.input(noise(&[n, side, side, c], 7));
                let z = tape.conv2d(&params, "conv", &x, conv).unwrap();
                let skip = with_skip.then(|| tape.input(noise(z.shape(), 8)));
                let options = BatchNormOptions { relu, ..BatchNormOptions::default() };
                let two = tape.batch_norm(&params, "bn", z, skip.as_ref(), options).unwrap();
                let mut one = || tape.conv_norm(&params, ["conv", "bn"], &x, skip.as_ref(), conv, options).unwrap();
                let (first, again) = (one(), one());
                assert_eq!(first.value(), again.value());
                // The first sample alone has the same bits.
                let alone = |v: &Var| {
                    let [_, rest @ ..] = v.shape() else { panic!("no axes") };
                    let len = rest.iter().product();
                    let shape: Vec<usize> = [&[1], rest].concat();
                    Tape::eval().input(Array::from_slice(&shape, &v.value().as_slice()[..len]).unwrap())
                };
                let (x, skip) = (alone(&x), skip.as_ref().map(alone));
                let one = tape.conv_norm(&params, ["conv", "bn"], &x, skip.as_ref(), conv, options).unwrap();
                assert_eq!(one.value(), alone(&first).value());
                let largest = two.value().as_slice().iter().fold(0.0f32, |m, v| m.max(v.abs()));
                let far = two.value().as_slice().iter().zip(first.value().as_slice()).map(|(a, b)| (a - b).abs());
                let far = far.fold(0.0f32, f32::max) / largest;
                assert!(far < 2e-5, "{n} {side} {c} {k} {kernel:?}: {far}");
            }
        }
    }

    #[test]
    fn a_changed_parameter_and_another_size_are_seen() {
        let mut params = network([3, 3], 16, 16, false);
        let once = |params: &Params, side: usize| {
            let mut tape = Tape::eval();
            let x = tape.input(noise(&[1, side, side, 16], 9));
            let y = tape.conv_norm(
                params,
                ["conv", "bn"],
                &x,
                None,
                ConvOptions::square(1, 1),
                BatchNormOptions::default(),
            );
            y.unwrap().value().clone()
        };
        let before = once(&params, 8);
        assert_eq!(once(&params, 9).shape(), [1, 9, 9, 16]);
        assert_eq!(once(&params, 8), before);
        let mut bias = params.value("bn.bias").unwrap().clone();
        bias.make_mut()[3] += 1.0;
        params.update(vec![("bn.bias".into(), bias)]).unwrap();
        let after = once(&params, 8);
        assert!((after.as_slice()[3] - before.as_slice()[3] - 1.0).abs() < 1e-4);
    }
}
