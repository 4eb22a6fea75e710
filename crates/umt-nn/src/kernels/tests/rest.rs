use super::super::{Isa, PoolShape, elementwise, pool};
use super::{close, isas, same_on_all_pools, values};

#[test]
fn max_pool_agrees_with_plain_loops() {
    for (h, w, c, window, stride, pad) in
        [(6, 6, 4, 2, 2, 0), (7, 9, 17, 3, 2, 1), (5, 4, 16, 3, 1, 1), (1, 1, 3, 3, 2, 1), (8, 3, 1, 2, 3, 1)]
    {
        let s = PoolShape { n: 2, h, w, c, window: [window; 2], stride: [stride; 2], pad: [pad; 2] };
        s.check().expect("a valid shape");
        let (x, dy) = (values(s.x_len(), 6), values(s.y_len(), 7));
        let (mut y, mut place, mut dx) = (vec![f64::MIN; s.y_len()], vec![0u32; s.y_len()], vec![0.0f64; s.x_len()]);
        for o in 0..s.y_len() {
            let (ch, p) = (o % c, o / c);
            let (j, i, n) = (p % s.out_w(), p / s.out_w() % s.out_h(), p / s.out_w() / s.out_h());
            for (r, t) in (0..window * window).map(|v| (v / window, v % window)) {
                let (Some(r), Some(t)) = ((i * stride + r).checked_sub(pad), (j * stride + t).checked_sub(pad)) else {
                    continue;
                };
                if r < h && t < w && f64::from(x[((n * h + r) * w + t) * c + ch]) > y[o] {
                    y[o] = f64::from(x[((n * h + r) * w + t) * c + ch]);
                    place[o] = (r * w + t) as u32;
                }
            }
            dx[(n * h * w + place[o] as usize) * c + ch] += f64::from(dy[o]);
        }
        for isa in isas() {
            let (mut got, mut at, mut back) = (vec![0.0; s.y_len()], vec![9; s.y_len()], vec![f32::NAN; s.x_len()]);
            pool::max_pool(isa, &s, &x, &mut got, None);
            close("max pool", &got, &y, 0.0);
            got.fill(0.0);
            pool::max_pool(isa, &s, &x, &mut got, Some(&mut at));
            close("max pool", &got, &y, 0.0);
            assert_eq!(at, place);
            pool::max_pool_backward(isa, &s, &at, &dy, &mut back);
            close("max pool backward", &back, &dx, 1e-6);
        }
    }
    assert!(PoolShape { n: 1, h: 4, w: 4, c: 1, window: [2, 2], stride: [2, 2], pad: [2, 0] }.check().is_err());
}

#[test]
fn max_pool_keeps_nan_and_the_first_of_equals() {
    let s = PoolShape { n: 1, h: 2, w: 2, c: 1, window: [2, 2], stride: [2, 2], pad: [0, 0] };
    for isa in isas() {
        let (mut y, mut at) = ([0.0], [7]);
        pool::max_pool(isa, &s, &[1.0, f32::NAN, 3.0, f32::NAN], &mut y, Some(&mut at));
        assert!(y[0].is_nan() && at[0] == 1);
        pool::max_pool(isa, &s, &[1.0, 3.0, 3.0, 2.0], &mut y, Some(&mut at));
        assert_eq!((y[0], at[0]), (3.0, 1));
    }
}

#[test]
fn means_over_rows_and_back() {
    for (groups, rows, c) in [(1, 1, 1), (3, 7, 5), (4, 16, 128), (2, 100, 33), (1, 30_000, 3)] {
        // Of one sign, as behind a ReLU: what is added up does not cancel.
        let x: Vec<f32> = values(groups * rows * c, 8).iter().map(|v| v.abs()).collect();
        let dy = values(groups * c, 9);
        let want: Vec<f64> = (0..groups * c)
            .map(|i| (0..rows).map(|r| f64::from(x[(i / c * rows + r) * c + i % c])).sum::<f64>() / rows as f64)
            .collect();
        let back: Vec<f64> =
            (0..groups * rows * c).map(|i| f64::from(dy[i / c / rows * c + i % c]) / rows as f64).collect();
        for isa in isas() {
            let mut y = vec![0.0; groups * c];
            pool::mean_rows(isa, groups, rows, c, &x, &mut y);
            close("mean", &y, &want, 2e-6);
        }
        let mut dx = vec![0.0; groups * rows * c];
        pool::mean_rows_backward(groups, rows, c, &dy, &mut dx);
        close("mean backward", &dx, &back, 1e-6);
    }
}

