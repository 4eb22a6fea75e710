//! Every formula against a reference of a few lines: losses, gradients, what is remembered, and what becomes of the
//! encoders' gradients. `golden/make_golden.py` made the values in f64 from the same inputs; here everything is f32.

mod reference;

use reference::{NAMES, Run, array, check, close, golden, labels, plain};
use serde_json::Value;
use umt_distill::{
    Agm, AuxHeads, Cml, Combined, Dgl, Distance, Feature, G2d, GBlend, LogitKd, Losses, Mla, MmCosine, MmPareto,
    ObjectiveConfig, Ogm, OgmGe, Opm, Pmr, Ramp, Scale, Smp, TcMax, blend,
};
use umt_media::Modality;
use umt_nn::{Array, Grads};

#[test]
fn features_logits_and_heads_agree_with_the_reference() {
    let feature = |distance, weight| Feature { distance, ..Feature::new(weight) };
    plain("feature-mse", ObjectiveConfig::Feature(Feature::new(10.0)));
    plain("feature-l1", ObjectiveConfig::Feature(feature(Distance::L1, 2.0)));
    plain("feature-cosine", ObjectiveConfig::Feature(feature(Distance::Cosine, 3.0)));
    let ramp = Some(Ramp { from: 1.0, over: 0.5 });
    plain("feature-ramp", ObjectiveConfig::Feature(Feature { ramp, ..Feature::new(5.0) }));
    plain("feature-share", ObjectiveConfig::Feature(Feature { scale: Scale::Share, ..feature(Distance::L1, 0.3) }));
    plain("logit-kd", ObjectiveConfig::LogitKd(LogitKd { weight: 0.4, temperature: 3.0 }));
    plain("aux-heads", ObjectiveConfig::AuxHeads(AuxHeads { weight: 0.7 }));
    plain("cml", ObjectiveConfig::Cml(Cml { weight: 3.0 }));
    plain("mmcosine", ObjectiveConfig::MmCosine(MmCosine { scale: 7.0 }));
}

fn conv(m: Modality) -> String {
    format!("encoder.{m}.conv1.weight")
}

fn norm(m: Modality) -> String {
    format!("encoder.{m}.bn1.weight")
}

/// Gradients of one convolution and one normalisation per encoder.
fn encoder_grads(step: u64) -> Grads {
    let of = |(m, i): (Modality, u64)| {
        [(conv(m), array(&[3, 3, 2, 4], 2000 + 10 * step + i, 1.0)), (norm(m), array(&[5], 2100 + 10 * step + i, 1.0))]
    };
    NAMES.into_iter().zip(0..).flat_map(of).collect()
}

#[test]
fn gradient_modulation_agrees_with_the_reference() {
    let golden = golden();
    let ogm = Ogm { alpha: 0.4, end: Some(u64::MAX), ..Ogm::default() };
    for noisy in [false, true] {
        let config = if noisy { ObjectiveConfig::OgmGe(OgmGe(ogm.clone())) } else { ObjectiveConfig::Ogm(ogm.clone()) };
        let mut run = Run::new(&config);
        for (t, expected) in (0..).zip(golden["ogm"].as_array().unwrap()) {
            let step = run.step(t, 0, &labels(t), encoder_grads(t), &Grads::new());
            check("ogm", &step, expected);
            for m in NAMES {
                close("ogm norm", step.result.grads[&norm(m)].as_slice(), &expected[format!("norm.{m}")]);
                let mut grad = step.result.grads[&conv(m)].as_slice().to_vec();
                if noisy {
                    // What remains without the drawn noise, of the reference's deviation, is the modulated gradient.
                    let deviation = expected[format!("deviation.{m}")].as_f64().unwrap() as f32;
                    let mut rng = umt_random::stream(5, "objective.ogm-ge", t, umt_random::id_hash(&conv(m)));
                    grad.iter_mut().for_each(|g| *g -= deviation * rng.normal());
                }
                close("ogm conv", &grad, &expected[format!("conv.{m}")]);
            }
        }
    }
    // Outside its epochs nothing is modulated.
    let mut late = Run::new(&ObjectiveConfig::Ogm(Ogm { start: 1, end: Some(1), ..ogm }));
    for (epoch, untouched) in [(0, true), (1, false), (2, true)] {
        let step = late.step(0, epoch, &labels(0), encoder_grads(0), &Grads::new());
        assert_eq!(NAMES.iter().all(|m| step.result.grads[&conv(*m)] == encoder_grads(0)[&conv(*m)]), untouched);
    }
}

