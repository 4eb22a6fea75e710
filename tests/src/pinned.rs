//! R12: what a seed means does not change between versions.

use std::collections::BTreeMap;
use umt_encoders::{EncoderConfig, ResNetConfig};
use umt_fusion::{DecoderConfig, FusionConfig, Network, NetworkConfig};
use umt_media::Modality;
use umt_store::{sha256_hex, tensors};

use crate::tiny::Outcome;

/// First digits of the SHA-256 of all parameters, by encoder.
const PINNED: [(&str, &str); 6] = [
    ("resnet20", "32697ab0ecdb"),
    ("resnet18", "d18505998dcd"),
    ("resnet34", "bfcc687498a2"),
    ("resnet18-1d", "728ee7d023f1"),
    ("resnet50", "230bb1ff5270"),
    ("r2plus1d18", "c7dcff1456aa"),
];

#[test]
fn first_weights_of_every_encoder_and_of_a_fusion() -> Outcome {
    let mut found = Vec::new();
    for (name, encoder) in EncoderConfig::examples() {
        let encoders = [(Modality::Audio, encoder.clone()), (Modality::Video, encoder)].into();
        let config = NetworkConfig { encoders, head: FusionConfig::Concat.into(), classes: 3 };
        let bytes = tensors::write(&Network::new(&config, 1)?.params().to_tensors())?;
        found.push((name, sha256_hex(&bytes)[..12].to_string()));
    }
    let pinned: Vec<_> = PINNED.map(|(name, digest)| (name, digest.to_string())).into();
    assert_eq!(found, pinned);
    Ok(())
}

#[test]
fn first_weights_of_a_segmentation_network() -> Outcome {
    let encoder = |channels| EncoderConfig::Resnet18(ResNetConfig { channels, width: 4, ..ResNetConfig::default() });
    let encoders = BTreeMap::from([(Modality::Depth, encoder(1)), (Modality::Rgb, encoder(3))]);
    let head = DecoderConfig::scaled(&encoders).into();
    let bytes = tensors::write(&Network::new(&NetworkConfig { encoders, head, classes: 3 }, 1)?.params().to_tensors())?;
    assert_eq!(&sha256_hex(&bytes)[..12], "5b407e707064");
    Ok(())
}
