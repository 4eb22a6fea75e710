//! What a segmentation task must do, for RGB, depth and both, with the sum of both going either way.

use std::collections::BTreeMap;
use umt_data::{Batch, LabelMaps};
use umt_distill::{Feature, Labels, NetworkTask, ObjectiveConfig, PixelLoss, multi_scale};
use umt_encoders::{Block, EncoderConfig, ResNetConfig};
use umt_fusion::{DecoderConfig, Fused, FusionConfig, Network, NetworkConfig, Outputs};
use umt_media::Modality::{self, Depth, Rgb};
use umt_nn::{Array, Device};
use umt_train::{Evaluation, Feed, StepContext, StepOutput, Task, Validation};

const CLASSES: usize = 4;

/// Every stage of an encoder.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

fn config(modalities: &[Modality], fused: Fused) -> NetworkConfig {
    let channels = |m: Modality| if m == Rgb { 3 } else { 1 };
    let encoder = |&m: &Modality| {
        let block = Block::NonBottleneck1d;
        let resnet = ResNetConfig { channels: channels(m), width: 4, block, ..ResNetConfig::default() };
        (m, EncoderConfig::Resnet18(resnet))
    };
    let encoders = modalities.iter().map(encoder).collect();
    let head = DecoderConfig { fused, blocks: 1, ..DecoderConfig::scaled(&encoders) }.into();
    NetworkConfig { encoders, head, classes: CLASSES }
}

fn cases() -> [NetworkConfig; 4] {
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

fn step(task: &mut NetworkTask<'_>, batch: &Batch) -> StepOutput {
    task.step(&fed(batch), &StepContext { step: 0, total: 1, epoch: 0, seed: 1 }).unwrap()
}

fn task<'a>(config: &NetworkConfig, objective: &ObjectiveConfig, teachers: &'a [Network]) -> NetworkTask<'a> {
    let network = Network::new(config, 1).unwrap();
    NetworkTask::new(network, objective.build(), teachers.iter().collect(), 1).unwrap()
}

fn plain(config: &NetworkConfig) -> NetworkTask<'static> {
    task(config, &ObjectiveConfig::Task, &[])
}

fn teachers() -> Vec<Network> {
    [Depth, Rgb].map(|m| Network::new(&config(&[m], Fused::Rgb), 7).unwrap()).into()
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
        let teachers = teachers();
        let distilled = |weight| {
            let objective = ObjectiveConfig::Feature(Feature { stages: ALL.into(), ..Feature::new(weight) });
            step(&mut task(config, &objective, &teachers), &batch)
        };
        let (joint, zero, umt) = (step(&mut plain(config), &batch), distilled(0.0), distilled(2.0));
        assert_eq!(joint.loss.to_bits(), zero.loss.to_bits());
        assert_eq!(joint.grads, zero.grads);
        assert_ne!(joint.grads, umt.grads);
        let names = ["rgb", "depth"].map(|m| ALL.map(|stage| format!("distance.{m}.{stage}")));
        let distance: f32 = names.iter().flatten().map(|name| umt.log[name]).sum();
        assert!(distance > 0.0 && (umt.log["task"] + 2.0 * distance - umt.loss).abs() < 1e-4 * umt.loss);
        assert!((umt.log["distill-share"] - 2.0 * distance / umt.log["task"]).abs() < 1e-4 * umt.loss);
    }
}

