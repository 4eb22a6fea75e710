//! Optimisers, clipping and schedules against PyTorch's trajectories (`golden/make_optim_golden.py`), and their state.

use std::collections::BTreeMap;

use serde_json::Value;
use umt_nn::optim::{Optimizer, OptimizerConfig, clip_grad_norm, grad_norm};
use umt_nn::schedule::ScheduleConfig;
use umt_nn::{Array, Grads, NnError, Param, Params};

const STEPS: u64 = 20;

fn golden(name: &str, part: Option<&str>) -> Vec<f64> {
    let all: Value = serde_json::from_str(include_str!("golden/optim.json")).unwrap();
    let entry = part.map_or(&all[name], |part| &all[name][part]);
    serde_json::from_value(entry.clone()).unwrap()
}

fn start() -> Params {
    let mut params = Params::default();
    let values: Vec<f32> = (0..6).map(|i| 0.5 * (i as f32 - 2.5)).collect();
    params.insert("w", Param::weight(Array::from_slice(&[6], &values).unwrap()));
    params
}

/// The gradient that the golden script uses.
fn gradient(params: &Params, step: u64) -> Grads {
    let weights = params.value("w").unwrap().as_slice();
    let at = |(i, w): (usize, &f32)| ((0.7 * i as f64 + 0.3 * step as f64).sin() + 0.1 * f64::from(*w)) as f32;
    let values: Vec<f32> = weights.iter().enumerate().map(at).collect();
    Grads::from([("w".to_owned(), Array::from_slice(&[6], &values).unwrap())])
}

fn run(optimizer: &mut dyn Optimizer, params: &mut Params, steps: std::ops::Range<u64>) {
    for step in steps {
        let grads = gradient(params, step);
        optimizer.step(params, &grads, 0.05).unwrap();
    }
}

fn all() -> Vec<(&'static str, OptimizerConfig)> {
    let sgd = |momentum, nesterov, weight_decay| OptimizerConfig::Sgd { momentum, nesterov, weight_decay };
    let adamw = OptimizerConfig::Adamw { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1 };
    vec![
        ("sgd", sgd(0.0, false, 0.0)),
        ("sgd-momentum", sgd(0.9, false, 1e-2)),
        ("sgd-nesterov", sgd(0.9, true, 1e-2)),
        ("adamw", adamw),
    ]
}

fn assert_near(name: &str, ours: &[f32], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((f64::from(*a) - b).abs() <= tolerance, "{name}[{i}]: {a}, PyTorch {b}");
    }
}

#[test]
fn trajectories_are_those_of_pytorch() {
    for (name, config) in all() {
        let (mut optimizer, mut params) = (config.build().unwrap(), start());
        run(optimizer.as_mut(), &mut params, 0..STEPS);
        assert_near(name, params.value("w").unwrap().as_slice(), &golden(name, Some("weights")), 2e-6);
    }
}

#[test]
fn clipping_is_that_of_pytorch() {
    let config = OptimizerConfig::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
    let (mut optimizer, mut params, mut norms) = (config.build().unwrap(), start(), Vec::new());
    for step in 0..STEPS {
        let mut grads = gradient(&params, step);
        norms.push(clip_grad_norm(&mut grads, 1.0).unwrap());
        assert!(grad_norm(&grads).unwrap() <= 1.0 + 1e-6);
        optimizer.step(&mut params, &grads, 0.05).unwrap();
    }
    assert_near("norms", &norms, &golden("sgd-clip", Some("norms")), 5e-6);
    // PyTorch divides by norm + 1e-6, so each step differs by a millionth of its length.
    assert_near("weights", params.value("w").unwrap().as_slice(), &golden("sgd-clip", Some("weights")), 1e-5);
}

#[test]
fn gradients_within_the_limit_keep_their_bits() {
    let mut grads = gradient(&start(), 3);
    let before = grads.clone();
    assert!(clip_grad_norm(&mut grads, 100.0).unwrap() > 0.0);
    assert_eq!(grads, before);
}

#[test]
fn saved_state_goes_on_bit_by_bit_from_every_step() {
    for (name, config) in all() {
        let (mut whole, mut expected) = (config.build().unwrap(), start());
        run(whole.as_mut(), &mut expected, 0..STEPS);
        for k in 0..=STEPS {
            let (mut first, mut params) = (config.build().unwrap(), start());
            run(first.as_mut(), &mut params, 0..k);
            let mut second = config.build().unwrap();
            second.load_state(first.state()).unwrap();
            run(second.as_mut(), &mut params, k..STEPS);
            assert_eq!(params.value("w").unwrap(), expected.value("w").unwrap(), "{name}, stopped at {k}");
            assert_eq!(second.state(), whole.state(), "{name}, stopped at {k}");
        }
    }
}

