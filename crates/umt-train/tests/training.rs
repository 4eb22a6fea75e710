//! The loop's promises: exact resume, order, stops, guard, checkpoints, what is kept.

mod support;

use support::{Bench, CLASSES, Clouds, Fault, Softmax};
use umt_train::{BatchSource, TrainConfig, TrainError, Validation, evaluate};

const SGD: &str = r#"{ "epochs": 4, "batch": 5, "lr": 0.3, "clip": 0.5, "checkpoint-seconds": 0 }"#;
const ADAMW: &str = r#"{ "steps": 17, "batch": 5, "lr": 0.05, "eval-every": 2, "checkpoint-every": 3, "checkpoint-seconds": 0,
    "optimizer": { "kind": "adamw" }, "schedule": { "kind": "cosine", "warmup": 0.2 } }"#;
const REFIT: &str = r#"{ "epochs": 3, "batch": 5, "lr": 0.3, "refit": true,
    "schedule": { "kind": "step", "at": [0.5] } }"#;

#[test]
fn stopped_at_every_step_and_resumed_it_ends_in_the_same_bytes() {
    for settings in [SGD, ADAMW, REFIT] {
        let whole = Bench::new(settings);
        let mut task = Softmax::new();
        let (outcome, log) = whole.run(&mut task, None);
        let (outcome, expected) = (outcome.unwrap(), whole.state(&task));
        assert_eq!(outcome.steps_now, outcome.steps);
        for k in 1..=outcome.steps {
            let bench = Bench::new(settings);
            let (stopped, before) = bench.run(&mut Softmax::new(), Some((k, 15)));
            let error = stopped.unwrap_err();
            assert!(matches!(error, TrainError::Interrupted { signal: 15, step } if step == k), "{error}");
            let mut resumed = Softmax::new();
            let (finished, after) = bench.run(&mut resumed, None);
            let finished = finished.unwrap();
            assert_eq!(finished.steps_now, outcome.steps - k, "no step twice, none left out");
            assert_eq!(finished.kept, outcome.kept);
            assert_eq!(bench.state(&resumed), expected, "stopped at {k}: {settings}");
            assert_eq!([before.steps, after.steps].concat(), log.steps);
            assert_eq!(bench.train.seen.lock().unwrap()[..], whole.train.seen.lock().unwrap()[..], "order of samples");
        }
    }
}

#[test]
fn stopped_within_any_validation_it_resumes_with_that_validation() {
    let whole = Bench::new(SGD);
    let mut task = Softmax::new();
    whole.run(&mut task, None).0.unwrap();
    let expected = whole.state(&task);
    let batches = whole.validation.as_ref().unwrap().batches_per_epoch();
    for after in 1..=4 * batches {
        let mut bench = Bench::new(SGD);
        bench.stop_in_validation = Some(after);
        let error = bench.run(&mut Softmax::new(), None).0.unwrap_err();
        let at = 5 * after.div_ceil(batches);
        assert!(matches!(error, TrainError::Interrupted { signal: 2, step } if step == at), "{error}");
        bench.stop_in_validation = None;
        let mut resumed = Softmax::new();
        bench.run(&mut resumed, None).0.unwrap();
        assert_eq!(bench.state(&resumed), expected, "after {after} batches of validation");
    }
}

#[test]
fn a_crash_at_every_step_resumes_from_the_last_checkpoint_to_the_same_bytes() {
    let whole = Bench::new(ADAMW);
    let mut task = Softmax::new();
    whole.run(&mut task, None).0.unwrap();
    let expected = whole.state(&task);
    for k in 0..17 {
        let bench = Bench::new(ADAMW);
        let error = bench.run(&mut Softmax::with(Fault::Crash(k)), None).0.unwrap_err();
        assert!(matches!(error, TrainError::Task(_)), "{error}");
        let mut resumed = Softmax::new();
        let outcome = bench.run(&mut resumed, None).0.unwrap();
        // Checkpoints lie at every third step and at the end of each epoch of five.
        let saved = (0..=k).rev().find(|s| s % 3 == 0 || s % 5 == 0).unwrap();
        assert_eq!(outcome.steps_now, 17 - saved, "crashed in step {k}");
        assert_eq!(bench.state(&resumed), expected, "crashed in step {k}");
    }
}

#[test]
fn a_finished_run_does_nothing_again() {
    let bench = Bench::new(SGD);
    let mut task = Softmax::new();
    let first = bench.run(&mut task, None).0.unwrap();
    let expected = bench.state(&task);
    let mut again = Softmax::new();
    let (second, log) = bench.run(&mut again, None);
    let second = second.unwrap();
    assert_eq!((second.steps_now, log.steps.len(), log.epochs.len()), (0, 0, 0));
    assert_eq!((second.kept, second.seconds), (first.kept, first.seconds));
    assert_eq!(bench.state(&again), expected);
}