/// G2D whole; and its order alone and on top of UMT, which is the sum of what both do.
#[test]
fn g2d_agrees_with_the_reference() {
    let golden = golden();
    let g2d = G2d { feature_weight: 0.7, logit_weight: 0.6, temperature: 2.0, ..G2d::default() };
    let smp = ObjectiveConfig::Smp(Smp::default());
    let umt = Combined { of: vec![smp.clone(), ObjectiveConfig::Feature(Feature::new(10.0))] };
    for config in [ObjectiveConfig::G2d(g2d), smp, ObjectiveConfig::Combined(umt)] {
        let mut run = Run::new(&config);
        for (t, expected) in (0..).zip(golden["g2d"].as_array().unwrap()) {
            let step = run.step(t, 0, &labels(t), encoder_grads(t), &Grads::new());
            match config.kind() {
                "g2d" => check("g2d", &step, expected),
                "combined" if t < 3 => check("umt+smp", &step, &golden["feature-mse"][t as usize]),
                _ => {}
            }
            for m in NAMES {
                close("g2d conv", step.result.grads[&conv(m)].as_slice(), &expected[format!("conv.{m}")]);
                close("g2d norm", step.result.grads[&norm(m)].as_slice(), &expected[format!("norm.{m}")]);
            }
        }
    }
}

#[test]
fn prioritisation_disentangling_and_total_correlation_agree_with_the_reference() {
    let golden = golden();
    let mut run = Run::new(&ObjectiveConfig::Smp(Smp { start: 0, end: Some(u64::MAX) }));
    for (t, expected) in (0..).zip(golden["smp"].as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), encoder_grads(t), &Grads::new());
        check("smp", &step, expected);
        for m in NAMES {
            close("smp norm", step.result.grads[&norm(m)].as_slice(), &expected[format!("norm.{m}")]);
            close("smp conv", step.result.grads[&conv(m)].as_slice(), &expected[format!("conv.{m}")]);
        }
    }
    let mut run = Run::new(&ObjectiveConfig::Dgl(Dgl::default()));
    for (t, expected) in (0..).zip(golden["dgl"].as_array().unwrap()) {
        let own = encoder_grads(t + 7);
        let step = run.step(t, 0, &labels(t), encoder_grads(t), &own);
        close("dgl loss", &[step.result.loss], &expected["loss"]);
        close("dgl head", step.result.grads["head.weight"].as_slice(), &expected["head"]);
        close("dgl bias", step.result.grads["head.bias"].as_slice(), &expected["bias"]);
        for m in NAMES {
            close("dgl alone", &[step.result.log[&format!("alone.{m}")]], &expected[format!("alone.{m}")]);
            assert_eq!(step.result.grads[&conv(m)], own[&conv(m)], "the encoder's own loss alone");
            assert_eq!(step.result.grads[&norm(m)], own[&norm(m)], "the encoder's own loss alone");
        }
    }
    plain("tcmax", ObjectiveConfig::TcMax(TcMax::default()));
    let opm = |q, lambda| ObjectiveConfig::Opm(Opm { q, lambda, p: 1.0, warmup: 0.0 });
    plain("opm", opm(1.0, 0.0));
    let mut run = Run::new(&opm(0.5, 0.5));
    for (t, expected) in (0..).zip(golden["opm"].as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), Grads::new(), &Grads::new());
        for m in NAMES {
            close("opm q", &[step.result.log[&format!("left-out.{m}")]], &expected[format!("q.{m}")]);
        }
    }
}

/// By default the first half of the run is modulated: steps 0 and 1 of 4.
#[test]
fn modulation_ends_with_half_of_the_run() {
    for config in [ObjectiveConfig::Ogm(Ogm::default()), ObjectiveConfig::OgmGe(OgmGe::default())] {
        let mut run = Run::new(&config);
        for t in 0..4 {
            let step = run.step(t, t, &labels(0), encoder_grads(t), &Grads::new());
            let untouched = NAMES.iter().all(|m| step.result.grads[&conv(*m)] == encoder_grads(t)[&conv(*m)]);
            assert_eq!(untouched, t >= 2, "step {t} of {}", config.kind());
        }
    }
}

#[test]
fn agm_agrees_with_the_reference() {
    let golden = &golden()["agm"];
    let mut run = Run::new(&ObjectiveConfig::Agm(Agm { alpha: 0.8, end: Some(u64::MAX), ..Agm::default() }));
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), Grads::new(), &Grads::new());
        check(&format!("agm step {t}"), &step, expected);
        close("agm scores", run.params().value("objective.agm.scores").unwrap().as_slice(), &expected["scores"]);
    }
}

#[test]
fn pmr_agrees_with_the_reference() {
    let golden = &golden()["pmr"];
    let pmr = Pmr { alpha: 0.9, momentum: 0.2, entropy_weight: 0.05, entropy_epochs: 2 };
    let mut run = Run::new(&ObjectiveConfig::Pmr(pmr));
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        if t > 0 && t % 2 == 0 {
            run.end_of_epoch(t / 2 - 1);
        }
        // The third class comes late.
        let labels = labels(t).into_iter().map(|y| if t < 2 { y % 2 } else { y }).collect::<Vec<_>>();
        let step = run.step(t, t / 2, &labels, Grads::new(), &Grads::new());
        check(&format!("pmr step {t}"), &step, expected);
        for m in NAMES.into_iter().filter(|_| t >= 2) {
            let prototypes = run.params().value(&format!("objective.pmr.prototypes.{m}")).unwrap();
            close("pmr prototypes", prototypes.as_slice(), &expected[format!("prototypes.{m}")]);
        }
    }
}