#[test]
fn elementwise_operators() {
    for len in [0, 1, 17, 40000] {
        let (a, b) = (values(len, 10), values(len, 11));
        for isa in isas() {
            let mut sum = a.clone();
            elementwise::add_assign(isa, &mut sum, &b);
            assert!(sum.iter().zip(a.iter().zip(&b)).all(|(s, (a, b))| *s == a + b));
            let mut y = vec![9.0; len];
            y.copy_from_slice(&a);
            elementwise::relu_in_place(isa, &mut y);
            assert!(y.iter().zip(&a).all(|(y, a)| *y == a.max(0.0)));
            let mut dx = b.clone();
            elementwise::relu_backward_in_place(isa, &a, &mut dx);
            assert!(dx.iter().zip(a.iter().zip(&b)).all(|(d, (y, g))| *d == if *y > 0.0 { *g } else { 0.0 }));
            let squares: f64 = a.iter().map(|&v| f64::from(v).powi(2)).sum();
            assert!((elementwise::sum_of_squares(isa, &a) - squares).abs() <= 1e-12 * squares);
            assert!(elementwise::all_finite(isa, &a));
            if len > 0 {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut broken = a.clone();
                    broken[len / 2] = bad;
                    assert!(!elementwise::all_finite(isa, &broken));
                }
            }
        }
    }
    let mut y = [f32::NAN];
    elementwise::relu_in_place(Isa::Avx512, &mut y);
    assert!(y[0].is_nan());
    let x = values(100_000, 12);
    same_on_all_pools("sum of squares", || vec![elementwise::sum_of_squares(Isa::Avx512, &x) as f32]);
}

#[test]
fn optimisers_follow_their_formulas() {
    let len = 1003;
    let (p, g, m, v) = (values(len, 13), values(len, 14), values(len, 15), values(len, 16));
    let f = f64::from;
    for isa in isas() {
        for nesterov in [false, true] {
            let (mut gp, mut gm) = (p.clone(), m.clone());
            elementwise::sgd_step(
                isa,
                &mut gp,
                &g,
                &mut gm,
                elementwise::Sgd { lr: 0.1, momentum: 0.9, nesterov, weight_decay: 0.01 },
            );
            let d: Vec<f64> = (0..len).map(|i| f(g[i]) + 0.01 * f(p[i])).collect();
            let wm: Vec<f64> = (0..len).map(|i| 0.9 * f(m[i]) + d[i]).collect();
            let wp: Vec<f64> =
                (0..len).map(|i| f(p[i]) - 0.1 * if nesterov { d[i] + 0.9 * wm[i] } else { wm[i] }).collect();
            close("sgd m", &gm, &wm, 1e-6);
            close("sgd p", &gp, &wp, 1e-6);
        }
        let v: Vec<f32> = v.iter().map(|v| v.abs()).collect();
        let (mut gp, mut gm, mut gv) = (p.clone(), m.clone(), v.clone());
        let o = elementwise::AdamW { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, step: 3 };
        elementwise::adamw_step(isa, &mut gp, &g, &mut gm, &mut gv, o);
        let wm: Vec<f64> = (0..len).map(|i| 0.9 * f(m[i]) + 0.1 * f(g[i])).collect();
        let wv: Vec<f64> = (0..len).map(|i| 0.999 * f(v[i]) + 0.001 * f(g[i]).powi(2)).collect();
        let hat = |x: f64, b: f64| x / (1.0 - b.powi(3));
        let wp: Vec<f64> = (0..len)
            .map(|i| f(p[i]) * (1.0 - 0.01 * 0.1) - 0.01 * hat(wm[i], 0.9) / (hat(wv[i], 0.999).sqrt() + 1e-8))
            .collect();
        close("adamw p", &gp, &wp, 1e-6);
        close("adamw m", &gm, &wm, 1e-6);
        close("adamw v", &gv, &wv, 1e-6);
    }
}
