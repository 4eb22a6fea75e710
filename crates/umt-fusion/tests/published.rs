//! R25 and published weights: the state dicts of torchvision, timm and transformers load under their own names and
//! give the logits that they give there; what does not fit is refused with every name.
//!
//! `golden/make_published_golden.py` made the values in f64; here everything is f32.

mod common;

use common::{close, noise, numbers, picture};
use serde_json::Value;
use std::collections::BTreeMap;
use umt_encoders::pretrained::FirstConv;
use umt_encoders::{EncoderConfig, ResNetConfig};
use umt_fusion::{DecoderConfig, FusionConfig, Network, NetworkConfig};
use umt_media::Modality::{Audio, Depth, Rgb, Video};
use umt_nn::{NnError, Tensors};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/published.json")).unwrap()
}

/// A library's state dict by the script's formula.
fn state_dict(shapes: &Value) -> Tensors {
    let counter = |name: &String| name.ends_with("num_batches_tracked");
    let mut names: Vec<&String> = shapes.as_object().unwrap().keys().collect();
    names.sort();
    let mut tensors = Tensors::new();
    for name in names.iter().filter(|name| counter(name)) {
        tensors.insert((*name).clone(), (vec![], vec![0.0]));
    }
    for (salt, name) in (0..).zip(names.into_iter().filter(|name| !counter(name))) {
        let shape: Vec<usize> = shapes[name].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let count: usize = shape.iter().product();
        let fan_in = (count / shape[0]) as f64;
        let last = name.contains("bn3.") || name.contains("layer.2.normalization.");
        let value = |n: f64| match name {
            _ if shape.len() > 1 => n * 12f64.sqrt() * (2.0 / fan_in).sqrt(),
            _ if name.ends_with("running_var") => 1.0 + 0.5 * n,
            _ if name.ends_with("weight") => (if last { 0.25 } else { 1.0 }) * (1.0 + 0.2 * n),
            _ => 0.2 * n,
        };
        let values = noise(count, salt).map(|n| value(n) as f32).collect();
        tensors.insert(name.clone(), (shape, values));
    }
    tensors
}

fn encoder(kind: &str, channels: usize, width: usize) -> EncoderConfig {
    let config = ResNetConfig { channels, width, ..ResNetConfig::default() };
    match kind {
        "resnet18" => EncoderConfig::Resnet18(config),
        "resnet34" => EncoderConfig::Resnet34(config),
        _ => EncoderConfig::Resnet50(config),
    }
}

fn network(kind: &str, channels: usize, width: usize) -> Network {
    let encoders = BTreeMap::from([(Video, encoder(kind, channels, width))]);
    Network::new(&NetworkConfig { encoders, head: FusionConfig::Concat.into(), classes: 5 }, 1).unwrap()
}

