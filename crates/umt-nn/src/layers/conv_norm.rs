//! A convolution and the batch-norm after it: two operators in training, one in evaluation.

use super::{BatchNorm2d, Conv2d};
use crate::{
    Array, Key, NnError, Params, Tape, Value,
    kernels::{self, ConvShape, Prepared},
    ops::{conv_shape, evaluated},
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A convolution and the batch-norm after it, with the residual add and the ReLU that may follow.
///
/// In evaluation the batch-norm is folded into the convolution, `w' = w a` and `b' = bias a + b` with the `a` and `b`
/// by channel that its running statistics give, once for all evaluations until a parameter changes; a shape's
/// kernel keeps the weights in the form that it multiplies by.
#[derive(Clone, Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm2d,
}

impl ConvNorm {
    /// `norm` after `conv`.
    ///
    /// # Errors
    /// A ReLU between the two, which the fold would leave out.
    pub fn new(conv: Conv2d, norm: BatchNorm2d) -> Result<Self, NnError> {
        if conv.options.relu {
            return Err(NnError::Unsupported(format!("{}: a ReLU before the batch-norm", conv.weight)));
        }
        Ok(Self { conv, norm })
    }

    /// `norm(conv(x)) + skip`, after the ReLU if the batch-norm's options say so.
    ///
    /// # Errors
    /// A parameter that does not exist; shapes that do not fit; when a device fails.
    pub fn forward(&self, tape: &mut Tape, params: &Params, x: &Value, skip: Option<&Value>) -> Result<Value, NnError> {
        let Self { conv, norm } = self;
        let weight = params.value(&conv.weight)?;
        // A device's convolution takes its weights as they are; what the fold would save is one short pass.
        if tape.is_training() || !weight.device().is_cpu() {
            let z = conv.before_norm(tape, params, x)?;
            return norm.forward(tape, params, z, skip);
        }
        let shape = conv_shape(x, weight.shape(), conv.options).map_err(|error| error.of(&conv.weight))?;
        let out = [shape.n, shape.out_h(), shape.out_w(), shape.k];
        if let Some(skip) = skip
            && skip.shape() != out
        {
            return Err(NnError::shape(&*norm.affine[0], format!("{out:?} to add"), skip.shape()));
        }
        let folded = params.folds().get(self, &shape, || self.fold(params, &shape))?;
        let mut y = Array::uninit(&out);
        let relu = norm.options.relu && skip.is_none();
        folded.prepared.forward(&shape, x.value.as_slice(), Some(folded.bias.as_slice()), relu, y.make_mut());
        if let Some(skip) = skip {
            kernels::add_relu(y.make_mut(), skip.value.as_slice(), norm.options.relu);
        }
        Ok(Value::constant(y))
    }

    fn fold(&self, params: &Params, shape: &ConvShape) -> Result<Folded, NnError> {
        let Self { conv, norm } = self;
        let of = |key: &Key| match params.value(key)? {
            value if value.len() == shape.k => Ok(value),
            value => Err(NnError::shape(&**key, format!("{} channels", shape.k), value.shape())),
        };
        let affine = [of(&norm.affine[0])?, of(&norm.affine[1])?];
        let [a, mut bias] = evaluated(affine, [of(&norm.running[0])?, of(&norm.running[1])?], norm.options);
        let (a, b) = (a.as_slice(), bias.make_mut());
        if let Some(key) = &conv.bias {
            b.iter_mut().zip(a).zip(of(key)?.as_slice()).for_each(|((b, a), bias)| *b += a * bias);
        }
        let mut weight = params.value(&conv.weight)?.clone();
        weight.make_mut().chunks_exact_mut(shape.k).for_each(|row| row.iter_mut().zip(a).for_each(|(w, a)| *w *= a));
        Ok(Folded { prepared: Prepared::new(shape, weight.as_slice()), bias })
    }
}

/// A convolution whose weights hold the batch-norm after it.
#[derive(Debug)]
struct Folded {
    prepared: Prepared,
    bias: Array,
}

/// What a fold is made of besides the shape: weights and bias, the norm's parameters and the bits of its constant.
type FoldKey = (Key, Option<Key>, [Key; 2], [Key; 2], u32);

