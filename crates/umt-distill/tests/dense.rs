//! What a segmentation task must do, for RGB, depth and both, with the sum of both going either way.

use std::collections::BTreeMap;
use umt_data::{Batch, LabelMaps};
use umt_distill::{DenseLossConfig, DenseTask, MapDistance, multi_scale};
use umt_encoders::{Block, EncoderConfig, ResNetConfig};
use umt_fusion::{DecoderConfig, Fused, Segmenter, SegmenterConfig};
use umt_media::Modality::{self, Depth, Rgb};
use umt_nn::{Array, Device};
use umt_train::{Evaluation, Feed, StepContext, StepOutput, Task, Validation};

const CLASSES: usize = 4;

fn config(modalities: &[Modality], fused: Fused) -> SegmenterConfig {
    let channels = |m: Modality| if m == Rgb { 3 } else { 1 };
    let encoder = |&m: &Modality| {
        let block = Block::NonBottleneck1d;
        let resnet = ResNetConfig { channels: channels(m), width: 4, block, ..ResNetConfig::default() };
        (m, EncoderConfig::Resnet18(resnet))
    };
    let mut config = SegmenterConfig::scaled(modalities.iter().map(encoder).collect(), CLASSES);
    config.decoder = DecoderConfig { fused, blocks: 1, ..config.decoder };
    config
}

fn cases() -> [SegmenterConfig; 4] {
    [
        config(&[Rgb], Fused::Rgb),
        config(&[Depth], Fused::Rgb),
        config(&[Depth, Rgb], Fused::Rgb),
        config(&[Depth, Rgb], Fused::Decoder),
    ]
}

fn noise(shape: &[usize], id: u64) -> umt_media::Array {
    let mut rng = umt_random::stream(5, "dense", 0, id);
    let data = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    umt_media::Array::new(shape.to_vec(), data).unwrap()
}

/// Both modalities, and labels that depend on the pixel; maps of another size in evaluation.
fn batch(n: usize, labels: [usize; 2]) -> Batch {
    let label = |i: usize| if i % 11 == 3 { LabelMaps::VOID } else { (i / 5 % CLASSES) as u8 };
    let [h, w] = labels;
    Batch {
        ids: (0..n).map(|i| i.to_string()).collect(),
        indices: (0..n).collect(),
        labels: Vec::new(),
        inputs: BTreeMap::from([(Rgb, noise(&[n, 48, 70, 3], 1)), (Depth, noise(&[n, 48, 70, 1], 2))]),
        maps: Some(LabelMaps { shape: [n, h, w], data: (0..n * h * w).map(label).collect() }),
    }
}

fn arrays(batch: &Batch) -> BTreeMap<Modality, Array> {
    batch.inputs.iter().map(|(m, x)| (*m, Array::from_slice(&x.shape, &x.data).unwrap())).collect()
}

fn fed(batch: &Batch) -> Feed {
    Feed::new(batch.clone(), &Device::Cpu).unwrap()
}

fn step(task: &mut DenseTask<'_>, batch: &Batch) -> StepOutput {
    task.step(&fed(batch), &StepContext { step: 0, total: 1, epoch: 0, seed: 1 }).unwrap()
}

fn plain(config: &SegmenterConfig) -> DenseTask<'static> {
    DenseTask::new(Segmenter::new(config, 1).unwrap(), DenseLossConfig::default(), None, BTreeMap::new()).unwrap()
}