#[test]
fn the_best_by_validation_is_kept_or_with_refit_the_last() {
    let bench = Bench::new(SGD);
    let mut task = Softmax::new();
    let (outcome, log) = bench.run(&mut task, None);
    let kept = outcome.unwrap().kept;
    let top = log.epochs.iter().map(|(_, top1, _)| top1.unwrap()).fold(0.0, f64::max);
    let scores = Validation::of_samples(&evaluate(&task, bench.validation.as_ref().unwrap()).unwrap()).unwrap();
    assert!(kept.best && scores.top1 == top && kept.validation == Some(scores), "{kept:?} {scores:?} {top}");
    assert!(scores.top1 > 0.6, "it learns: {scores:?}");
    let marked = log.epochs.iter().rfind(|(_, _, best)| *best).unwrap();
    assert_eq!(marked.0, kept.epoch);

    let mut bench = Bench::new(REFIT);
    let (with, _) = (bench.run(&mut Softmax::new(), None).0.unwrap(), ());
    assert_eq!((with.kept.best, with.kept.epoch, with.kept.step), (false, 3, 15));
    bench.validation = None;
    bench.folder = support::folder();
    let mut without = Softmax::new();
    let outcome = bench.run(&mut without, None).0.unwrap();
    assert_eq!(outcome.kept.validation, None);
    let stored = bench.state(&without);
    assert!(!stored.contains_key("best.safetensors"));
}

#[test]
fn better_is_higher_top1_then_lower_loss() {
    let scores = |top1, loss| Validation { top1, loss, miou: None };
    assert!(scores(0.6, 2.0).better_than(&scores(0.5, 1.0)));
    assert!(scores(0.5, 0.9).better_than(&scores(0.5, 1.0)));
    assert!(!scores(0.5, 1.0).better_than(&scores(0.5, 1.0)));
}

#[test]
fn signals_have_their_exit_codes_even_in_the_last_step() {
    for (signal, code) in [(2, 130), (15, 143)] {
        for step in [1, 20] {
            let (result, _) = Bench::new(SGD).run(&mut Softmax::new(), Some((step, signal)));
            assert_eq!(result.unwrap_err().exit_code(), code);
        }
    }
}

