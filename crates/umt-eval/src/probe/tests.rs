use super::*;

/// Classes around random centres, with a large offset and one dead feature.
fn clusters(samples: usize, width: usize, classes: usize, noise: f32) -> (Vec<f32>, Vec<u32>) {
    let mut rng = umt_random::stream(7, "clusters", 0, 0);
    let centres: Vec<f32> = (0..classes * width).map(|_| rng.normal()).collect();
    let labels: Vec<u32> = (0..samples).map(|i| (i % classes) as u32).collect();
    let mut x = Vec::with_capacity(samples * width);
    for label in &labels {
        for k in 0..width {
            let centre = centres[*label as usize * width + k];
            x.push(if k == 1 { 3.5 } else { 100.0 + centre + noise * rng.normal() });
        }
    }
    (x, labels)
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let (x, y) = clusters(1000, 20, 6, 1.5);
    let fit = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let train = Features::new(&x, 20, &y, 6).unwrap();
            LinearProbe::fit(train, None, &ProbeConfig::fixed(1e-3)).unwrap().model
        })
    };
    let one = fit(1);
    assert_eq!(one, fit(2));
    assert_eq!(one, fit(4));
}

#[test]
fn validation_chooses_and_refit_changes_the_fit() {
    let (x, y) = clusters(600, 30, 5, 4.0);
    let train = Features::new(&x[..120 * 30], 30, &y[..120], 5).unwrap();
    let validation = Features::new(&x[120 * 30..], 30, &y[120..], 5).unwrap();
    let config = ProbeConfig::default();
    let fitted = LinearProbe::fit(train, Some(validation), &config).unwrap();
    assert_eq!(fitted.candidates.len(), 6);
    assert!(fitted.candidates.iter().all(|c| c.converged), "{:?}", fitted.candidates);
    let best = fitted.candidates.iter().filter_map(|c| c.validation_top1).fold(0.0, f64::max);
    assert_eq!(fitted.validation_top1, Some(best));
    assert!(fitted.l2 > 1e-5, "few noisy samples want a penalty, not {}", fitted.l2);

    let again = LinearProbe::fit(train, Some(validation), &config).unwrap();
    assert_eq!(fitted.model, again.model);
    let refit = ProbeConfig { refit: true, ..config };
    let refitted = LinearProbe::fit(train, Some(validation), &refit).unwrap();
    assert_eq!(refitted.l2, fitted.l2);
    assert_ne!(refitted.model, fitted.model);
}

#[test]
fn extreme_features_and_absent_classes_stay_finite() {
    let x = [1e4_f32, -1e4, -1e4, 1e4, 1e4, -1e4];
    let train = Features::new(&x, 2, &[0, 1, 0], 4).unwrap();
    let model = LinearProbe::fit(train, None, &ProbeConfig::fixed(1e-2)).unwrap().model;
    let logits = model.predict(&x).unwrap();
    assert!(logits.iter().all(|v| v.is_finite()));
    let scores = Scores::new(&logits, 4, &[0, 1, 0]).unwrap();
    assert_eq!(scores.predicted(), [0, 1, 0]);
}

#[test]
fn shuffled_labels_give_chance() {
    let (x, mut y) = clusters(1500, 8, 5, 1.0);
    umt_random::stream(3, "shuffle", 0, 0).shuffle(&mut y);
    let train = Features::new(&x[..500 * 8], 8, &y[..500], 5).unwrap();
    let model = LinearProbe::fit(train, None, &ProbeConfig::fixed(1e-2)).unwrap().model;
    let logits = model.predict(&x[500 * 8..]).unwrap();
    let top1 = top_k::top_k(&Scores::new(&logits, 5, &y[500..]).unwrap(), 1).unwrap();
    let sigma = (0.2_f64 * 0.8 / 1000.0).sqrt();
    assert!((top1 - 0.2).abs() < 3.0 * sigma, "{top1}");
}

#[test]
fn refuses_what_it_cannot_fit() {
    let x = [1.0_f32, 2.0, 3.0, 4.0];
    let good = Features::new(&x, 2, &[0, 1], 2).unwrap();
    let one = Features::new(&x, 2, &[1, 1], 2).unwrap();
    let narrow = Features::new(&x, 1, &[0, 1, 0, 1], 2).unwrap();
    let fit = |t, v, c: &ProbeConfig| LinearProbe::fit(t, v, c).map(|_| ()).unwrap_err();
    let fixed = ProbeConfig::fixed(0.1);
    assert_eq!(fit(one, None, &fixed), EvalError::OneClass { what: "linear probe", label: 1 });
    assert!(matches!(fit(good, Some(narrow), &fixed), EvalError::Shape { expected: 2, got: 1, .. }));
    assert!(matches!(fit(good, None, &ProbeConfig::default()), EvalError::Setting { name: "l2", .. }));
    for l2 in [vec![], vec![0.0], vec![f64::NAN]] {
        let config = ProbeConfig { l2, ..ProbeConfig::default() };
        assert!(matches!(fit(good, None, &config), EvalError::Setting { name: "l2", .. }));
    }
    assert!(serde_json::from_str::<ProbeConfig>("{\"C\": 1}").is_err());
    assert_eq!(serde_json::from_str::<ProbeConfig>("{}").unwrap(), ProbeConfig::default());
}

#[test]
fn saves_and_loads() {
    let (x, y) = clusters(60, 4, 3, 1.0);
    let train = Features::new(&x, 4, &y, 3).unwrap();
    let model = LinearProbe::fit(train, None, &ProbeConfig::fixed(0.1)).unwrap().model;
    assert_eq!(LinearModel::from_tensors(model.to_tensors()).unwrap(), model);
    let mut missing = model.to_tensors();
    missing.remove("bias");
    let mut extra = model.to_tensors();
    extra.insert("more".into(), (vec![1], vec![0.0]));
    let mut ill_shaped = model.to_tensors();
    ill_shaped.insert("scale".into(), (vec![3], vec![1.0; 3]));
    for (tensors, word) in [(missing, "bias"), (extra, "more"), (ill_shaped, "scale")] {
        let error = LinearModel::from_tensors(tensors).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn without_validation_a_fifth_of_each_class_chooses() {
    let (x, y) = clusters(300, 30, 5, 4.0);
    let train = Features::new(&x, 30, &y, 5).unwrap();
    let fitted = LinearProbe::fit(train, None, &ProbeConfig::default()).unwrap();
    assert_eq!(fitted.candidates.len(), 6);
    assert!(fitted.candidates.iter().all(|c| c.validation_top1.is_some()));
    assert_eq!(fitted.validation_top1, None);
    let alone = LinearProbe::fit(train, None, &ProbeConfig::fixed(fitted.l2)).unwrap();
    assert_eq!(fitted.model, alone.model, "the reported fit has seen every sample");
}