#[test]
fn gradients_reach_every_parameter_and_a_few_steps_lower_the_loss() {
    let batch = batch(2, [48, 70]);
    for config in cases() {
        let mut task = plain(&config);
        let first = step(&mut task, &batch);
        let silent = |(name, grad): &(&String, &Array)| {
            // In front of a batch-norm a bias has no gradient; the one hidden unit of a narrow gate may be off.
            let before_norm = name.contains("conv1x3") && name.ends_with("bias");
            let gate = name.contains(".fc.0.") || name.ends_with(".fc.2.weight");
            !before_norm && !gate && grad.as_slice().iter().all(|x| *x == 0.0)
        };
        let without: Vec<_> = first.grads.iter().filter(silent).map(|(name, _)| name).collect();
        assert!(without.is_empty(), "{without:?}");
        let weights = task.params().iter().filter(|(_, p)| p.role == umt_nn::Role::Weight).count();
        assert_eq!(first.grads.len(), weights);
        let mut loss = first.loss;
        for _ in 0..6 {
            let output = step(&mut task, &batch);
            for (name, grad) in &output.grads {
                let values = task.params_mut().get_mut(name).unwrap().value.make_mut();
                values.iter_mut().zip(grad.as_slice()).for_each(|(v, g)| *v -= 0.02 * g);
            }
            loss = output.loss;
        }
        assert!(loss < 0.95 * first.loss, "from {} to {loss}", first.loss);
    }
}

#[test]
fn lambda_zero_is_the_joint_run_bit_by_bit() {
    let batch = batch(2, [48, 70]);
    for config in &cases()[2..] {
        let teachers: BTreeMap<Modality, Segmenter> =
            [Depth, Rgb].map(|m| (m, Segmenter::new(&self::config(&[m], Fused::Rgb), 7).unwrap())).into();
        let distilled = |weight| {
            let network = Segmenter::new(config, 1).unwrap();
            let distill = MapDistance { weight, stages: [1.0; 5] };
            let teachers = teachers.iter().map(|(m, t)| (*m, t)).collect();
            let mut task = DenseTask::new(network, DenseLossConfig::default(), Some(distill), teachers).unwrap();
            step(&mut task, &batch)
        };
        let (joint, zero, umt) = (step(&mut plain(config), &batch), distilled(0.0), distilled(2.0));
        assert_eq!(joint.loss.to_bits(), zero.loss.to_bits());
        assert_eq!(joint.grads, zero.grads);
        assert_ne!(joint.grads, umt.grads);
        let distance = umt.log["distance.rgb"] + umt.log["distance.depth"];
        assert!(distance > 0.0 && (umt.log["task"] + 2.0 * distance - umt.loss).abs() < 1e-4 * umt.loss);
        assert!((umt.log["distill-share"] - 2.0 * distance / umt.log["task"]).abs() < 1e-4 * umt.loss);
    }
}

#[test]
fn teachers_stay_and_a_picture_does_not_depend_on_its_batch() {
    let batch = batch(3, [48, 70]);
    let inputs = arrays(&batch);
    for config in cases() {
        let network = Segmenter::new(&config, 1).unwrap();
        let before = network.params().to_tensors();
        let (logits, maps) = (network.predict(&inputs).unwrap(), network.maps(&inputs).unwrap());
        assert_eq!(logits.shape(), [3, 48, 70, CLASSES]);
        let first = inputs.iter().map(|(m, x)| {
            let shape = [&[1], &x.shape()[1..]].concat();
            (*m, Array::from_slice(&shape, &x.as_slice()[..x.len() / 3]).unwrap())
        });
        let alone = network.predict(&first.collect()).unwrap();
        assert_eq!(alone.as_slice(), &logits.as_slice()[..alone.len()]);
        for (modality, maps) in maps {
            assert_eq!(maps.iter().map(|map| map.shape()[3]).collect::<Vec<_>>(), network.stages());
            let alone = network.maps_alone(modality, &inputs[&modality]).unwrap();
            let uni_modal = config.decoder.fused == Fused::Decoder || modality == Depth || config.encoders.len() == 1;
            assert_eq!(alone[0], maps[0]);
            assert_eq!(alone[4] == maps[4], uni_modal, "{modality}: depth reaches the RGB encoder only where it may");
        }
        assert_eq!(network.params().to_tensors(), before);
    }
}