#[test]
fn a_value_that_is_not_finite_stops_the_run_before_the_update() {
    let cases = [
        (Fault::Loss(7), "loss is not finite (NaN)"),
        (Fault::Figure(7), "task-loss is not finite (NaN)"),
        (Fault::Gradient(7), "gradient of fc.weight is not finite (inf)"),
        (Fault::Weight(7), "weight fc.bias is not finite (NaN)"),
    ];
    for (fault, words) in cases {
        let bench = Bench::new(SGD);
        let mut task = Softmax::with(fault);
        let error = bench.run(&mut task, None).0.unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let text = error.to_string();
        assert!(text.contains(words) && text.contains("stage joint, step 7"), "{text}");
        let seen = bench.train.seen.lock().unwrap();
        assert!(text.contains(&format!("samples {}", seen[seen.len() - 5..].join(", "))), "{text}");
        // The last checkpoint is that of step 5, and nothing was updated after step 6.
        let clean = Bench::new(SGD);
        let mut upto = Softmax::new();
        clean.run(&mut upto, Some((7, 2))).0.unwrap_err();
        if !matches!(fault, Fault::Weight(_)) {
            for name in ["fc.weight", "fc.bias"] {
                assert_eq!(task.params.value(name).unwrap(), upto.params.value(name).unwrap(), "{name}");
            }
        }
        let saved = bench.state(&task);
        assert!(String::from_utf8_lossy(&saved["progress.json"]).contains(r#""step":5,"#));
    }
}

#[test]
fn a_bad_input_is_named_with_its_sample() {
    let mut bench = Bench::new(SGD);
    bench.train.poisoned = Some(13);
    let error = bench.run(&mut Softmax::new(), None).0.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("input audio is not finite (NaN)") && text.ends_with("; samples s13"), "{text}");
}

#[test]
fn weights_that_are_bad_from_the_start_are_named() {
    let mut task = Softmax::new();
    task.params.get_mut("fc.weight").unwrap().value.make_mut()[3] = f32::NEG_INFINITY;
    let error = Bench::new(SGD).run(&mut task, None).0.unwrap_err();
    assert_eq!(error.to_string(), "stage joint, step 0: weight fc.weight is not finite (-inf)");
}

#[test]
fn a_damaged_checkpoint_falls_back_and_says_so() {
    let whole = Bench::new(SGD);
    let mut task = Softmax::new();
    whole.run(&mut task, None).0.unwrap();
    let expected = whole.state(&task);

    let bench = Bench::new(SGD);
    bench.run(&mut Softmax::new(), Some((13, 2))).0.unwrap_err();
    let folders = || {
        let folder = bench.folder.path().join("stage/checkpoints");
        let mut paths: Vec<_> = folder.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let flip = |folder: &std::path::Path| {
        let path = folder.join("params.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    flip(folders().last().unwrap());
    let mut resumed = Softmax::new();
    let (outcome, log) = bench.run(&mut resumed, None);
    assert_eq!(outcome.unwrap().steps_now, 20 - 10, "from the end of the second epoch");
    assert_eq!(log.warnings.len(), 1);
    assert!(log.warnings[0].contains("params.safetensors"), "{:?}", log.warnings);
    assert_eq!(bench.state(&resumed), expected);

    folders().iter().for_each(|folder| flip(folder));
    let error = bench.run(&mut Softmax::new(), None).0.unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
}

#[test]
fn a_run_with_other_settings_is_refused_by_name() {
    let mut bench = Bench::new(SGD);
    bench.run(&mut Softmax::new(), Some((3, 2))).0.unwrap_err();
    bench.config.lr = 0.4;
    let error = bench.run(&mut Softmax::new(), None).0.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("another `config.lr`: 0.3 there, 0.4 now"), "{error}");
    bench.config.lr = 0.3;
    bench.seed = 12;
    let error = bench.run(&mut Softmax::new(), None).0.unwrap_err();
    assert!(error.to_string().contains("`seed`"), "{error}");
    // What does not decide the result may change.
    bench.seed = 11;
    (bench.config.workers, bench.config.prefetch, bench.config.checkpoint_every) = (4, 8, 2);
    bench.run(&mut Softmax::new(), None).0.unwrap();
}

#[test]
fn settings_that_cannot_be_followed_are_refused_by_name() {
    let cases = [
        ("{}", "neither epochs nor steps"),
        (r#"{ "epochs": 2, "steps": 3 }"#, "both epochs and steps"),
        (r#"{ "epochs": 0 }"#, "train.epochs: 0"),
        (r#"{ "steps": 0 }"#, "train.steps: 0"),
        (r#"{ "epochs": 1, "batch": 0 }"#, "train.batch: 0"),
        (r#"{ "epochs": 1, "lr": -1.0 }"#, "train.lr: -1"),
        (r#"{ "epochs": 1, "clip": 0.0 }"#, "train.clip: 0"),
        (r#"{ "epochs": 1, "checkpoint-seconds": -1.0 }"#, "train.checkpoint-seconds: -1"),
        (r#"{ "epochs": 1, "eval-every": 0 }"#, "train.eval-every: 0"),
        (r#"{ "epochs": 1, "optimizer": { "kind": "sgd", "momentum": 2.0 } }"#, "optimizer.momentum: 2"),
        (r#"{ "epochs": 1, "schedule": { "kind": "one-cycle", "div": 0.0 } }"#, "schedule.div: 0"),
    ];
    for (text, words) in cases {
        let error = serde_json::from_str::<TrainConfig>(text).unwrap().check().unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    let unknown = serde_json::from_str::<TrainConfig>(r#"{ "epoch": 1 }"#).unwrap_err().to_string();
    assert!(unknown.contains("`epoch`") && unknown.contains("`epochs`"), "{unknown}");

    let mut bench = Bench::new(SGD);
    bench.validation = None;
    let error = bench.run(&mut Softmax::new(), None).0.unwrap_err();
    assert!(error.to_string().contains("train.refit: false"), "{error}");
    let mut bench = Bench::new(SGD);
    bench.train = Clouds::new(0, 5, true);
    let error = bench.run(&mut Softmax::new(), None).0.unwrap_err();
    assert!(error.to_string().contains("fewer samples than one batch of 5"), "{error}");
}

#[test]
fn an_epoch_that_ends_early_is_an_error() {
    struct Short(Clouds);
    impl BatchSource for Short {
        fn batches_per_epoch(&self) -> u64 {
            self.0.batches_per_epoch() + 1
        }
        fn epoch(&self, epoch: u64, start: u64) -> umt_train::Batches<'_> {
            self.0.epoch(epoch, start)
        }
    }
    let folder = support::folder();
    let store = umt_store::Store::open(folder.path()).unwrap();
    let mut env = umt_train::Env {
        stage: "joint",
        dir: folder.path(),
        store: &store,
        seed: 1,
        observer: &mut umt_train::Silent,
        stop: &std::sync::atomic::AtomicUsize::new(0),
    };
    let config: TrainConfig = serde_json::from_str(REFIT).unwrap();
    let source = Short(Clouds::new(10, 5, true));
    let error = umt_train::train(&mut Softmax::new(), &source, None, &config, &mut env).unwrap_err();
    assert_eq!(error.to_string(), "batches: epoch 0 ended after 2 of 3 batches");
}

#[test]
fn evaluation_gives_every_sample_once_in_the_order_of_the_set_and_changes_nothing() {
    let task = Softmax::new();
    let before = task.params.to_tensors();
    let straight = evaluate(&task, &Clouds::new(31, 4, false)).unwrap();
    let shuffled = evaluate(&task, &Clouds::new(31, 7, true)).unwrap();
    assert_eq!(straight, shuffled);
    assert_eq!(straight.ids(), (0..31).map(|i| format!("s{i}")).collect::<Vec<_>>());
    assert_eq!(straight.logits().len(), 31 * CLASSES);
    assert_eq!(task.params.to_tensors(), before);
}

#[test]
fn a_logit_that_is_not_finite_is_named_with_its_sample() {
    let mut task = Softmax::new();
    task.params.get_mut("fc.bias").unwrap().value.make_mut()[2] = f32::INFINITY;
    let error = evaluate(&task, &Clouds::new(31, 4, false)).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("a logit is not finite (inf); samples s0"), "{error}");
}
