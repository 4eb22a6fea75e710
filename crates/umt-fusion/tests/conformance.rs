//! What every encoder and every fusion must do, for each entry of their lists.

use candle_core::{Device, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{
    Encoded, FusionConfig, Lmf, Loss, Network, NetworkConfig, Outputs, Shapes, StepResult, TensorFusion, Weights,
};
use umt_media::Modality::{self, Audio, Depth, Video};
use umt_nn::{Array, NnError, Params, Role};

const CLASSES: usize = 4;

type Inputs = BTreeMap<Modality, Array>;

fn noise(shape: &[usize], id: u64) -> Array {
    let mut rng = umt_random::stream(5, "conformance", 0, id);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Array::from_slice(shape, &values).unwrap()
}

fn step(network: &mut Network, inputs: &Inputs) -> Result<StepResult, NnError> {
    let labels = Tensor::from_slice(&[0u32, 1, 3], 3, &Device::Cpu)?;
    network.train_step(inputs, &mut |outputs: Outputs| {
        let value = candle_nn::loss::cross_entropy(&outputs.tensor(&outputs.logits)?, &labels)?;
        Ok(Loss::from(value))
    })
}

/// A network of small encoders for the first `count` of three modalities.
fn fused(fusion: FusionConfig, count: usize) -> (NetworkConfig, Inputs) {
    let small = |channels| {
        EncoderConfig::Resnet18(ResNetConfig { channels, width: 4, stem: Stem::Small, ..ResNetConfig::default() })
    };
    let inputs = [
        (Video, small(3), noise(&[3, 2, 32, 32, 3], 4)),
        (Audio, small(1), noise(&[3, 24, 30, 1], 2)),
        (Depth, small(1), noise(&[3, 32, 32, 1], 3)),
    ];
    let (mut encoders, mut arrays) = (BTreeMap::new(), BTreeMap::new());
    for (modality, encoder, array) in inputs.into_iter().take(count) {
        encoders.insert(modality, encoder);
        arrays.insert(modality, array);
    }
    (NetworkConfig { encoders, head: fusion.into(), classes: CLASSES }, arrays)
}

/// Every case: one network per encoder, and per fusion one with each number of modalities up to three.
fn cases() -> Vec<(String, NetworkConfig, Inputs)> {
    let mut cases = Vec::new();
    for (name, encoder) in EncoderConfig::examples() {
        let channels = encoder.channels();
        let config = NetworkConfig {
            encoders: BTreeMap::from([(Video, encoder)]),
            head: FusionConfig::Concat.into(),
            classes: CLASSES,
        };
        cases.push((name.to_owned(), config, BTreeMap::from([(Video, noise(&[3, 3, 48, 40, channels], 1))])));
    }
    for (name, fusion) in FusionConfig::examples() {
        for count in 1..=3 {
            let (config, inputs) = fused(fusion.clone(), count);
            cases.push((format!("{name} of {count}"), config, inputs));
        }
    }
    cases
}

/// By name alone, as a recipe may give it, and with every setting written out.
#[test]
fn every_fusion_is_built_from_its_defaults() {
    for (name, example) in FusionConfig::examples() {
        let config: FusionConfig = serde_json::from_value(serde_json::json!({ "kind": name })).unwrap();
        let (config, inputs) = fused(config, 2);
        let logits = Network::new(&config, 1).unwrap().logits(&inputs).unwrap();
        assert_eq!(logits.shape(), [3, CLASSES], "{name}");
        assert!(logits.as_slice().iter().all(|x| x.is_finite()), "{name}");

        let written = serde_json::to_value(&example).unwrap();
        assert_eq!(written["kind"], *name);
        assert_eq!(serde_json::from_value::<FusionConfig>(written).unwrap(), example);
        let unknown = serde_json::json!({ "kind": name, "no-such-setting": 1 });
        assert!(serde_json::from_value::<FusionConfig>(unknown).is_err(), "{name} takes any setting");
    }
}

#[test]
fn shapes_names_seeds_and_files() {
    for (name, config, inputs) in cases() {
        let mut network = Network::new(&config, 1).unwrap();
        assert_eq!(network.logits(&inputs).unwrap().shape(), [3, CLASSES], "{name}");
        let same = Network::new(&config, 1).unwrap().params().to_tensors();
        assert_eq!(network.params().to_tensors(), same, "{name}: the same seed gives the same bytes");
        let other = Network::new(&config, 2).unwrap();
        assert_ne!(other.params().to_tensors(), same, "{name}: another seed gives other weights");

        // Every learnt parameter and every encoder is reached by the loss.
        let result = step(&mut network, &inputs).unwrap();
        let weights: BTreeSet<&String> =
            network.params().iter().filter(|(_, p)| p.role == Role::Weight).map(|(name, _)| name).collect();
        assert_eq!(result.grads.keys().collect::<BTreeSet<_>>(), weights, "{name}");
        for (parameter, grad) in &result.grads {
            assert!(grad.as_slice().iter().all(|x| x.is_finite()), "{name}: {parameter}");
        }
        for modality in config.encoders.keys() {
            for (parameter, grad) in &result.grads {
                // The batch-norm behind it takes a bias away again.
                let no_effect = parameter.contains("conv1x3") && parameter.ends_with("bias");
                let reached = no_effect || grad.as_slice().iter().any(|x| *x != 0.0);
                assert!(reached || !parameter.starts_with(&format!("encoder.{modality}.")), "{name}: {parameter}");
            }
        }

        // What was trained comes back from its tensors, statistics included.
        let mut loaded = Network::new(&config, 3).unwrap();
        loaded.params_mut().load_tensors(&network.params().to_tensors()).unwrap();
        assert_eq!(loaded.logits(&inputs).unwrap(), network.logits(&inputs).unwrap(), "{name}");
    }
}

#[test]
fn a_missing_modality_is_refused_by_name() {
    for (name, config, mut inputs) in cases() {
        let network = Network::new(&config, 1).unwrap();
        inputs.remove(&Video);
        let message = network.logits(&inputs).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("video"), "{name}: {message}");
    }
}