#[test]
fn validation_counts_pixels_at_the_label_s_own_size() {
    let (small, own) = (batch(2, [37, 91]), batch(2, [48, 70]));
    let task = plain(&cases()[2]);
    for batch in [&small, &own] {
        let Evaluation::Pixels { counts, loss } = task.evaluate(&fed(batch)).unwrap() else {
            panic!("one class per pixel")
        };
        let scores = Validation::of_pixels(&counts, loss);
        let miou = scores.miou.unwrap();
        assert!((0.0..=1.0).contains(&miou) && miou <= scores.top1 && scores.loss > 0.0, "{scores:?}");
    }
    let mut wrong = own.clone();
    wrong.maps.as_mut().unwrap().data[5] = CLASSES as u8;
    let message = task.evaluate(&fed(&wrong)).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("label 4 in a map"), "{message}");
    let mut without = own;
    without.maps = None;
    let message = task.evaluate(&fed(&without)).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("no label maps"), "{message}");
}

#[test]
fn void_maps_and_wrong_labels() {
    let logits = [Array::full(&[1, 4, 4, 2], 1e4), Array::zeros(&[1, 1, 1, 2])];
    let maps = |value| LabelMaps { shape: [1, 4, 4], data: vec![value; 16] };
    let void = multi_scale(&logits, &maps(LabelMaps::VOID), None, 0.0).unwrap();
    assert_eq!(void.values, [0.0, 0.0]);
    assert!(void.grads.iter().all(|g| g.as_slice().iter().all(|x| *x == 0.0)));
    let even = multi_scale(&logits, &maps(1), Some(&[1.0, 3.0]), 0.0).unwrap();
    assert!(even.values.iter().all(|v| (v - std::f64::consts::LN_2).abs() < 1e-6), "{:?}", even.values);
    let refusal = |maps: LabelMaps, weights: Option<&[f32]>| {
        multi_scale(&logits, &maps, weights, 0.0).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refusal(maps(2), None).contains("label 2 in a map, but the network has 2 classes"));
    assert!(refusal(maps(0), Some(&[1.0])).contains("1 class weights for 2 classes"));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let refusal = |config: &SegmenterConfig| {
        let message = Segmenter::new(config, 1).map(|_| ()).unwrap_err().to_string();
        assert_eq!(config.check().unwrap_err().to_string(), message);
        message
    };
    let good = config(&[Depth, Rgb], Fused::Rgb);
    good.check().unwrap();
    let mut bad = good.clone();
    bad.encoders.insert(Rgb, EncoderConfig::Resnet18(ResNetConfig { width: 8, ..ResNetConfig::default() }));
    assert!(refusal(&bad).contains("as wide"), "{}", refusal(&bad));
    bad.encoders.insert(Modality::Audio, EncoderConfig::Resnet18(ResNetConfig::default()));
    assert!(refusal(&bad).contains("no encoder for audio"));
    assert!(refusal(&SegmenterConfig { encoders: BTreeMap::new(), ..good.clone() }).contains("needs an encoder"));
    assert!(refusal(&SegmenterConfig { classes: 256, ..good.clone() }).contains("256 classes"));
    let network = Segmenter::new(&good, 1).unwrap();
    let mut inputs = arrays(&batch(1, [48, 70]));
    inputs.insert(Depth, Array::zeros(&[1, 48, 64, 1]));
    assert!(network.predict(&inputs).unwrap_err().to_string().contains("one size"));
    inputs.remove(&Depth);
    assert!(network.predict(&inputs).unwrap_err().to_string().contains("no depth"));
    let teacher = Segmenter::new(&config(&[Rgb], Fused::Rgb), 1).unwrap();
    let distill = || Some(MapDistance { weight: 1.0, stages: [1.0; 5] });
    let task = |distill, teachers| {
        let network = Segmenter::new(&good, 1).unwrap();
        DenseTask::new(network, DenseLossConfig::default(), distill, teachers).map(|_| ()).unwrap_err().to_string()
    };
    assert!(task(distill(), BTreeMap::new()).contains("needs teachers"));
    assert!(task(distill(), BTreeMap::from([(Depth, &teacher)])).contains("no encoder for it"));
    assert!(task(None, BTreeMap::from([(Rgb, &teacher)])).contains("takes no teachers"));
}
