//! Operators and layers for candle models: values and gradients are those of candle's own operators, where it has them.

#![expect(
    clippy::disallowed_types,
    reason = "candle models as their users write them hold their variables in a VarMap"
)]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{BatchNormConfig, Conv2dConfig, Module, ModuleT, VarBuilder, VarMap};
use umt_nn::candle::ops::{self, Running};
use umt_nn::kernels::Resize;
use umt_nn::{Array, BatchNormOptions, ConvOptions, NnError, Param, Params, PoolOptions, candle};

#[path = "../examples/candle_resnet.rs"]
mod example;

#[test]
fn the_example_trains_saves_and_loads() {
    example::main().unwrap();
}

fn noise(shape: &[usize], id: u64) -> Var {
    let mut rng = umt_random::stream(7, "test.candle", 0, id);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

/// The largest difference over the largest value.
fn far(a: &Tensor, b: &Tensor) -> f32 {
    let most = |x: &Tensor| x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    most(&(a - b).unwrap()) / most(b).max(1e-6)
}

/// Gradients of a fixed weighted sum.
fn back(y: &Tensor) -> candle_core::backprop::GradStore {
    let weigh = noise(y.dims(), 99);
    (y * weigh.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap()
}

/// Heights that the stride divides: candle's own backward fails on others. Channels last or in candle's order, the same values.
#[test]
fn convolution_is_candles_in_both_layouts() {
    for (height, stride, pad, groups, bias) in
        [(9, 1, 1, 1, true), (9, 2, 1, 1, false), (9, 2, 0, 2, true), (10, 3, 1, 1, false)]
    {
        let (x, w, b) = (noise(&[2, 4, height, 7], 1), noise(&[6, 4 / groups, 3, 3], 2), noise(&[6], 3));
        let mut theirs = x.conv2d(&w, pad, stride, 1, groups).unwrap();
        if bias {
            theirs = theirs.broadcast_add(&b.reshape((1, 6, 1, 1)).unwrap()).unwrap();
        }
        let options = ConvOptions { groups, ..ConvOptions::square(stride, pad) };
        let expected = back(&theirs);
        for relu in [false, true] {
            let options = ConvOptions { relu, ..options };
            let last = x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap().permute((0, 3, 1, 2)).unwrap();
            for x_in in [x.as_tensor(), &last] {
                let ours = ops::conv2d(x_in, &w, bias.then_some(b.as_tensor()), options).unwrap();
                let theirs = if relu { theirs.relu().unwrap() } else { theirs.clone() };
                assert!(far(&ours, &theirs) < 1e-5);
                // The output lies channels last: the next operator borrows it.
                assert!(ours.permute((0, 2, 3, 1)).unwrap().is_contiguous());
                let (a, e) = (back(&ours), if relu { back(&theirs) } else { continue });
                for var in [&x, &w] {
                    assert!(far(a.get(var).unwrap(), e.get(var).unwrap()) < 1e-4);
                }
            }
        }
        let ours = back(&ops::conv2d(&x, &w, bias.then_some(b.as_tensor()), options).unwrap());
        for var in [&x, &w].into_iter().chain(bias.then_some(&b)) {
            assert!(far(ours.get(var).unwrap(), expected.get(var).unwrap()) < 1e-4);
        }
    }
}

/// candle's batch-norm in training and in evaluation, and the running statistics after it; evaluation leaves them alone.
#[test]
fn batch_norm_is_candles_and_evaluation_changes_nothing() {
    let x = noise(&[3, 5, 4, 6], 1);
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let config = BatchNormConfig { momentum: 0.3, ..BatchNormConfig::default() };
    let theirs = candle_nn::batch_norm(5, config, vb.pp("theirs")).unwrap();
    let ours = candle::batch_norm(5, config, vb.pp("ours")).unwrap();
    for (a, b) in [("ours.weight", "theirs.weight"), ("ours.bias", "theirs.bias")] {
        let value = noise(&[5], 40 + a.len() as u64);
        let data = vars.data().lock().unwrap();
        data[a].set(&value).unwrap();
        data[b].set(&value).unwrap();
    }
    for train in [true, true, false] {
        let before = ours.running().mean.to_vec1::<f32>().unwrap();
        let (a, b) = (ours.forward_t(&x, train).unwrap(), theirs.forward_t(&x, train).unwrap());
        assert!(far(&a, &b) < 1e-5, "train {train}");
        assert_eq!(before == ours.running().mean.to_vec1::<f32>().unwrap(), !train);
        let (a, b) = (back(&a), back(&b));
        assert!(far(a.get(&x).unwrap(), b.get(&x).unwrap()) < 1e-4);
        let data = vars.data().lock().unwrap();
        for name in ["weight", "bias"] {
            let of = |store: &candle_core::backprop::GradStore, layer: &str| {
                store.get(&data[&format!("{layer}.{name}")]).unwrap().clone()
            };
            assert!(far(&of(&a, "ours"), &of(&b, "theirs")) < 1e-4, "{name}");
        }
    }
    let data = vars.data().lock().unwrap();
    for name in ["running_mean", "running_var"] {
        // The variables of the map itself are updated: a saved file holds the statistics.
        assert!(far(&data[&format!("ours.{name}")], &data[&format!("theirs.{name}")]) < 1e-5, "{name}");
    }
}

#[test]
fn relu_after_batch_norm_is_in_the_same_pass() {
    let (x, gamma, beta) = (noise(&[2, 3, 4, 4], 1), noise(&[3], 2), noise(&[3], 3));
    let fresh = || {
        let of = |v: f32| Var::from_tensor(&Tensor::full(v, 3, &Device::Cpu).unwrap()).unwrap();
        Running { mean: of(0.0), var: of(1.0) }
    };
    for train in [true, false] {
        let run = |relu| {
            let options = BatchNormOptions { relu, ..BatchNormOptions::default() };
            ops::batch_norm(&x, [gamma.as_tensor(), beta.as_tensor()], &fresh(), train, options).unwrap()
        };
        let (fused, apart) = (run(true), run(false).relu().unwrap());
        assert!(far(&fused, &apart) < 1e-6);
        let (a, b) = (back(&fused), back(&apart));
        for var in [&x, &gamma, &beta] {
            assert!(far(a.get(var).unwrap(), b.get(var).unwrap()) < 1e-5);
        }
    }
}

#[test]
fn pools_are_candles_and_overlapping_windows_have_a_gradient() {
    let x = noise(&[2, 3, 8, 12], 1);
    let square = |kernel, stride, pad| PoolOptions { kernel, stride, pad };
    for (name, ours, theirs) in [
        ("average", ops::avg_pool2d(&x, square(4, 4, 0)).unwrap(), x.avg_pool2d(4).unwrap()),
        ("adaptive", ops::resize2d(&x, [2, 3], Resize::Average).unwrap(), x.avg_pool2d(4).unwrap()),
        ("nearest", ops::resize2d(&x, [16, 24], Resize::Nearest).unwrap(), x.upsample_nearest2d(16, 24).unwrap()),
    ] {
        assert!(far(&ours, &theirs) < 1e-6, "{name}");
        let worst = far(back(&ours).get(&x).unwrap(), back(&theirs).get(&x).unwrap());
        assert!(worst < 1e-6, "{name}: {worst}");
    }
    // candle 0.11 gives a quarter of the gradient of a 2x2 max-pool: it multiplies by the mean of the mask instead of dividing by its sum.
    let y = ops::max_pool2d(&x, square(2, 2, 0)).unwrap();
    assert_eq!(far(&y, &x.max_pool2d(2).unwrap()), 0.0);
    let mask = x.eq(&y.upsample_nearest2d(8, 12).unwrap()).unwrap().to_dtype(DType::F32).unwrap();
    let expected = (noise(y.dims(), 99).upsample_nearest2d(8, 12).unwrap() * mask).unwrap();
    assert_eq!(far(back(&y).get(&x).unwrap(), &expected), 0.0);
    // 3x3 windows of stride 2: every output's gradient goes to one input, so their sums are equal.
    let y = ops::max_pool2d(&x, square(3, 2, 1)).unwrap();
    let sum = |t: &Tensor| t.sum_all().unwrap().to_scalar::<f32>().unwrap();
    assert!((sum(back(&y).get(&x).unwrap()) - sum(noise(y.dims(), 99).as_tensor())).abs() < 1e-3);
}

/// A small network of layers, several losses over one forward pass, and a second backward of the same loss.
#[test]
fn backward_runs_more_than_once() {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let config = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
    let conv = candle::conv2d(2, 4, 3, config, vb.pp("conv")).unwrap();
    let norm = candle::batch_norm(4, 1e-5, vb.pp("bn")).unwrap().with_relu();
    let x = noise(&[3, 2, 6, 6], 1);
    let y = norm.forward_t(&conv.forward(&x).unwrap(), true).unwrap();
    let y = ops::max_pool2d(&y, PoolOptions { kernel: 3, stride: 2, pad: 1 }).unwrap();
    let (first, second) = (y.sqr().unwrap().sum_all().unwrap(), y.sum_all().unwrap());
    let grad = |loss: &Tensor| loss.backward().unwrap().get(conv.weight()).unwrap().clone();
    let (a, b) = (grad(&first), grad(&second));
    assert_eq!(far(&grad(&first), &a), 0.0);
    let both = grad(&(first + second).unwrap());
    assert!(far(&both, &(a + b).unwrap()) < 1e-5);
    assert!(conv.bias().is_some());
}

#[test]
fn the_smallest_inputs_and_a_batch_of_none() {
    let w = noise(&[1, 1, 1, 1], 2);
    for n in [0, 1] {
        let x = Var::from_tensor(&Tensor::ones((n, 1, 1, 1), DType::F32, &Device::Cpu).unwrap()).unwrap();
        let y = ops::conv2d(&x, &w, None, ConvOptions::default()).unwrap();
        let one = PoolOptions { kernel: 1, stride: 1, pad: 0 };
        let y = ops::avg_pool2d(&ops::max_pool2d(&y, one).unwrap(), one).unwrap();
        assert_eq!(y.dims(), [n, 1, 1, 1]);
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&w).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(), [n as f32]);
        assert_eq!(grads.get(&x).unwrap().dims(), [n, 1, 1, 1]);
    }
}