#[test]
fn a_parameter_without_a_gradient_stays() {
    for (name, config) in all() {
        let (mut optimizer, mut params) = (config.build().unwrap(), start());
        params.insert("frozen", Param::weight(Array::full(&[2], 3.0)));
        params.insert("mean", Param::buffer(Array::full(&[2], 4.0)));
        run(optimizer.as_mut(), &mut params, 0..3);
        assert_eq!(params.value("frozen").unwrap().as_slice(), [3.0, 3.0], "{name}");
        assert_eq!(params.value("mean").unwrap().as_slice(), [4.0, 4.0], "{name}");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_changes_nothing() {
    let bad = [
        ("unknown", Array::zeros(&[6]), "`unknown`"),
        ("buffer", Array::zeros(&[6]), "`buffer`"),
        ("z", Array::zeros(&[5]), "gradient of z: expected shape [6], got [5]"),
    ];
    for (_, config) in all() {
        for (name, grad, words) in bad.clone() {
            let (mut optimizer, mut params) = (config.build().unwrap(), start());
            params.insert("buffer", Param::buffer(Array::zeros(&[6])));
            params.insert("z", Param::weight(Array::zeros(&[6])));
            let before = params.to_tensors();
            let mut grads = gradient(&params, 0);
            grads.insert(name.to_owned(), grad);
            let error = optimizer.step(&mut params, &grads, 0.05).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(params.to_tensors(), before);
            assert!(optimizer.state().is_empty());
        }
        let foreign = BTreeMap::from([("elsewhere/w".to_owned(), Array::zeros(&[6]))]);
        let error = config.build().unwrap().load_state(foreign).unwrap_err();
        assert!(error.to_string().contains("`elsewhere/w`"), "{error}");
    }
}

#[test]
fn schedules_are_those_of_pytorch() {
    let one_cycle = |pct_start| ScheduleConfig::OneCycle { pct_start, div: 25.0, final_div: 1e4, cycle_momentum: None };
    let cases = [
        ("cosine", ScheduleConfig::Cosine { warmup: 0.0, end: 0.0 }, 0.1),
        ("step", ScheduleConfig::Step { warmup: 0.0, at: vec![0.5, 0.75], gamma: 0.1 }, 0.1),
        ("one-cycle", one_cycle(0.3), 0.05),
        ("one-cycle-esanet", one_cycle(0.1), 0.05),
        ("one-cycle-short", one_cycle(0.15), 0.05),
    ];
    for (name, schedule, base) in cases {
        schedule.check().unwrap();
        let theirs = golden(name, None);
        let total = theirs.len() as u64;
        let ours: Vec<f32> = (0..total).map(|step| schedule.lr(base, step, total)).collect();
        assert_near(name, &ours, &theirs, 1e-8);
        assert_eq!(schedule.lr(base, total + 5, total), ours[ours.len() - 1], "{name} past its end");
    }
}

#[test]
fn momentum_cycles_as_in_pytorch() {
    let cycle = Some([0.85, 0.95]);
    let schedule = ScheduleConfig::OneCycle { pct_start: 0.3, div: 25.0, final_div: 1e4, cycle_momentum: cycle };
    let theirs = golden("one-cycle-momentum", None);
    let total = theirs.len() as u64;
    let ours: Vec<f32> = (0..total).filter_map(|step| schedule.momentum(step, total)).collect();
    assert_near("momentum", &ours, &theirs, 1e-7);
    assert_eq!(ScheduleConfig::default().momentum(3, total), None);
}

#[test]
fn warm_up_rises_to_the_base_rate_and_every_rate_is_sound() {
    let schedules = [
        ScheduleConfig::Constant { warmup: 0.2 },
        ScheduleConfig::Cosine { warmup: 0.2, end: 0.1 },
        ScheduleConfig::Step { warmup: 0.2, at: vec![0.5], gamma: 0.1 },
    ];
    for schedule in schedules {
        let rates: Vec<f32> = (0..5).map(|step| schedule.lr(1.0, step, 20)).collect();
        assert_eq!(rates, [0.25, 0.5, 0.75, 1.0, 1.0], "{schedule:?}");
        for total in [0, 1, 2, 3, 7, 1000] {
            let sound = |step| (0.0..=1.0).contains(&schedule.lr(1.0, step, total));
            assert!((0..total.max(1)).all(sound), "{schedule:?} of {total}");
        }
    }
    for total in [1, 2, 3, 7, 1000] {
        let rate = |step| ScheduleConfig::default().lr(1.0, step, total);
        assert!((0..total).all(|step| rate(step) > 0.0 && rate(step) <= 1.0), "one-cycle of {total}");
    }
}

#[test]
fn settings_are_read_with_defaults_and_refused_with_names() {
    let read = |text: &str| serde_json::from_str::<OptimizerConfig>(text);
    assert_eq!(read(r#"{"kind": "sgd"}"#).unwrap(), OptimizerConfig::default());
    assert!(read(r#"{"kind": "sgd", "beta1": 0.9}"#).unwrap_err().to_string().contains("beta1"));
    assert!(read(r#"{"kind": "lion"}"#).unwrap_err().to_string().contains("adamw"));
    let schedule = |text: &str| serde_json::from_str::<ScheduleConfig>(text);
    assert_eq!(schedule(r#"{"kind": "one-cycle"}"#).unwrap(), ScheduleConfig::default());
    assert!(schedule(r#"{"kind": "cosine", "pct-start": 0.1}"#).unwrap_err().to_string().contains("pct-start"));

    let refused = |result: Result<(), NnError>, words: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    };
    refused(read(r#"{"kind": "sgd", "momentum": 1.0}"#).unwrap().check(), "optimizer.momentum: 1 is not");
    refused(read(r#"{"kind": "sgd", "momentum": 0.0}"#).unwrap().check(), "nesterov");
    refused(read(r#"{"kind": "adamw", "eps": 0.0}"#).unwrap().check(), "optimizer.eps");
    refused(schedule(r#"{"kind": "step", "at": [0.7, 0.5]}"#).unwrap().check(), "schedule.at: 0.5");
    refused(schedule(r#"{"kind": "one-cycle", "pct-start": 1.5}"#).unwrap().check(), "schedule.pct-start: 1.5");
    refused(schedule(r#"{"kind": "cosine", "warmup": -0.1}"#).unwrap().check(), "schedule.warmup: -0.1");
}
