use super::super::norm_backward::{self, Mask};
use super::super::{Isa, norm};
use super::{close, isas, same_on_all_pools, values};

const SIZES: [(usize, usize); 12] = [
    (1, 1),
    (1, 16),
    (7, 3),
    (100, 16),
    (33, 32),
    (1000, 45),
    (64, 64),
    (50, 144),
    (2049, 16),
    (4100, 8),
    (31, 512),
    (700, 96),
];

fn stats(isa: Isa, rows: usize, c: usize, z: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut mean, mut var) = (vec![0.0; c], vec![0.0; c]);
    norm::stats(isa, rows, c, z, &mut mean, &mut var);
    (mean, var)
}

fn expected_stats(rows: usize, c: usize, z: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let column = |i: usize| (0..rows).map(move |r| f64::from(z[r * c + i]));
    let mean: Vec<f64> = (0..c).map(|i| column(i).sum::<f64>() / rows as f64).collect();
    let var = (0..c).map(|i| column(i).map(|v| (v - mean[i]).powi(2)).sum::<f64>() / rows as f64).collect();
    (mean, var)
}

#[test]
fn masked_sums_agree_with_plain_loops() {
    for (rows, c) in [(1, 1), (7, 5), (100, 16), (3000, 40), (0, 4)] {
        let (y, d) = (values(rows * c, 40), values(rows * c, 41));
        let want: Vec<f64> = y.iter().zip(&d).map(|(y, d)| if *y > 0.0 { f64::from(*d) } else { 0.0 }).collect();
        let sums: Vec<f64> = (0..c).map(|i| want.iter().skip(i).step_by(c).sum()).collect();
        for isa in isas() {
            let (mut got, mut db) = (d.clone(), vec![f32::NAN; c]);
            norm::masked_row_sums(isa, rows, c, &y, &mut got, &mut db);
            close("masked", &got, &want, 0.0);
            close("sums", &db, &sums, 2e-6);
        }
    }
}

#[test]
fn statistics_agree_with_plain_loops() {
    for (rows, c) in SIZES {
        for offset in [0.0, 100.0] {
            let z: Vec<f32> = values(rows * c, 5).into_iter().map(|v| v + offset).collect();
            let (mean, var) = expected_stats(rows, c, &z);
            for isa in isas() {
                let (m, v) = stats(isa, rows, c, &z);
                let off = m.iter().zip(&mean).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                assert!(off < 4e-7 * (1.0 + f64::from(offset)), "mean {rows} {c} {isa:?}: off by {off}");
                close(&format!("var {rows} {c} {isa:?}"), &v, &var, 2e-6);
            }
        }
    }
    let (m, v) = stats(Isa::Avx512, 100, 16, &vec![1000.1; 1600]);
    assert_eq!((m, v), (vec![1000.1; 16], vec![0.0; 16]));
    assert!(stats(Isa::Avx512, 3, 1, &[1.0, f32::NAN, 2.0]).1[0].is_nan());
}

#[test]
fn scale_shift_agrees_with_plain_loops() {
    for (rows, c) in SIZES {
        let (z, skip) = (values(rows * c, 6), values(rows * c, 7));
        let (a, b) = (values(c, 8), values(c, 9));
        for (with_skip, relu) in [(false, false), (false, true), (true, false), (true, true)] {
            let want: Vec<f64> = (0..rows * c)
                .map(|i| {
                    let v = f64::from(a[i % c]) * f64::from(z[i])
                        + f64::from(b[i % c])
                        + if with_skip { f64::from(skip[i]) } else { 0.0 };
                    if relu { v.max(0.0) } else { v }
                })
                .collect();
            for isa in isas() {
                let skip = with_skip.then_some(&skip[..]);
                let mut y = vec![f32::NAN; rows * c];
                // SAFETY: `z` and `y` hold `rows * c` floats apart from each other.
                unsafe { norm::scale_shift(isa, rows, c, z.as_ptr(), &a, &b, skip, relu, &mut y) };
                close("scale_shift", &y, &want, 5e-7);
                let mut same = z.clone();
                // SAFETY: in place.
                unsafe { norm::scale_shift(isa, rows, c, same.as_ptr(), &a, &b, skip, relu, &mut same) };
                assert_eq!(same, y);
            }
        }
    }
}