#[test]
fn other_types_and_shapes_are_errors_that_say_why() {
    let (x, w) = (noise(&[1, 2, 4, 4], 1), noise(&[3, 2, 3, 3], 2));
    let error = |x: &Tensor, w: &Tensor| ops::conv2d(x, w, None, ConvOptions::default()).unwrap_err().to_string();
    let double = x.to_dtype(DType::F64).unwrap();
    assert!(error(&double, &w).contains("f64") && error(&double, &w).contains("f32"));
    assert!(error(&x, &noise(&[3, 1, 3, 3], 3)).contains("1 channels"));
    assert!(error(&x.flatten_all().unwrap(), &w).contains("[n, c, h, w]"));
    assert!(error(&x, &noise(&[3, 2, 9, 9], 3)).contains("9"));
    let bn = candle::batch_norm(2, -1.0, VarBuilder::zeros(DType::F32, &Device::Cpu));
    assert!(bn.unwrap_err().to_string().contains("eps"));
}

#[test]
fn a_variable_is_shared_until_a_parameter_changes() {
    let mut params = Params::default();
    params.insert("w", Param::weight(Array::from_slice(&[2], &[1.0, 2.0]).unwrap()));
    params.insert("s", Param::statistic(Array::zeros(&[1])));
    let values = |params: &Params| params.variable("w").unwrap().to_vec1::<f32>().unwrap();
    let first = params.variable("w").unwrap();
    assert_eq!(params.variable("w").unwrap().id(), first.id());
    let copy = params.clone();
    assert_ne!(copy.variable("w").unwrap().id(), first.id());

    type Change = fn(&mut Params);
    let changes: [(Change, [f32; 2]); 5] = [
        (|p| p.get_mut("w").unwrap().value.make_mut()[0] = 3.0, [3.0, 2.0]),
        (|p| p.iter_mut().for_each(|(_, p)| p.value.make_mut()[0] += 1.0), [4.0, 2.0]),
        (|p| p.update([("w", Array::from_slice(&[2], &[5.0, 6.0]).unwrap())]).unwrap(), [5.0, 6.0]),
        (|p| p.insert("w", Param::weight(Array::from_slice(&[2], &[7.0, 8.0]).unwrap())), [7.0, 8.0]),
        (|p| p.load_tensors(&Params::default().to_tensors()).unwrap_or(()), [7.0, 8.0]),
    ];
    for (change, expected) in changes {
        assert_eq!(values(&params).len(), 2);
        change(&mut params);
        assert_eq!(values(&params), expected);
    }
    params.retain(|name| name != "w");
    assert!(matches!(params.variable("w"), Err(NnError::NoParameter(name)) if name == "w"));
    // What is in a graph already keeps its values.
    assert_eq!(first.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
    assert_eq!(values(&copy), [1.0, 2.0]);
}

#[test]
fn arrays_of_views_have_the_views_values() {
    let tensor = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap().reshape((2, 3, 4)).unwrap();
    let views = [
        tensor.clone(),
        tensor.narrow(0, 1, 1).unwrap(),
        tensor.narrow(2, 1, 2).unwrap(),
        tensor.permute((2, 0, 1)).unwrap(),
        tensor.narrow(1, 0, 1).unwrap().broadcast_as((2, 3, 4)).unwrap(),
        tensor.to_dtype(DType::F64).unwrap(),
    ];
    for view in views {
        let array = Array::from_tensor(&view).unwrap();
        let expected = view.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!((array.shape(), array.as_slice()), (view.dims(), &expected[..]));
    }
}