#[test]
fn g_blend_agrees_with_the_reference() {
    let golden = &golden()["g-blend"];
    let given = [("audio", 0.2), ("video", 0.3), ("joint", 0.5)].map(|(n, w)| (n.to_owned(), w));
    let mut run = Run::new(&ObjectiveConfig::GBlend(GBlend { weights: Some(given.into()), every: None }));
    for (t, expected) in (0..).zip(golden["steps"].as_array().unwrap()) {
        check("g-blend", &run.step(t, 0, &labels(t), Grads::new(), &Grads::new()), expected);
    }
    let losses = |value: &Value| Losses { train: value[0].as_f64().unwrap(), validation: value[1].as_f64().unwrap() };
    let pairs = golden["before"].as_array().unwrap().iter().zip(golden["after"].as_array().unwrap());
    let weights = blend(&pairs.map(|(before, after)| [losses(before), losses(after)]).collect::<Vec<_>>()).unwrap();
    close("weights", &weights.iter().map(|w| *w as f32).collect::<Vec<_>>(), &golden["weights"]);
    let risen = [Losses { train: 0.5, validation: 0.5 }, Losses { train: 0.4, validation: 0.6 }];
    assert_eq!(blend(&[risen, risen]), None);
}

#[test]
fn mmpareto_agrees_with_the_reference() {
    let golden = &golden()["mmpareto"];
    let mut run = Run::new(&ObjectiveConfig::MmPareto(MmPareto { gamma: 1.5 }));
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        let sign = if t == 0 { 1.0 } else { -1.0 };
        let sum = |a: &Array, factor: f32, b: &Array| {
            let values: Vec<f32> = a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| factor * a + b).collect();
            Array::from_slice(a.shape(), &values).unwrap()
        };
        let own = encoder_grads(t);
        let apart = NAMES.into_iter().zip(0..).flat_map(|(m, i)| {
            [
                (conv(m), sum(&own[&conv(m)], sign, &array(&[3, 3, 2, 4], 2300 + i, 0.3))),
                (norm(m), sum(&own[&norm(m)], 2.0 * sign, &array(&[5], 2310 + i, 0.3))),
            ]
        });
        let apart = apart.collect();
        let step = run.step(t, 0, &labels(t), own.clone(), &apart);
        check(&format!("mmpareto step {t}"), &step, expected);
        for m in NAMES {
            close("weight", &[step.result.log[&format!("weight.{m}")]], &expected[format!("weight.{m}")]);
            close("conv", step.result.grads[&conv(m)].as_slice(), &expected[format!("conv.{m}")]);
            close("norm", step.result.grads[&norm(m)].as_slice(), &expected[format!("norm.{m}")]);
        }
    }
}

#[test]
fn mla_agrees_with_the_reference() {
    let golden = &golden()["mla"];
    let mut run = Run::new(&ObjectiveConfig::Mla(Mla { alpha: 0.1, ..Mla::default() }));
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), Grads::new(), &Grads::new());
        let modality = NAMES[(t % 2) as usize];
        assert_eq!(step.by_features.keys().collect::<Vec<_>>(), [&modality]);
        close("mla loss", &[step.result.loss], &expected["loss"]);
        close("mla features", &step.by_features[&modality], &expected[format!("features.{modality}")]);
        close("mla head", step.result.grads["head.weight"].as_slice(), &expected["projected"]);
        close("mla P", run.params().value("objective.mla.projection").unwrap().as_slice(), &expected["projection"]);
    }
}

/// A combination is the sum of what its parts do.
#[test]
fn umt_with_ogm_ge_has_the_loss_of_one_and_the_gradients_of_the_other() {
    let golden = golden();
    let ogm = ObjectiveConfig::Ogm(Ogm { alpha: 0.4, end: Some(u64::MAX), ..Ogm::default() });
    // The order in the list does not count.
    let of = vec![ogm, ObjectiveConfig::Feature(Feature::new(10.0))];
    let mut run = Run::new(&ObjectiveConfig::Combined(Combined { of }));
    for t in 0..3 {
        let step = run.step(t, 0, &labels(t), encoder_grads(t), &Grads::new());
        check("combined", &step, &golden["feature-mse"][t as usize]);
        for m in NAMES {
            close("conv", step.result.grads[&conv(m)].as_slice(), &golden["ogm"][t as usize][format!("conv.{m}")]);
        }
    }
}