/// R16: the derivative along a random direction against a central difference, through the whole
/// network in training mode.
#[test]
fn gradients_agree_with_central_differences() {
    for (name, config, inputs) in cases() {
        let base = Network::new(&config, 1).unwrap().params().to_tensors();
        let mut network = Network::new(&config, 1).unwrap();
        let grads = step(&mut network, &inputs).unwrap().grads;
        // Along the gradient with some noise, so that the slope is well above rounding.
        let along: BTreeMap<&String, Vec<f64>> = (0..)
            .zip(&grads)
            .map(|(index, (parameter, grad))| {
                let direction = noise(grad.shape(), index);
                let scale = 0.5 * norm(grad) / norm(&direction).max(1e-12);
                let pairs = grad.as_slice().iter().zip(direction.as_slice());
                (parameter, pairs.map(|(g, d)| f64::from(*g) + scale * f64::from(*d)).collect())
            })
            .collect();
        let slope: f64 = grads
            .iter()
            .map(|(parameter, grad)| {
                grad.as_slice().iter().zip(&along[parameter]).map(|(g, d)| f64::from(*g) * d).sum::<f64>()
            })
            .sum();
        let mut best = f64::INFINITY;
        // The step is chosen by how much the loss should change: rounding spoils small changes, curvature and
        // the kinks of ReLU and max-pool spoil large ones, and a wrong gradient spoils all.
        for change in [1e-2, 3e-3, 1e-3, 3e-4] {
            let mut losses = [0.0f64; 2];
            for (loss, sign) in losses.iter_mut().zip([1.0, -1.0]) {
                network.params_mut().load_tensors(&base).unwrap();
                for (parameter, direction) in &along {
                    let values = network.params_mut().get_mut(parameter).unwrap().value.make_mut();
                    for (v, d) in values.iter_mut().zip(direction) {
                        *v += (sign * change / slope * d) as f32;
                    }
                }
                *loss = f64::from(step(&mut network, &inputs).unwrap().loss);
            }
            best = best.min(((losses[0] - losses[1]) / (2.0 * change) - 1.0).abs());
        }
        assert!(best < 1e-2, "{name}: relative error {best}");
    }
}

