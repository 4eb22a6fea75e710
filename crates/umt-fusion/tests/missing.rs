//! Networks whose input lacks modalities, for every fusion of the list.

use candle_core::Tensor;
use std::collections::BTreeMap;
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{FusionConfig, Network, NetworkConfig, Standing};
use umt_media::Modality::{self, Audio, Depth, Video};
use umt_nn::Array;

const ALL: [Modality; 3] = [Audio, Video, Depth];
const CLASSES: usize = 4;

type Inputs = BTreeMap<Modality, Array>;

fn inputs(samples: usize) -> Inputs {
    let noise = |(id, modality): (u64, Modality)| {
        let mut rng = umt_random::stream(5, "missing", 0, id);
        let values: Vec<f32> = (0..samples * 24 * 24).map(|_| rng.normal()).collect();
        (modality, Array::from_slice(&[samples, 24, 24, 1], &values).unwrap())
    };
    (0..).zip(ALL).map(noise).collect()
}

fn networks() -> Vec<(&'static str, FusionConfig, Network)> {
    let encoder =
        EncoderConfig::Resnet18(ResNetConfig { channels: 1, width: 4, stem: Stem::Small, ..ResNetConfig::default() });
    let encoders: BTreeMap<_, _> = ALL.iter().map(|m| (*m, encoder.clone())).collect();
    let build = |(name, fusion): (&'static str, FusionConfig)| {
        let config = NetworkConfig { encoders: encoders.clone(), head: fusion.clone().into(), classes: CLASSES };
        (name, fusion, Network::new(&config, 1).unwrap())
    };
    FusionConfig::examples().into_iter().map(build).collect()
}

fn some(inputs: &Inputs, given: &[Modality]) -> Inputs {
    inputs.iter().filter(|(m, _)| given.contains(m)).map(|(m, x)| (*m, x.clone())).collect()
}

fn close(what: &str, a: &Array, b: &Array) {
    let largest = b.as_slice().iter().fold(1e-3f32, |m, x| m.max(x.abs()));
    for (x, y) in a.as_slice().iter().zip(b.as_slice()) {
        assert!((x - y).abs() <= 1e-5 * largest, "{what}: {x} for {y}");
    }
}

/// With all there, nothing stands for anything; with some, the logits are finite and change; with none, an error.
#[test]
fn any_subset_has_logits() {
    let inputs = inputs(3);
    for (name, _, network) in networks() {
        let whole = network.logits(&inputs).unwrap();
        assert_eq!(network.logits_given(&inputs, &Standing::new()).unwrap(), whole, "{name}");
        for given in [&[Audio][..], &[Video], &[Depth], &[Audio, Video], &[Audio, Depth], &[Video, Depth]] {
            let logits = network.logits_given(&some(&inputs, given), &Standing::new()).unwrap();
            assert_eq!(logits.shape(), [3, CLASSES], "{name}");
            assert!(logits.as_slice().iter().all(|x| x.is_finite()), "{name}");
            assert_ne!(logits, whole, "{name}");
        }
        let message = network.logits_given(&Inputs::new(), &Standing::new()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("at least one modality"), "{name}: {message}");
    }
}

/// What stands for a modality is exactly what its encoder says: then nothing is missing. A fusion over tokens sees one
/// pixel instead of many, so there the logits only come near no others.
#[test]
fn its_own_means_stand_for_a_modality_without_loss() {
    let inputs = inputs(1);
    for (name, fusion, network) in networks() {
        let encoded = network.encode(&inputs).unwrap();
        let mut standing = Standing::new();
        for (&stage, means) in &encoded.means {
            let mean = Array::from_tensor(&means[&Video].squeeze(0).unwrap()).unwrap();
            standing.entry(Video).or_default().insert(stage, mean);
        }
        let logits = network.logits_given(&some(&inputs, &[Audio, Depth]), &standing).unwrap();
        if !fusion.build().needs_maps() {
            close(name, &logits, &network.logits(&inputs).unwrap());
        }
        standing.entry(Video).or_default().values_mut().for_each(|mean| *mean = Array::zeros(&[1]));
        let message = network.logits_given(&some(&inputs, &[Audio]), &standing).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("video"), "{name}: {message}");
    }
}

/// Behind a late fusion a missing modality is one whose features are zero, or the token that was learnt.
#[test]
fn zeros_and_tokens_stand_for_features() {
    let inputs = inputs(3);
    for (name, fusion, mut network) in networks() {
        if fusion.build().needs_maps() || !fusion.build().stages().is_empty() {
            continue;
        }
        let encoded = network.encode(&inputs).unwrap();
        let replaced = |network: &Network, by: f64| {
            let change = |m: Modality, x: &Tensor| Ok(if m == Video { x.affine(0.0, by)? } else { x.clone() });
            network.classify(&encoded.map(change).unwrap()).unwrap()
        };
        let without = some(&inputs, &[Audio, Depth]);
        close(name, &network.logits_given(&without, &Standing::new()).unwrap(), &replaced(&network, 0.0));
        assert!(network.tokens().is_none());
        network.add_tokens();
        network.params_mut().get_mut("token.video").unwrap().value.make_mut().fill(0.5);
        let tokens = network.tokens().unwrap();
        close(name, &network.logits_given(&without, &tokens).unwrap(), &replaced(&network, 0.5));
    }
}