#[test]
fn teachers_stay_and_an_image_does_not_depend_on_its_batch() {
    let batch = batch(3, [48, 70]);
    let inputs = arrays(&batch);
    for config in cases() {
        let network = Network::new(&config, 1).unwrap();
        let before = network.params().to_tensors();
        let (logits, maps) = (network.logits(&inputs).unwrap(), network.maps(&inputs, &ALL.into()).unwrap());
        assert_eq!(logits.shape(), [3, 48, 70, CLASSES]);
        let first = inputs.iter().map(|(m, x)| {
            let shape = [&[1], &x.shape()[1..]].concat();
            (*m, Array::from_slice(&shape, &x.as_slice()[..x.len() / 3]).unwrap())
        });
        let alone = network.logits(&first.collect()).unwrap();
        assert_eq!(alone.as_slice(), &logits.as_slice()[..alone.len()]);
        for (modality, maps) in maps {
            assert_eq!(maps.values().map(|map| map.shape()[3]).collect::<Vec<_>>(), network.shapes().stages[&modality]);
            let alone = network.maps_alone(modality, &inputs[&modality], &ALL.into()).unwrap();
            assert_eq!(alone[&0], maps[&0]);
            let uni_modal = network.is_unimodal(modality);
            assert_eq!(alone[&4] == maps[&4], uni_modal, "{modality}: depth reaches the RGB encoder only where it may");
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
    let refusal = |config: &NetworkConfig| {
        let message = Network::new(config, 1).map(|_| ()).unwrap_err().to_string();
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
    assert!(refusal(&NetworkConfig { classes: 256, ..good.clone() }).contains("256 classes"));
    let network = Network::new(&good, 1).unwrap();
    let mut inputs = arrays(&batch(1, [48, 70]));
    inputs.insert(Depth, Array::zeros(&[1, 48, 64, 1]));
    assert!(network.logits(&inputs).unwrap_err().to_string().contains("one size"));
    inputs.remove(&Depth);
    assert!(network.logits(&inputs).unwrap_err().to_string().contains("no depth"));
    let refused = |objective: ObjectiveConfig, teachers: Vec<&Network>| {
        let network = Network::new(&good, 1).unwrap();
        NetworkTask::new(network, objective.build(), teachers, 1).map(|_| ()).unwrap_err().to_string()
    };
    let umt = || ObjectiveConfig::Feature(Feature::new(1.0));
    let (teacher, samples) = (Network::new(&config(&[Rgb], Fused::Rgb), 1).unwrap(), samples());
    assert!(refused(umt(), Vec::new()).contains("needs teachers"));
    assert!(refused(umt(), vec![&samples]).contains("samples or pixels"));
    assert!(refused(ObjectiveConfig::Task, vec![&teacher]).contains("takes no teachers"));
}

fn samples() -> Network {
    let encoders = config(&[Rgb], Fused::Rgb).encoders;
    Network::new(&NetworkConfig { encoders, head: FusionConfig::Concat.into(), classes: CLASSES }, 1).unwrap()
}

/// Every objective trains a network whose pixels have classes, or says by name why it has no meaning there.
#[test]
fn every_objective_on_maps_or_refused_by_name() {
    let batch = batch(2, [48, 70]);
    let (mut trained, mut refused) = (Vec::new(), Vec::new());
    for (name, objective) in ObjectiveConfig::examples() {
        for config in &cases()[2..] {
            let taught = if objective.build().needs().any() { teachers() } else { Vec::new() };
            let widths = Network::new(config, 1).unwrap().shapes().widths();
            if let Err(error) = objective.fits(&config.head, widths, false) {
                let message = error.to_string();
                assert!(message.contains(&format!("`{name}`")) && message.contains("no meaning"), "{message}");
                refused.push(name);
                continue;
            }
            let mut task = task(config, &objective, &taught);
            let first = step(&mut task, &batch);
            assert!(first.loss.is_finite() && first.grads.values().all(|g| g.as_slice().iter().all(|x| x.is_finite())));
            for modality in ["rgb", "depth"] {
                let prefix = format!("encoder_{modality}.");
                let own = first.grads.iter().filter(|(name, _)| name.starts_with(&prefix));
                assert!(own.flat_map(|(_, g)| g.as_slice()).any(|x| *x != 0.0), "{name}: {modality} is not trained");
            }
            let mut last = first.loss;
            for _ in 0..8 {
                let output = step(&mut task, &batch);
                for (name, grad) in &output.grads {
                    let values = task.params_mut().get_mut(name).unwrap().value.make_mut();
                    values.iter_mut().zip(grad.as_slice()).for_each(|(v, g)| *v -= 0.01 * g);
                }
                last = output.loss;
            }
            assert!(last < first.loss, "{name}: from {} to {last}", first.loss);
            trained.push(name);
        }
    }
    trained.dedup();
    refused.dedup();
    assert_eq!(refused, ["pmr", "g-blend", "mmcosine", "mla", "tcmax"]);
    let all = ["task", "feature", "logit-kd", "aux-heads", "ogm", "ogm-ge", "agm", "mmpareto", "dropout"];
    assert_eq!(trained, [&all[..], &["smp", "dgl", "opm", "g2d", "cml", "combined"]].concat());
}

/// AGM scales gradients alone: at factor 1 (no advantage) its loss is the task's, and its shares add up to the logits.
#[test]
fn parts_of_modalities_add_up_and_leaving_out_is_what_evaluation_leaves_out() {
    let batch = batch(2, [48, 70]);
    for config in &cases()[2..] {
        let agm = step(&mut task(config, &ObjectiveConfig::Agm(Default::default()), &[]), &batch);
        let joint = step(&mut plain(config), &batch);
        assert!((agm.loss - joint.loss).abs() < 1e-4 * joint.loss, "{} for {}", agm.loss, joint.loss);
        // One modality alone on the tape is the network given that modality: with batch statistics on both sides.
        let mut network = Network::new(config, 1).unwrap();
        let inputs = arrays(&batch);
        let mut means = BTreeMap::new();
        let mut look = |outputs: Outputs<'_>| {
            for modality in [Rgb, Depth] {
                let alone = outputs.tensor(&outputs.alone(modality)?)?;
                let none = BTreeMap::from([(if modality == Rgb { Depth } else { Rgb }, vec![0.0; 2])]);
                let given = outputs.tensor(&outputs.given(&none)?)?;
                let difference = (&alone - given)?.abs()?.sum_all()?.to_scalar::<f32>()?;
                assert_eq!(difference, 0.0);
                means.insert(modality, alone.flatten_all()?.to_vec1::<f32>()?);
            }
            let whole = outputs.given(&BTreeMap::from([(Rgb, vec![1.0; 2]), (Depth, vec![1.0; 2])]))?;
            let whole = outputs.tensor(&whole)?.flatten_all()?.to_vec1::<f32>()?;
            let own = outputs.tensor(&outputs.logits)?.flatten_all()?.to_vec1::<f32>()?;
            assert_eq!(whole, own);
            // The first sample whole and the second without depth: the first differs from the whole by batch statistics alone.
            let mixed = outputs.given(&BTreeMap::from([(Depth, vec![1.0, 0.0])]))?;
            let mixed = outputs.tensor(&mixed)?.flatten_all()?.to_vec1::<f32>()?;
            let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>();
            let half = own.len() / 2;
            assert!(distance(&mixed[..half], &own[..half]) < distance(&mixed[half..], &own[half..]));
            let task = outputs.term(0.0, Vec::new())?;
            Ok(umt_fusion::Loss::from(task))
        };
        network.train_step(&inputs, &mut look).unwrap();
        assert_ne!(means[&Rgb], means[&Depth]);
        // In evaluation.
        let network = Network::new(config, 1).unwrap();
        let only = BTreeMap::from([(Depth, inputs[&Depth].clone())]);
        let depth = network.logits_given(&only, &Default::default()).unwrap();
        assert_eq!(depth.shape(), [2, 48, 70, CLASSES]);
        assert_ne!(depth, network.logits(&inputs).unwrap());
    }
}

/// Cross-entropy in candle's graph is that of the fused kernel: value, class weights, smoothing, void and gradient.
#[test]
fn cross_entropy_of_tensors_is_that_of_maps() {
    let shape = [2, 6, 7, CLASSES];
    let logits = Array::from_slice(&shape, &noise(&shape, 9).data).unwrap();
    let label = |i: usize| if i % 5 == 1 { LabelMaps::VOID } else { (i % CLASSES) as u8 };
    let maps = LabelMaps { shape: [2, 12, 14], data: (0..2 * 12 * 14).map(label).collect() };
    for (class_weights, label_smoothing) in [(None, 0.0), (Some(vec![0.5, 1.0, 2.0, 0.25]), 0.1)] {
        let fused =
            multi_scale(std::slice::from_ref(&logits), &maps, class_weights.as_deref(), label_smoothing).unwrap();
        let labels = Labels::Pixels { maps: maps.clone(), loss: PixelLoss { class_weights, label_smoothing } };
        let variable = logits.to_var().unwrap();
        let value = labels.cross_entropy(variable.as_tensor()).unwrap();
        assert!((f64::from(value.to_scalar::<f32>().unwrap()) - fused.values[0]).abs() < 1e-5 * fused.values[0]);
        let grad = Array::from_tensor(value.backward().unwrap().get(&variable).unwrap()).unwrap();
        let off = grad.as_slice().iter().zip(fused.grads[0].as_slice()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-7, "{off}");
    }
}