struct Grads {
    dz: Vec<f32>,
    dgamma: Vec<f32>,
    dbeta: Vec<f32>,
    dskip: Vec<f32>,
}

fn backward(isa: Isa, t: &norm_backward::Backward, skip: bool) -> Grads {
    let n = t.rows * t.c;
    let mut g = Grads {
        dz: vec![f32::NAN; n],
        dgamma: vec![f32::NAN; t.c],
        dbeta: vec![f32::NAN; t.c],
        dskip: vec![f32::NAN; n],
    };
    norm_backward::backward(isa, t, &mut g.dz, &mut g.dgamma, &mut g.dbeta, skip.then_some(&mut g.dskip[..]));
    g
}

#[test]
fn backward_agrees_with_the_formula() {
    for (rows, c) in SIZES {
        if rows == 1 {
            continue; // no variance
        }
        let (z, y, dy, gamma) = (values(rows * c, 10), values(rows * c, 11), values(rows * c, 12), values(c, 13));
        let (mean, var) = expected_stats(rows, c, &z);
        let inv: Vec<f64> = var.iter().map(|v| 1.0 / (v + 1e-5).sqrt()).collect();
        let (m32, i32): (Vec<f32>, Vec<f32>) =
            (mean.iter().map(|&v| v as f32).collect(), inv.iter().map(|&v| v as f32).collect());
        for relu in [false, true] {
            let g: Vec<f64> = (0..rows * c).map(|i| if relu && y[i] <= 0.0 { 0.0 } else { f64::from(dy[i]) }).collect();
            let hat = |i: usize| (f64::from(z[i]) - mean[i % c]) * inv[i % c];
            let sum = |ch: usize, f: &dyn Fn(usize) -> f64| (0..rows).map(|r| f(r * c + ch)).sum::<f64>();
            let dbeta: Vec<f64> = (0..c).map(|ch| sum(ch, &|i| g[i])).collect();
            let dgamma: Vec<f64> = (0..c).map(|ch| sum(ch, &|i| g[i] * hat(i))).collect();
            let n = rows as f64;
            let dz: Vec<f64> = (0..rows * c)
                .map(|i| f64::from(gamma[i % c]) * inv[i % c] * (g[i] - dbeta[i % c] / n - hat(i) * dgamma[i % c] / n))
                .collect();
            let t = norm_backward::Backward {
                rows,
                c,
                z: &z,
                mask: if relu { Mask::Output(&y) } else { Mask::All },
                dy: &dy,
                gamma: &gamma,
                mean: &m32,
                inv_std: &i32,
            };
            for isa in isas() {
                for skip in [false, true] {
                    let got = backward(isa, &t, skip);
                    close("dz", &got.dz, &dz, 3e-6);
                    close("dgamma", &got.dgamma, &dgamma, 3e-6);
                    close("dbeta", &got.dbeta, &dbeta, 3e-6);
                    if skip {
                        close("dskip", &got.dskip, &g, 0.0);
                    }
                }
            }
        }
    }
}