fn norm(array: &Array) -> f64 {
    array.as_slice().iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// R17: a sample alone and in a batch.
#[test]
fn a_sample_does_not_depend_on_its_batch() {
    for (name, config, inputs) in cases() {
        let network = Network::new(&config, 1).unwrap();
        let together = network.features(&inputs).unwrap();
        let first: Inputs = inputs
            .iter()
            .map(|(m, x)| {
                let shape = [&[1], &x.shape()[1..]].concat();
                (*m, Array::from_slice(&shape, &x.as_slice()[..x.len() / 3]).unwrap())
            })
            .collect();
        for (modality, alone) in network.features(&first).unwrap() {
            let rows = together[&modality].as_slice();
            let largest = rows.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (a, b) in alone.as_slice().iter().zip(rows) {
                assert!((a - b).abs() <= 1e-6 * largest, "{name} {modality}: {a} alone, {b} in a batch");
            }
        }
    }
}

/// R15: large inputs stay finite.
#[test]
fn large_features_stay_finite() {
    for (name, config, _) in cases() {
        let mut network = Network::new(&config, 1).unwrap();
        let inputs = config.encoders.iter().map(|(m, e)| {
            let mut x = noise(&[3, 2, 32, 32, e.channels()], 9);
            x.make_mut().iter_mut().for_each(|v| *v *= 1e4);
            (*m, x)
        });
        let result = step(&mut network, &inputs.collect()).unwrap();
        assert!(result.loss.is_finite(), "{name}");
    }
}

/// Mean squared length of what the head of a fresh fusion reads, for features of this size: the gradient of its weight for one
/// sample is the bias's times what it read.
fn read_by_head(fusion: &FusionConfig, size: f64) -> f64 {
    const WIDTH: usize = 96;
    let shapes = Shapes { stages: [Audio, Video].map(|m| (m, vec![WIDTH])).into(), classes: CLASSES };
    let (mut params, built) = (Params::default(), fusion.build());
    built.init(&shapes, &mut params, &mut umt_random::stream(1, "init", 0, 0)).unwrap();
    let weights = Weights::of(&params).unwrap();
    let squares = (0..64).map(|sample| {
        // As pooled after a ReLU: not below 0.
        let feature = |id| noise(&[1, WIDTH], id).to_tensor().unwrap().relu().unwrap() * size;
        let both = [(Audio, feature(2 * sample).unwrap()), (Video, feature(2 * sample + 1).unwrap())];
        let logits = built.forward(&weights, &Encoded::of(both.into())).unwrap();
        let label = Tensor::from_slice(&[0u32], 1, &Device::Cpu).unwrap();
        let store = candle_nn::loss::cross_entropy(&logits, &label).unwrap().backward().unwrap();
        let grads = weights.grads(&store).unwrap();
        (norm(&grads["head.weight"]) / norm(&grads["head.bias"])).powi(2)
    });
    squares.sum::<f64>() / 64.0
}

/// Products neither grow with the features nor with the rank: a learning rate means the same for all.
#[test]
fn products_begin_at_one_scale() {
    let lmf = |rank| FusionConfig::Lmf(Lmf { rank, width: 128 });
    // Half of 128 values of variance 1 are left by a ReLU.
    for fusion in [lmf(1), lmf(4), lmf(16)] {
        let found = read_by_head(&fusion, 1.0);
        assert!((40.0..90.0).contains(&found), "{fusion:?}: {found}");
        let larger = read_by_head(&fusion, 30.0);
        assert!((larger / found - 1.0).abs() < 1e-3, "{fusion:?}: {found} and {larger}");
    }
    for width in [8, 32] {
        let fusion = FusionConfig::Tensor(TensorFusion { width });
        let (found, larger) = (read_by_head(&fusion, 1.0), read_by_head(&fusion, 30.0));
        let expected = (1.0 + width as f64 / 6.0).powi(2);
        assert!((0.6..1.7).contains(&(found / expected)), "{fusion:?}: {found} for {expected}");
        assert!((larger / found - 1.0).abs() < 1e-3, "{fusion:?}: {found} and {larger}");
    }
}

/// The lists and the folders name the same things.
#[test]
fn every_file_is_in_a_list() {
    let files = |folder: &str| -> BTreeSet<String> {
        let path = format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(path).unwrap();
        let stem = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()
        };
        entries.map(stem).collect()
    };
    let mut fusions = files("src/kinds");
    assert!(fusions.remove("mod"));
    let listed = FusionConfig::examples().into_iter().map(|(name, _)| name.replace('-', "_")).collect();
    assert_eq!(fusions, listed);
}
