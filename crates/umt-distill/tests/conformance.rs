//! What every objective must do, for each entry of the list.

use candle_core::{Device, Tensor, Var};
use std::collections::{BTreeMap, BTreeSet};
use umt_distill::{NetworkTask, ObjectiveConfig, Targets};
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{FusionConfig, Network, NetworkConfig, Outputs};
use umt_media::Modality::{self, Audio, Video};

const CLASSES: usize = 3;
const WIDTH: usize = 4;

/// Features as variables, logits that depend on them, and teachers that differ from them.
fn pass(scale: f32) -> (BTreeMap<Modality, Var>, Outputs, Targets) {
    let mut rng = umt_random::stream(3, "objectives", 0, 0);
    let mut tensor = |rows: usize, columns: usize| {
        let values: Vec<f32> = (0..rows * columns).map(|_| scale * rng.normal()).collect();
        Tensor::from_slice(&values, (rows, columns), &Device::Cpu).unwrap()
    };
    let variables: BTreeMap<Modality, Var> =
        [Audio, Video].map(|m| (m, Var::from_tensor(&tensor(5, WIDTH)).unwrap())).into();
    let features: BTreeMap<Modality, Tensor> = variables.iter().map(|(m, v)| (*m, v.as_tensor().clone())).collect();
    let both = Tensor::cat(&features.values().collect::<Vec<_>>(), 1).unwrap();
    let logits = both.matmul(&tensor(2 * WIDTH, CLASSES)).unwrap();
    let labels = Tensor::from_slice(&[0u32, 1, 2, 1, 0], 5, &Device::Cpu).unwrap();
    let teachers = [Audio, Video].map(|m| (m, tensor(5, WIDTH))).into();
    (variables, Outputs { features, logits }, Targets { labels, teachers })
}

#[test]
fn gradients_reach_every_modality_and_the_log_adds_up() {
    for (name, config) in ObjectiveConfig::examples() {
        let (variables, outputs, targets) = pass(1.0);
        let loss = config.build().loss(&outputs, &targets).unwrap();
        let value = loss.value.to_scalar::<f32>().unwrap();
        let store = loss.value.backward().unwrap();
        for (modality, variable) in &variables {
            let grad = store.get(variable).unwrap_or_else(|| panic!("{name}: no gradient for {modality}"));
            assert!(grad.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.0, "{name}: {modality}");
        }
        if let ObjectiveConfig::Feature { weight } = config {
            let distance = loss.log["distance.audio"] + loss.log["distance.video"];
            assert!((loss.log["task"] + weight as f32 * distance - value).abs() < 1e-4 * value);
            assert!((loss.log["distill-share"] - weight as f32 * distance / loss.log["task"]).abs() < 1e-3);
        }
    }
}

/// R19: with lambda 0 the gradient is the task's own, bit for bit, while the distance is still logged.
#[test]
fn lambda_zero_is_the_task_alone() {
    let gradients = |config: ObjectiveConfig| {
        let (variables, outputs, targets) = pass(1.0);
        let loss = config.build().loss(&outputs, &targets).unwrap();
        let store = loss.value.backward().unwrap();
        let bits = |v: &Var| -> Vec<u32> {
            let grad = store.get(v).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            grad.into_iter().map(f32::to_bits).collect()
        };
        (variables.values().map(bits).collect::<Vec<_>>(), loss.log)
    };
    let (task, _) = gradients(ObjectiveConfig::Task);
    let (zero, log) = gradients(ObjectiveConfig::Feature { weight: 0.0 });
    assert_eq!(task, zero);
    assert!(log["distance.audio"] > 0.0);
}

/// R15: features and logits of about 1e4 give a finite loss.
#[test]
fn large_values_stay_finite() {
    for (name, config) in ObjectiveConfig::examples() {
        let (_, outputs, targets) = pass(1e4);
        let loss = config.build().loss(&outputs, &targets).unwrap().value.to_scalar::<f32>().unwrap();
        assert!(loss.is_finite(), "{name}: {loss}");
    }
}

#[test]
fn teachers_that_do_not_fit_are_refused_by_name() {
    let encoder = |channels| {
        EncoderConfig::Resnet18(ResNetConfig { channels, width: 4, stem: Stem::Small, ..ResNetConfig::default() })
    };
    let network = |modalities: &[Modality]| {
        let encoders = modalities.iter().map(|m| (*m, encoder(1))).collect();
        Network::new(&NetworkConfig { encoders, fusion: FusionConfig::Concat, classes: CLASSES }, 1).unwrap()
    };
    let umt = || ObjectiveConfig::Feature { weight: 1.0 }.build();
    let refusal = |task: Result<NetworkTask<'_>, umt_nn::NnError>| task.map(|_| ()).unwrap_err().to_string();
    assert!(refusal(NetworkTask::new(network(&[Audio]), umt(), BTreeMap::new())).contains("needs teachers"));
    let teacher = network(&[Video]);
    let teachers = BTreeMap::from([(Video, &teacher)]);
    let plain = ObjectiveConfig::Task.build();
    assert!(refusal(NetworkTask::new(network(&[Audio]), plain, teachers)).contains("takes no teachers"));

    let (_, mut outputs, targets) = pass(1.0);
    outputs.features.remove(&Video);
    let message = umt().loss(&outputs, &targets).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("teacher for video"), "{message}");
}

#[test]
fn every_file_is_in_the_list() {
    let entries = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    let mut files: BTreeSet<String> =
        entries.map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    for frame in ["dense", "lib", "network_task"] {
        assert!(files.remove(frame));
    }
    let listed: BTreeSet<String> = ObjectiveConfig::examples().into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(files, listed);
}