#[test]
fn backward_is_the_derivative_of_forward() {
    // Central differences of Σ dy * relu(gamma * x̂ + beta + skip) in f64.
    let (rows, c, beta) = (6, 3, [0.1, -0.2, 0.3]);
    let (z, skip, dy, gamma) = (values(18, 20), values(18, 21), values(18, 22), values(3, 23));
    let y_of = |z: &[f32]| -> Vec<f64> {
        let (mean, var) = expected_stats(rows, c, z);
        (0..18)
            .map(|i| {
                f64::from(gamma[i % 3]) * (f64::from(z[i]) - mean[i % 3]) / (var[i % 3] + 1e-5).sqrt()
                    + beta[i % 3]
                    + f64::from(skip[i])
            })
            .map(|v: f64| v.max(0.0))
            .collect()
    };
    let loss = |z: &[f32]| y_of(z).iter().zip(&dy).map(|(y, d)| y * f64::from(*d)).sum::<f64>();
    let (mean, var) = expected_stats(rows, c, &z);
    let mean: Vec<f32> = mean.iter().map(|&v| v as f32).collect();
    let inv: Vec<f32> = var.iter().map(|&v| (1.0 / (v + 1e-5).sqrt()) as f32).collect();
    let y: Vec<f32> = y_of(&z).iter().map(|&v| v as f32).collect();
    let t = norm_backward::Backward {
        rows,
        c,
        z: &z,
        mask: Mask::Output(&y),
        dy: &dy,
        gamma: &gamma,
        mean: &mean,
        inv_std: &inv,
    };
    let got = backward(Isa::Avx512, &t, false);
    for i in 0..18 {
        let (mut up, mut down) = (z.clone(), z.clone());
        up[i] += 1e-3;
        down[i] -= 1e-3;
        let slope = (loss(&up) - loss(&down)) / f64::from(up[i] - down[i]);
        assert!((slope - f64::from(got.dz[i])).abs() < 2e-3, "element {i}: {slope} and {}", got.dz[i]);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (rows, c) = (9000, 24);
    let (z, dy, gamma) = (values(rows * c, 14), values(rows * c, 15), values(c, 16));
    for isa in isas() {
        let all = || {
            let (mean, var) = stats(isa, rows, c, &z);
            let t = norm_backward::Backward {
                rows,
                c,
                z: &z,
                mask: Mask::Output(&z),
                dy: &dy,
                gamma: &gamma,
                mean: &mean,
                inv_std: &var,
            };
            let g = backward(isa, &t, true);
            let mut sums = vec![0.0; c];
            norm::row_sums(isa, rows, c, &dy, &mut sums);
            [mean, var, g.dz, g.dgamma, g.dbeta, g.dskip, sums].concat()
        };
        same_on_all_pools("batch norm", all);
    }
}

#[test]
fn large_outputs_are_streamed_right() {
    // Above the size at which stores go past the caches.
    let (rows, c) = (1 << 16, 32);
    let z = values(rows * c, 17);
    let (a, b) = (values(c, 18), values(c, 19));
    for isa in isas() {
        let mut y = super::super::work::Scratch::new(rows * c);
        // SAFETY: `z` and `y` hold `rows * c` floats apart from each other.
        unsafe { norm::scale_shift(isa, rows, c, z.as_ptr(), &a, &b, None, true, &mut y) };
        let want: Vec<f64> = z
            .iter()
            .enumerate()
            .map(|(i, &v)| (f64::from(a[i % c]) * f64::from(v) + f64::from(b[i % c])).max(0.0))
            .collect();
        close("streamed", &y, &want, 5e-7);
    }
}

#[test]
fn mask_from_the_input_is_the_mask_from_the_output() {
    for (rows, c) in SIZES {
        let (z, dy, a, b) = (values(rows * c, 30), values(rows * c, 31), values(c, 32), values(c, 33));
        for isa in isas() {
            let mut y = vec![0.0; rows * c];
            // SAFETY: `z` and `y` hold `rows * c` floats apart from each other.
            unsafe { norm::scale_shift(isa, rows, c, z.as_ptr(), &a, &b, None, true, &mut y) };
            let run = |mask: Mask| {
                backward(
                    isa,
                    &norm_backward::Backward { rows, c, z: &z, mask, dy: &dy, gamma: &a, mean: &b, inv_std: &a },
                    false,
                )
            };
            let (one, two) = (run(Mask::Output(&y)), run(Mask::Affine(&a, &b)));
            assert_eq!((one.dz, one.dgamma, one.dbeta), (two.dz, two.dgamma, two.dbeta));
        }
    }
}
