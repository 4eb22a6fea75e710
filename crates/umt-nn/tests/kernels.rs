//! Kernels against values of PyTorch (`golden/make_kernels_golden.py`, in f64), through the public functions.
use serde_json::Value;
use umt_nn::kernels::*;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/kernels.json")).expect("valid JSON")
}

/// The script's formula.
fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| (((i * 37 + seed * 11) % 101) as f64 / 50.0 - 1.0) as f32).collect()
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &Value) {
    let want: Vec<f64> = want.as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    assert_eq!(want.len(), 8);
    let scale = got.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    for (i, w) in want.iter().enumerate() {
        let g = f64::from(got[i * (got.len() - 1) / 7]);
        assert!((g - w).abs() <= 5e-6 * scale, "{what}: sample {i} is {g}, expected {w}");
    }
}

#[test]
fn convolutions_agree_with_pytorch() {
    for case in golden()["convolutions"].as_array().expect("a list") {
        let size = |name: &str| case[name].as_u64().expect("a size") as usize;
        let pair = |name: &str| [0, 1].map(|i| case[name][i].as_u64().expect("a size") as usize);
        let s = ConvShape {
            n: size("n"),
            h: size("h"),
            w: size("w"),
            c: size("c"),
            k: size("k"),
            kh: pair("kernel")[0],
            kw: pair("kernel")[1],
            stride: pair("stride"),
            pad: pair("pad"),
            dilation: pair("dilation"),
            groups: size("groups"),
        };
        let (x, w, dy) = (values(s.x_len(), 1), values(s.w_len(), 2), values(s.y_len(), 3));
        let bias = values(s.k, 16);
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
        conv2d(&s, &x, &w, None, &mut y);
        conv2d_grad_input(&s, &dy, &w, &mut dx);
        conv2d_grad_weight(&s, &x, &dy, &mut dw);
        close(&format!("y of {s:?}"), &y, &case["y"]);
        // As trained, and with the weights in the form that an evaluated network keeps.
        conv2d_relu(&s, &x, &w, Some(&bias), &mut y);
        close(&format!("relu of {s:?}"), &y, &case["relu"]);
        Prepared::new(&s, &w).forward(&s, &x, Some(&bias), true, &mut y);
        close(&format!("prepared relu of {s:?}"), &y, &case["relu"]);
        close(&format!("dx of {s:?}"), &dx, &case["dx"]);
        close(&format!("dw of {s:?}"), &dw, &case["dw"]);
    }
}

#[test]
fn batch_norm_and_relu_agree_with_pytorch() {
    let want = &golden()["batch_norm"];
    let (rows, c) = (50, 18);
    let (z, gamma, beta, dy) = (values(rows * c, 4), values(c, 5), values(c, 6), values(rows * c, 7));
    let (mut mean, mut var) = (vec![0.0; c], vec![0.0; c]);
    batch_norm_stats(rows, c, &z, &mut mean, &mut var);
    let inv: Vec<f32> = var.iter().map(|v| 1.0 / (v + 1e-5).sqrt()).collect();
    let a: Vec<f32> = gamma.iter().zip(&inv).map(|(g, i)| g * i).collect();
    let b: Vec<f32> = (0..c).map(|i| beta[i] - a[i] * mean[i]).collect();
    let mut y = vec![0.0; rows * c];
    scale_shift(rows, c, &z, &a, &b, None, true, &mut y);
    close("y", &y, &want["y"]);
    let (mut dz, mut dgamma, mut dbeta) = (y.clone(), a.clone(), b.clone());
    for from_output in [true, false] {
        if from_output {
            batch_norm_backward(
                rows,
                c,
                &z,
                Some(&y),
                &dy,
                &gamma,
                &mean,
                &inv,
                &mut dz,
                &mut dgamma,
                &mut dbeta,
                None,
            );
        } else {
            batch_norm_relu_backward(rows, c, &z, &a, &b, &dy, &gamma, &mean, &inv, &mut dz, &mut dgamma, &mut dbeta);
        }
        close("dz", &dz, &want["dz"]);
        close("dgamma", &dgamma, &want["dgamma"]);
        close("dbeta", &dbeta, &want["dbeta"]);
    }
}

#[test]
fn max_pool_agrees_with_pytorch() {
    let want = &golden()["max_pool"];
    let s = PoolShape { n: 2, h: 9, w: 8, c: 5, window: [3; 2], stride: [2; 2], pad: [1; 2] };
    let (x, dy) = (values(s.x_len(), 8), values(s.y_len(), 9));
    let (mut y, mut dx, mut argmax) = (dy.clone(), x.clone(), vec![0; s.y_len()]);
    max_pool(&s, &x, &mut y, Some(&mut argmax));
    max_pool_backward(&s, &argmax, &dy, &mut dx);
    close("y", &y, &want["y"]);
    close("dx", &dx, &want["dx"]);
}

#[test]
fn resizing_and_averages_agree_with_pytorch() {
    for case in golden()["resize"].as_array().expect("a list") {
        let size = |name: &str| case[name].as_u64().expect("a size") as usize;
        let how = match case["how"].as_str() {
            Some("nearest") => Resize::Nearest,
            Some("bilinear") => Resize::Bilinear,
            _ => Resize::Average,
        };
        let (from, to) = ([size("h"), size("w")], [size("oh"), size("ow")]);
        let (x, dy) = (values(2 * from[0] * from[1] * 6, 10), values(2 * to[0] * to[1] * 6, 11));
        let (mut y, mut dx) = (dy.clone(), x.clone());
        resize(how, 2, from, to, 6, &x, &mut y);
        resize_backward(how, 2, from, to, 6, &dy, &mut dx);
        close(&format!("{how:?} of {from:?} to {to:?}"), &y, &case["y"]);
        close(&format!("{how:?} of {to:?} back to {from:?}"), &dx, &case["dx"]);
    }
    let want = &golden()["average_pool"];
    let s = PoolShape { n: 2, h: 9, w: 8, c: 5, window: [3; 2], stride: [2; 2], pad: [1; 2] };
    let (x, dy) = (values(s.x_len(), 12), values(s.y_len(), 13));
    let (mut y, mut dx) = (dy.clone(), x.clone());
    average_pool(&s, &x, &mut y);
    average_pool_backward(&s, &dy, &mut dx);
    close("y", &y, &want["y"]);
    close("dx", &dx, &want["dx"]);
}

#[test]
fn cross_entropy_agrees_with_pytorch() {
    let want = &golden()["cross_entropy"];
    let logits: Vec<f32> = values(60 * 7, 14).iter().map(|v| 4.0 * v).collect();
    let labels: Vec<u8> = (0..60).map(|i| if i % 5 == 2 { 255 } else { (i * 3 % 7) as u8 }).collect();
    let weights: Vec<f32> = values(7, 15).iter().map(|v| v + 1.5).collect();
    let mut grad = logits.clone();
    let result = cross_entropy(7, &logits, &labels, Some(&weights), 0.15, Some(&mut grad));
    let loss = want["loss"].as_f64().expect("a number");
    assert!((result.mean() - loss).abs() < 1e-6 * loss, "{} for {loss}", result.mean());
    close("gradient", &grad, &want["grad"]);
}