/// Folded convolutions, made at the first evaluation; whoever changes parameters empties it. A copy begins empty.
#[derive(Debug, Default)]
pub(crate) struct Folds(Mutex<BTreeMap<FoldKey, Arc<Folded>>>);

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
        ConvNorm { conv, norm }: &ConvNorm,
        shape: &ConvShape,
        make: impl FnOnce() -> Result<Folded, NnError>,
    ) -> Result<Arc<Folded>, NnError> {
        let key = (
            conv.weight.clone(),
            conv.bias.clone(),
            norm.affine.clone(),
            norm.running.clone(),
            norm.options.eps.to_bits(),
        );
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&key).filter(|folded| folded.prepared.fits(shape)) {
            Some(folded) => Ok(folded.clone()),
            None => {
                let folded = Arc::new(make()?);
                all.insert(key, folded.clone());
                Ok(folded)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BatchNormOptions, ConvOptions, Param,
        layers::{ParamBuilder, batch_norm, conv2d, conv2d_no_bias},
    };

    fn noise(shape: &[usize], id: u64) -> Array {
        let mut rng = umt_random::stream(5, "test.fold", 0, id);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
        Array::from_slice(shape, &values).unwrap()
    }

    /// A convolution `conv` and its batch-norm `bn`, all parameters random.
    fn network(
        kernel: [usize; 2],
        [c, k]: [usize; 2],
        bias: bool,
        options: ConvOptions,
        norm: BatchNormOptions,
    ) -> (Params, ConvNorm) {
        let (mut params, mut rng) = (Params::default(), umt_random::stream(5, "test.fold", 0, 0));
        let mut pb = ParamBuilder::new(&mut params, &mut rng);
        let build = if bias { conv2d } else { conv2d_no_bias };
        let conv = build(c, k, kernel, options, pb.pp("conv"));
        let norm = batch_norm(k, norm, pb.pp("bn"));
        for (id, (_, param)) in (1..).zip(params.iter_mut()) {
            param.value = noise(param.value.shape(), id);
        }
        let var = params.get_mut("bn.running_var").unwrap();
        var.value.make_mut().iter_mut().for_each(|v| *v = 0.5 + v.abs());
        (params, ConvNorm::new(conv, norm).unwrap())
    }

    /// Every kernel that may be chosen, few and many tiles, with and without what may follow: equal to the two operators.
    #[test]
    fn the_fold_equals_convolution_and_norm() {
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
                let options = BatchNormOptions { relu, ..BatchNormOptions::default() };
                let (params, layer) = network(kernel, [c, k], bias, conv, options);
                let mut tape = Tape::eval();
                let x = tape.input(noise(&[n, side, side, c], 7));
                let z = layer.conv.forward(&mut tape, &params, &x).unwrap();
                let skip = with_skip.then(|| tape.input(noise(z.shape(), 8)));
                let two = layer.norm.forward(&mut tape, &params, z, skip.as_ref()).unwrap();
                let mut one = || layer.forward(&mut tape, &params, &x, skip.as_ref()).unwrap();
                let (first, again) = (one(), one());
                assert_eq!(first.array(), again.array());
                // The first sample alone has the same bits.
                let alone = |v: &Value| {
                    let [_, rest @ ..] = v.shape() else { panic!("no axes") };
                    let len = rest.iter().product();
                    let shape: Vec<usize> = [&[1], rest].concat();
                    Tape::eval().input(Array::from_slice(&shape, &v.array().as_slice()[..len]).unwrap())
                };
                let (x, skip) = (alone(&x), skip.as_ref().map(alone));
                let one = layer.forward(&mut tape, &params, &x, skip.as_ref()).unwrap();
                assert_eq!(one.array(), alone(&first).array());
                let largest = two.array().as_slice().iter().fold(0.0f32, |m, v| m.max(v.abs()));
                let far = two.array().as_slice().iter().zip(first.array().as_slice()).map(|(a, b)| (a - b).abs());
                let far = far.fold(0.0f32, f32::max) / largest;
                assert!(far < 2e-5, "{n} {side} {c} {k} {kernel:?}: {far}");
            }
        }
    }

    fn once(params: &Params, layer: &ConvNorm, side: usize) -> Result<Array, NnError> {
        let mut tape = Tape::eval();
        let x = tape.input(noise(&[1, side, side, 16], 9));
        layer.forward(&mut tape, params, &x, None).map(|y| y.array().clone())
    }

    #[test]
    fn a_fold_follows_its_parameters_its_norm_and_the_size() {
        let options = ConvOptions::square(1, 1);
        let (mut params, layer) = network([3, 3], [16, 16], false, options, BatchNormOptions::default());
        let before = once(&params, &layer, 8).unwrap();
        assert_eq!(once(&params, &layer, 9).unwrap().shape(), [1, 9, 9, 16]);
        assert_eq!(once(&params, &layer, 8).unwrap(), before);
        let mut bias = params.value("bn.bias").unwrap().clone();
        bias.make_mut()[3] += 1.0;
        params.update([("bn.bias", bias)]).unwrap();
        let after = once(&params, &layer, 8).unwrap();
        assert!((after.as_slice()[3] - before.as_slice()[3] - 1.0).abs() < 1e-4);

        // The same convolution before a norm of another constant, and before another norm.
        let mut other = layer.clone();
        other.norm.options.eps = 1.0;
        assert_ne!(once(&params, &other, 8).unwrap(), after);
        let shift = params.get("bn.bias").unwrap().value.as_slice().iter().map(|b| b + 2.0).collect::<Vec<_>>();
        params.insert("other.bias", Param::weight(Array::from_slice(&[16], &shift).unwrap()));
        let mut other = layer.clone();
        other.norm.affine[1] = "other.bias".into();
        let (one, two) = (once(&params, &layer, 8).unwrap(), once(&params, &other, 8).unwrap());
        assert!((two.as_slice()[3] - one.as_slice()[3] - 2.0).abs() < 1e-4);

        params.retain(|name| name != "bn.bias");
        assert!(matches!(once(&params, &layer, 8), Err(NnError::NoParameter(name)) if name == "bn.bias"));
    }

    #[test]
    fn shapes_that_do_not_fit_name_the_parameter() {
        let options = ConvOptions::square(1, 1);
        let (params, layer) = network([3, 3], [16, 16], true, options, BatchNormOptions::default());
        for mut tape in [Tape::eval(), Tape::train()] {
            let x = tape.input(noise(&[1, 5, 5, 4], 9));
            let message = layer.forward(&mut tape, &params, &x, None).unwrap_err().to_string();
            assert_eq!(message, "conv.weight: expected shape 16 channels, got [1, 5, 5, 4]");
            let (x, skip) = (tape.input(noise(&[1, 5, 5, 16], 9)), tape.input(noise(&[1, 5, 4, 16], 9)));
            let message = layer.forward(&mut tape, &params, &x, Some(&skip)).unwrap_err().to_string();
            assert_eq!(message, "bn.weight: expected shape [1, 5, 5, 16] to add, got [1, 5, 4, 16]");
        }
    }
}