#[test]
fn published_resnets_give_their_own_logits() {
    let golden = golden();
    let inputs = BTreeMap::from([(Video, picture(&[2, 3, 72, 64], 7))]);
    let mut seen = 0;
    for (name, case) in golden.as_object().unwrap().iter().filter(|(_, case)| !case["tensors"].is_null()) {
        let kind = name.split(' ').nth(1).unwrap();
        let mut network = network(kind, 3, 64);
        network.load(state_dict(&case["tensors"])).unwrap();
        close(name, network.logits(&inputs).unwrap().as_slice(), &numbers(&case["logits"]), 1e-4);
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn an_encoder_is_taken_without_its_classifier_and_from_three_colours_to_one() {
    let golden = golden();
    let tensors = state_dict(&golden["timm resnet18"]["tensors"]);
    let inputs = BTreeMap::from([(Video, picture(&[2, 3, 72, 64], 7))]);
    let mut whole = network("resnet18", 3, 64);
    whole.load(tensors.clone()).unwrap();
    let mut part = network("resnet18", 3, 64);
    part.load_encoder(Video, tensors.clone(), FirstConv::Sum).unwrap();
    assert_eq!(whole.features(&inputs).unwrap()[&Video].as_slice(), part.features(&inputs).unwrap()[&Video].as_slice());
    assert_ne!(whole.logits(&inputs).unwrap().as_slice(), part.logits(&inputs).unwrap().as_slice());

    // The other way round: what is saved here is taken by another network, whatever its modality is called.
    let encoders = BTreeMap::from([(Audio, encoder("resnet18", 3, 64)), (Video, encoder("resnet18", 3, 64))]);
    let mut both = Network::new(&NetworkConfig { encoders, head: FusionConfig::Sum.into(), classes: 9 }, 2).unwrap();
    both.load_encoder(Audio, whole.params().to_tensors(), FirstConv::Sum).unwrap();
    let sound = BTreeMap::from([(Audio, inputs[&Video].clone()), (Video, inputs[&Video].clone())]);
    assert_eq!(both.features(&sound).unwrap()[&Audio].as_slice(), whole.features(&inputs).unwrap()[&Video].as_slice());

    // timm's own conversion for one channel is the sum; its logits need its classifier, which goes in first.
    let grey = BTreeMap::from([(Video, picture(&[2, 1, 72, 64], 7))]);
    let head: Tensors =
        tensors.iter().filter(|(name, _)| name.starts_with("fc.")).map(|(n, t)| (n.clone(), t.clone())).collect();
    let mut one = network("resnet18", 1, 64);
    let mut all = one.params().to_tensors();
    for (name, tensor) in head {
        all.insert(name.replace("fc.", "head."), tensor);
    }
    one.load(all).unwrap();
    one.load_encoder(Video, tensors.clone(), FirstConv::Sum).unwrap();
    let logits = one.logits(&grey).unwrap();
    close("grey", logits.as_slice(), &numbers(&golden["grey"]["logits"]), 1e-4);
    one.load_encoder(Video, tensors, FirstConv::Mean).unwrap();
    assert_ne!(one.logits(&grey).unwrap().as_slice(), logits.as_slice());
}

#[test]
fn what_does_not_fit_is_listed_and_changes_nothing() {
    let tensors = state_dict(&golden()["torchvision resnet18"]["tensors"]);
    let mut network = network("resnet18", 3, 64);
    let before = network.params().to_tensors();
    let mut broken = tensors.clone();
    broken.remove("layer3.1.bn2.running_var");
    broken.insert("layer5.0.conv1.weight".into(), (vec![1], vec![1.0]));
    broken.insert("bn1.weight".into(), (vec![32], vec![1.0; 32]));
    let error = network.load_encoder(Video, broken, FirstConv::Sum).unwrap_err();
    let NnError::Mismatch { missing, unexpected, ill_shaped } = &error else { panic!("{error}") };
    assert_eq!((missing.len(), unexpected.len(), ill_shaped.len()), (1, 1, 1));
    let text = error.to_string();
    for word in ["layer3.1.bn2.running_var", "layer5.0.conv1.weight", "bn1.weight: [32] for [64]"] {
        assert!(text.contains(word), "no {word}: {text}");
    }
    // Two channels cannot be made of three; another width fits nowhere.
    let error = self::network("resnet18", 2, 64).load_encoder(Video, tensors.clone(), FirstConv::Sum).unwrap_err();
    assert!(error.to_string().contains("conv1.weight: [64, 3, 7, 7] for [64, 2, 7, 7]"), "{error}");
    let error = self::network("resnet18", 3, 16).load_encoder(Video, tensors.clone(), FirstConv::Sum).unwrap_err();
    let NnError::Mismatch { missing, unexpected, ill_shaped } = error else { panic!("{error}") };
    assert_eq!((missing.len(), unexpected.len(), ill_shaped.len()), (0, 0, 100));
    // Another depth lists each name.
    let error = self::network("resnet34", 3, 64).load_encoder(Video, tensors.clone(), FirstConv::Sum).unwrap_err();
    let NnError::Mismatch { missing, .. } = error else { panic!("{error}") };
    assert!(missing.contains(&"layer3.5.conv2.weight".to_owned()) && missing.len() == 80, "{missing:?}");
    // A network of other classes has another head.
    let error = network.load(state_dict(&golden()["torchvision resnet50"]["tensors"])).unwrap_err();
    assert!(matches!(error, NnError::Mismatch { .. }));
    assert_eq!(network.params().to_tensors(), before);
    assert!(matches!(network.load_encoder(Audio, tensors, FirstConv::Sum), Err(NnError::Unsupported(_))));
}

#[test]
fn a_segmentation_network_begins_with_published_encoders() {
    let tensors = state_dict(&golden()["torchvision resnet18"]["tensors"]);
    let encoders = BTreeMap::from([(Rgb, encoder("resnet18", 3, 64)), (Depth, encoder("resnet18", 1, 64))]);
    let mut network =
        Network::new(&NetworkConfig { encoders, head: DecoderConfig::default().into(), classes: 3 }, 1).unwrap();
    network.load_encoder(Rgb, tensors.clone(), FirstConv::Sum).unwrap();
    network.load_encoder(Depth, tensors.clone(), FirstConv::Mean).unwrap();
    let ours = network.params().to_tensors();
    let name = "layer3.0.downsample.0.weight";
    for encoder in ["encoder_rgb", "encoder_depth"] {
        assert_eq!(ours[&format!("{encoder}.{name}")], tensors[name]);
    }
    assert_eq!(ours["encoder_rgb.conv1.weight"], tensors["conv1.weight"]);
    assert_eq!(ours["encoder_depth.conv1.weight"].0, [64, 1, 7, 7]);
    // The teacher's form has one encoder; the student's depth encoder may begin as it.
    let encoders = BTreeMap::from([(Depth, encoder("resnet18", 1, 64))]);
    let mut teacher =
        Network::new(&NetworkConfig { encoders, head: DecoderConfig::default().into(), classes: 3 }, 2).unwrap();
    network.load_encoder(Depth, teacher.params().to_tensors(), FirstConv::Sum).unwrap();
    assert_eq!(
        network.params().to_tensors()[&format!("encoder_depth.{name}")],
        teacher.params().to_tensors()[&format!("encoder.{name}")]
    );
    teacher.load_encoder(Depth, ours.clone(), FirstConv::Sum).unwrap();
    assert_eq!(teacher.params().to_tensors()["encoder.conv1.weight"], ours["encoder_depth.conv1.weight"]);
    teacher.load_encoder(Depth, tensors, FirstConv::Sum).unwrap();
    assert!(matches!(teacher.load_encoder(Rgb, Tensors::new(), FirstConv::Sum), Err(NnError::Unsupported(_))));
}
