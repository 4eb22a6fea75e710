//! What passes between encoders, and what does not: gates behind chosen stages.

use std::collections::{BTreeMap, BTreeSet};
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{FusionConfig, Mmtm, Network, NetworkConfig, SeAdd};
use umt_media::Modality::{self, Audio, Video};
use umt_nn::layers::ParamBuilder;
use umt_nn::{Array, Params, Tape};

type Inputs = BTreeMap<Modality, Array>;

fn noise(shape: &[usize], id: u64) -> Array {
    let mut rng = umt_random::stream(6, "stages", 0, id);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Array::from_slice(shape, &values).unwrap()
}

fn network(fusion: FusionConfig) -> Network {
    let small = |channels| {
        EncoderConfig::Resnet18(ResNetConfig { channels, width: 4, stem: Stem::Small, ..ResNetConfig::default() })
    };
    let encoders = BTreeMap::from([(Audio, small(1)), (Video, small(3))]);
    Network::new(&NetworkConfig { encoders, head: fusion.into(), classes: 5 }, 1).unwrap()
}

fn inputs(clip: u64) -> Inputs {
    BTreeMap::from([(Audio, noise(&[2, 24, 30, 1], 1)), (Video, noise(&[2, 2, 32, 32, 3], clip))])
}

fn mmtm(stages: &[usize]) -> FusionConfig {
    // With more than two values between squeeze and excitation, a ReLU hardly closes them all.
    FusionConfig::Mmtm(Mmtm { stages: stages.iter().copied().collect(), ratio: 1 })
}

/// Stage by stage, an encoder is the whole; an unknown stage is an error.
#[test]
fn stages_make_up_the_encoder() {
    for (name, config) in EncoderConfig::examples() {
        let mut rng = umt_random::stream(1, "init", 0, 0);
        let mut params = Params::default();
        let encoder = config.build(ParamBuilder::new(&mut params, &mut rng)).unwrap();
        let input = noise(&[2, 3, 32, 24, config.channels()], 3);
        let mut tape = Tape::eval();
        let whole = tape.input(input.clone());
        let whole = encoder.forward(&mut tape, &params, &whole).unwrap();
        let mut x = tape.input(input);
        for (index, &channels) in encoder.stages().iter().enumerate() {
            x = encoder.stage(index, &mut tape, &params, x).unwrap();
            assert_eq!((x.shape().len(), x.shape().last()), (5, Some(&channels)), "{name} stage {index}");
        }
        assert_eq!(encoder.pool(&mut tape, &x).unwrap().array(), whole.array(), "{name}");
        assert_eq!(whole.shape(), [2, encoder.width()], "{name}");
        assert!(encoder.stage(encoder.stages().len(), &mut tape, &params, x).is_err(), "{name}");
    }
}

#[test]
fn mmtm_without_stages_is_concatenation() {
    let concat = network(FusionConfig::Concat).logits(&inputs(2)).unwrap();
    assert_eq!(network(mmtm(&[])).logits(&inputs(2)).unwrap(), concat);
    assert_ne!(network(mmtm(&[4])).logits(&inputs(2)).unwrap(), concat);
}

/// Whether the sound's feature changes with the picture.
fn sound_knows_the_picture(fusion: FusionConfig) -> bool {
    let network = network(fusion);
    let feature = |clip| network.features(&inputs(clip)).unwrap().remove(&Audio).unwrap();
    feature(2) != feature(7)
}

#[test]
fn features_are_uni_modal_before_the_first_exchange() {
    for (name, fusion) in FusionConfig::examples() {
        assert_eq!(sound_knows_the_picture(fusion), name == "mmtm", "{name}");
    }
    // A gate behind the last stage reaches the head, not the feature.
    assert!(!sound_knows_the_picture(mmtm(&[4])));
    for stage in 0..4 {
        assert!(sound_knows_the_picture(mmtm(&[stage])), "stage {stage}");
    }
}

/// One gate per clip: the order of its frames does not matter to it, nor to anything behind a 2-D encoder.
#[test]
fn a_clip_is_gated_as_a_whole() {
    let stages: BTreeSet<usize> = (0..=4).collect();
    for fusion in [mmtm(&[0, 2, 4]), FusionConfig::SeAdd(SeAdd { stages, reduction: 4 })] {
        let network = network(fusion);
        let (forth, mut back) = (inputs(2), inputs(2));
        let clip = back.get_mut(&Video).unwrap();
        let frame = 32 * 32 * 3;
        clip.make_mut().chunks_exact_mut(2 * frame).for_each(|frames| frames.rotate_left(frame));
        assert_ne!(back, forth);
        let (forth, back) = (network.logits(&forth).unwrap(), network.logits(&back).unwrap());
        for (a, b) in forth.as_slice().iter().zip(back.as_slice()) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
    }
}
