//! What every objective must do, for each entry of the list.

mod support;

use candle_core::{Device, Tensor, Var};
use std::collections::{BTreeMap, BTreeSet};
use support::{AUDIO_ONLY, BOTH, CLASSES, Student, THREE, fed, network, train};
use umt_distill::{Feature, NetworkTask, ObjectiveConfig, PREFIX, Targets, loss};
use umt_fusion::{Encoded, FusionConfig, Outputs, Weights};
use umt_media::Modality::Video;
use umt_nn::NnError;
use umt_train::{StepContext, Task};

const CONTEXT: StepContext = StepContext { step: 0, total: 8, epoch: 0, seed: 1 };

/// A step on a batch, with two modalities and with three: a finite loss, a finite gradient for what is learnt, and over
/// a few steps one that is not zero for every encoder and for everything the objective added.
#[test]
fn every_objective_trains_every_encoder() {
    let both = |(name, config): (&'static str, ObjectiveConfig)| [&BOTH[..], &THREE].map(|m| (name, config.clone(), m));
    for (name, config, modalities) in ObjectiveConfig::examples().into_iter().flat_map(both) {
        let student = Student::new(&config, modalities);
        let mut task = student.task(1);
        let mut reached = BTreeSet::new();
        for step in 0..4 {
            let context = StepContext { step, ..CONTEXT };
            let output = task.step(&fed(0, 6), &context).unwrap();
            assert!(output.loss.is_finite(), "{name}");
            assert!(output.log.values().all(|x| x.is_finite()), "{name}: {:?}", output.log);
            for (parameter, grad) in &output.grads {
                let values = grad.as_slice();
                assert!(values.iter().all(|x| x.is_finite()), "{name}: {parameter}");
                if values.iter().any(|x| *x != 0.0) {
                    reached.insert(parameter.clone());
                }
            }
        }
        for (parameter, _) in task.params().iter().filter(|(_, p)| p.role == umt_nn::Role::Weight) {
            assert!(reached.contains(parameter), "{name}: no step moves {parameter}");
        }
    }
}

/// R1: stopped after any step and resumed, a run ends in the same bytes, what the objective remembers included; R10:
/// the same seed gives the same bytes, another seed others.
#[test]
fn stopped_after_any_step_an_objective_goes_on_to_the_same_bytes() {
    for (name, config) in ObjectiveConfig::examples() {
        let student = Student::new(&config, &BOTH);
        let whole = train(&student, 3, None);
        assert_eq!(train(&student, 3, None), whole, "{name}");
        assert_ne!(train(&student, 4, None), whole, "{name}");
        for stop in 1..6 {
            assert_eq!(train(&student, 3, Some(stop)), whole, "{name}: stopped after step {stop}");
        }
    }
}

/// What an objective learns and remembers has its own names, and is no part of the finished model.
#[test]
fn a_finished_model_is_the_network_alone() {
    for (name, config) in ObjectiveConfig::examples() {
        let student = Student::new(&config, &BOTH);
        let plain = student.network(1);
        let names = |params: &umt_nn::Params| params.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
        let own = names(plain.params());
        let task = student.task(1);
        for added in names(task.params()).difference(&own) {
            assert!(added.starts_with(PREFIX), "{name}: {added}");
        }
        let network = task.into_network();
        assert_eq!(names(network.params()), own, "{name}");
        assert!(network.params().to_tensors() == plain.params().to_tensors(), "{name} draws other first weights");
    }
}

/// R15: features and logits of about 1e4 give a finite loss and finite gradients.
#[test]
fn large_values_stay_finite() {
    for (name, config) in ObjectiveConfig::examples() {
        let objective = config.build();
        let student = Student::new(&config, &BOTH);
        let task = student.task(1);
        let mut rng = umt_random::stream(3, "objectives", 0, 0);
        let mut tensor = |columns: usize| {
            let values: Vec<f32> = (0..5 * columns).map(|_| 1e4 * rng.normal()).collect();
            Tensor::from_vec(values, (5, columns), &Device::Cpu).unwrap()
        };
        let running = objective.encoders(&BOTH, &CONTEXT);
        let variables: BTreeMap<_, Var> =
            running.iter().map(|m| (*m, Var::from_tensor(&tensor(support::WIDTH)).unwrap())).collect();
        let targets = Targets {
            teachers: BOTH.map(|m| (m, tensor(support::WIDTH))).into(),
            logits: vec![tensor(CLASSES)],
            ..Targets::of(Tensor::from_slice(&[0u32, 1, 2, 1, 0], 5, &Device::Cpu).unwrap())
        };
        let weights = Weights::of(task.params()).unwrap();
        let fusion = objective.fusion(&FusionConfig::Concat).unwrap().build();
        let encoded = Encoded::of(variables.iter().map(|(m, v)| (*m, v.as_tensor().clone())).collect());
        let outputs = Outputs::new(fusion.as_ref(), &weights, task.params(), encoded).unwrap();
        let loss = loss(objective.as_ref(), outputs, &targets, CONTEXT).unwrap();
        assert!(loss.value.to_scalar::<f32>().unwrap().is_finite(), "{name}");
        let store = loss.value.backward().unwrap();
        for grad in variables.values().filter_map(|variable| store.get(variable)) {
            let values = grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(values.iter().all(|x| x.is_finite()), "{name}");
        }
    }
}

/// R15: one sample; and one modality, which an objective refuses by name or trains.
#[test]
fn one_sample_and_one_modality() {
    for (name, config) in ObjectiveConfig::examples() {
        let output = Student::new(&config, &BOTH).task(1).step(&fed(0, 1), &CONTEXT).unwrap();
        assert!(output.loss.is_finite(), "{name}");

        let student = Student::new(&config, &AUDIO_ONLY);
        match student.try_task(1) {
            Ok(mut task) => assert!(task.step(&fed(0, 4), &CONTEXT).unwrap().loss.is_finite(), "{name}"),
            Err(NnError::Unsupported(reason)) => assert!(reason.contains("two or more"), "{name}: {reason}"),
            Err(other) => panic!("{name}: {other}"),
        }
    }
}

/// Names and settings survive a recipe's form, and a misspelt setting does not.
#[test]
fn configurations_are_read_as_they_are_written() {
    for (name, config) in ObjectiveConfig::examples() {
        let mut value = serde_json::to_value(&config).unwrap();
        assert_eq!(value["kind"], name);
        assert_eq!(serde_json::from_value::<ObjectiveConfig>(value.clone()).unwrap(), config, "{name}");
        value["surely-unknown"] = 1.into();
        let misspelt = serde_json::from_value::<ObjectiveConfig>(value);
        assert!(misspelt.is_err() || name == "task", "{name}");
        config.build().check().unwrap();
    }
    // What was written before there were more settings is the same text still: stages keep their keys.
    let text = serde_json::to_string(&ObjectiveConfig::Feature(Feature::new(10.0))).unwrap();
    assert_eq!(text, r#"{"kind":"feature","weight":10.0}"#);
}

/// R19: with lambda 0 the gradient is the task's own, bit for bit, while the distance is still logged.
#[test]
fn lambda_zero_is_the_task_alone() {
    let step = |config: ObjectiveConfig| {
        let student = Student::new(&config, &BOTH);
        student.task(1).step(&fed(0, 6), &CONTEXT).unwrap()
    };
    let (task, zero) = (step(ObjectiveConfig::Task), step(ObjectiveConfig::Feature(Feature::new(0.0))));
    assert_eq!(task.grads, zero.grads);
    assert!(zero.log["distance.audio"] > 0.0);
    let one = step(ObjectiveConfig::Feature(Feature::new(1.0)));
    let distance = one.log["distance.audio"] + one.log["distance.video"];
    assert!((one.log["task"] + distance - one.loss).abs() < 1e-4 * one.loss);
    assert!((one.log["distill-share"] - distance / one.log["task"]).abs() < 1e-3);
}

/// UMT on the maps of encoder stages: one distance for each modality and stage, and the loss is their sum.
#[test]
fn teachers_are_compared_at_any_stage() {
    let config = ObjectiveConfig::Feature(Feature { stages: [1, 4].into(), ..Feature::new(2.0) });
    let output = Student::new(&config, &BOTH).task(1).step(&fed(0, 6), &CONTEXT).unwrap();
    let names = ["audio.1", "audio.4", "video.1", "video.4"];
    let sum: f32 = names.iter().map(|name| output.log[&format!("distance.{name}")]).sum();
    assert!(names.iter().all(|name| output.log[&format!("distance.{name}")] > 0.0));
    assert!((output.log["task"] + 2.0 * sum - output.loss).abs() < 1e-4 * output.loss);
    let beyond = ObjectiveConfig::Feature(Feature { stages: [9].into(), ..Feature::new(2.0) });
    let message = Student::new(&beyond, &BOTH).task(1).step(&fed(0, 6), &CONTEXT).unwrap_err().to_string();
    assert!(message.contains("stage audio.9"), "{message}");
}

/// A token stands for what is left out, learns, and stays in the model.
#[test]
fn dropout_with_tokens_learns_them() {
    let dropout = umt_distill::Dropout { p: 0.5, fill: umt_distill::Fill::Token };
    let student = Student::new(&ObjectiveConfig::Dropout(dropout), &BOTH);
    let mut task = student.task(1);
    let grads = task.step(&fed(0, 12), &CONTEXT).unwrap().grads;
    for modality in BOTH {
        assert!(grads[&umt_fusion::token(modality)].as_slice().iter().any(|x| *x != 0.0), "{modality}");
    }
    assert!(task.into_network().tokens().is_some_and(|tokens| tokens.len() == 2));
}

#[test]
fn meaningless_combinations_and_settings_are_refused_by_name() {
    let refusal = |text: &str| {
        let config: ObjectiveConfig = serde_json::from_str(text).unwrap();
        config.build().check().unwrap_err().to_string()
    };
    let combined = |of: &str| refusal(&format!(r#"{{"kind":"combined","of":[{of}]}}"#));
    let kinds = |kinds: &[&str]| {
        let of: Vec<String> = kinds.iter().map(|kind| format!(r#"{{"kind":"{kind}"}}"#)).collect();
        combined(&of.join(","))
    };
    for pair in [["ogm", "ogm-ge"], ["agm", "pmr"], ["aux-heads", "mmpareto"], ["dropout", "agm"], ["mla", "dropout"]] {
        let message = kinds(&pair);
        assert!(pair.iter().all(|kind| message.contains(&format!("`{kind}`"))), "{message}");
    }
    assert!(kinds(&["ogm"]).contains("two objectives"));
    assert!(kinds(&["ogm", "task"]).contains("`task` has no meaning"));
    assert!(kinds(&["dropout", "dropout"]).contains("twice"));
    assert!(combined(r#"{"kind":"ogm","alpha":-1},{"kind":"dropout"}"#).contains("`ogm`: alpha"));
    assert!(refusal(r#"{"kind":"dropout","p":1.0}"#).contains("p: 1 is not at least 0 and below 1"));
    assert!(refusal(r#"{"kind":"feature","weight":2.0,"scale":"share"}"#).contains("between 0 and 1"));
    let unweighted = ObjectiveConfig::GBlend(umt_distill::GBlend::default());
    assert!(
        unweighted
            .fits(&FusionConfig::Concat.into(), network(&BOTH, FusionConfig::Concat, 1).shapes().widths(), false)
            .is_ok()
    );
    let film = FusionConfig::Film;
    for config in [ObjectiveConfig::MmCosine(Default::default()), ObjectiveConfig::Mla(Default::default())] {
        let message = config.build().fusion(&film).unwrap_err().to_string();
        assert!(message.contains(config.kind()) && message.contains("concat"), "{message}");
    }
}

#[test]
fn teachers_that_do_not_fit_are_refused_by_name() {
    let umt = || ObjectiveConfig::Feature(Feature::new(1.0)).build();
    let student = || network(&AUDIO_ONLY, FusionConfig::Concat, 1);
    let refusal = |task: Result<NetworkTask<'_>, NnError>| task.map(|_| ()).unwrap_err().to_string();
    assert!(refusal(NetworkTask::new(student(), umt(), Vec::new(), 1)).contains("needs teachers"));
    let video = network(&[Video], FusionConfig::Concat, 1);
    let plain = ObjectiveConfig::Task.build();
    assert!(refusal(NetworkTask::new(student(), plain, vec![&video], 1)).contains("takes no teachers"));
    let twice = NetworkTask::new(student(), umt(), vec![&video, &video], 1);
    assert!(refusal(twice).contains("two teachers for the features of video"));
    let mut strange = NetworkTask::new(student(), umt(), vec![&video], 1).unwrap();
    let message = strange.step(&fed(0, 4), &CONTEXT).unwrap_err().to_string();
    assert!(message.contains("teacher for video"), "{message}");
}

/// Online G-Blend weighs by what it measures: train losses as they came by, validation losses of each head.
#[test]
fn g_blend_measures_what_an_evaluation_measures() {
    let online = ObjectiveConfig::GBlend(umt_distill::GBlend { weights: None, every: Some(1) });
    let student = Student::new(&online, &BOTH);
    support::check_g_blend(&student);
}

#[test]
fn every_file_is_in_the_list() {
    let entries = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    let mut files: BTreeSet<String> =
        entries.map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().replace('_', "-")).collect();
    for frame in ["lib", "config", "heads", "labels", "network-task", "objective", "pixels", "scales", "scores"] {
        assert!(files.remove(frame), "{frame}");
    }
    let listed: BTreeSet<String> = ObjectiveConfig::examples().into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(files, listed);
}
