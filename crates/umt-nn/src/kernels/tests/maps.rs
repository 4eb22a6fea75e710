use super::super::sample::{Sample, Taps, Weights};
use super::super::tables::{self, Factors};
use super::super::{Isa, cross_entropy, elementwise, gate, sample};
use super::{close, isas, same_on_all_pools, values};

/// Height, width, channels: one pixel, odd sizes, channels below, at and above whole vectors.
const SIZES: [[usize; 3]; 7] = [[1, 1, 1], [2, 3, 5], [7, 5, 16], [4, 9, 40], [13, 1, 33], [1, 17, 8], [15, 20, 48]];

fn run(isa: Isa, s: &Sample, x: &[f32], bias: Option<&[f32]>, skip: Option<&[f32]>) -> Vec<f32> {
    let mut y = vec![f32::NAN; s.n * s.rows.outputs() * s.columns.outputs() * s.c];
    sample::forward(isa, s, x, bias, skip, &mut y);
    y
}

/// The same sums over dense matrices `[outputs][sources]`, in f64.
fn separable(n: usize, [h, w]: [usize; 2], c: usize, rows: &[Vec<f64>], columns: &[Vec<f64>], x: &[f32]) -> Vec<f64> {
    let mut y = Vec::new();
    for image in 0..n {
        for row in rows {
            for column in columns {
                for ch in 0..c {
                    let mut sum = 0.0;
                    for (i, a) in row.iter().enumerate() {
                        for (j, b) in column.iter().enumerate() {
                            sum += a * b * f64::from(x[((image * h + i) * w + j) * c + ch]);
                        }
                    }
                    y.push(sum);
                }
            }
        }
    }
    y
}

fn transposed(m: &[Vec<f64>], sources: usize) -> Vec<Vec<f64>> {
    (0..sources).map(|j| m.iter().map(|row| row[j]).collect()).collect()
}

/// Each way of resizing as a matrix, written from its definition.
fn matrix(kind: usize, sources: usize, outputs: usize) -> Vec<Vec<f64>> {
    let ratio = sources as f64 / outputs as f64;
    let row = |i: usize| {
        let mut row = vec![0.0; sources];
        match kind {
            0 => row[((i as f64 * ratio) as usize).min(sources - 1)] = 1.0,
            1 => {
                let at = ((i as f64 + 0.5) * ratio - 0.5).max(0.0);
                let low = at.floor() as usize;
                row[low.min(sources - 1)] += 1.0 - (at - low as f64);
                row[(low + 1).min(sources - 1)] += at - low as f64;
            }
            _ => {
                let (from, to) = ((i as f64 * ratio) as usize, ((i + 1) as f64 * ratio).ceil() as usize);
                row[from..to].fill(1.0 / (to - from) as f64);
            }
        }
        row
    };
    (0..outputs).map(row).collect()
}

fn factors(kind: usize, sources: usize, outputs: usize) -> Factors {
    [Factors::nearest, Factors::bilinear, Factors::adaptive][kind](sources, outputs)
}

#[test]
fn resizing_and_its_way_back_agree_with_matrices() {
    for [h, w, c] in SIZES {
        for (oh, ow) in [(1, 1), (2 * h, 2 * w), (5, 5), (3, 8), (h, w)] {
            for kind in 0..3 {
                let (rows, columns) = (factors(kind, h, oh), factors(kind, w, ow));
                let (a, b) = (matrix(kind, h, oh), matrix(kind, w, ow));
                let (x, dy) = (values(2 * h * w * c, 1), values(2 * oh * ow * c, 2));
                let weights = Weights::Product(&rows.factors, &columns.factors);
                let s = Sample { n: 2, source: [h, w], c, rows: &rows.taps, columns: &columns.taps, weights };
                let y = separable(2, [h, w], c, &a, &b, &x);
                let dx = separable(2, [oh, ow], c, &transposed(&a, h), &transposed(&b, w), &dy);
                let (back_rows, back_columns) = (rows.taps.transposed(h), columns.taps.transposed(w));
                let back = Sample { source: [oh, ow], rows: &back_rows, columns: &back_columns, ..s };
                for isa in isas() {
                    close(&format!("{kind} {h}x{w} to {oh}x{ow} {isa:?}"), &run(isa, &s, &x, None, None), &y, 2e-6);
                    close(
                        &format!("{kind} {oh}x{ow} to {h}x{w} {isa:?}"),
                        &run(isa, &back, &dy, None, None),
                        &dx,
                        2e-6,
                    );
                }
            }
        }
    }
}

#[test]
fn average_windows_agree_with_plain_loops() {
    for (h, window, stride, pad) in [(6, 2, 2, 0), (7, 3, 2, 1), (5, 4, 1, 2), (1, 3, 2, 1)] {
        let table = Factors::average(h, window, stride, pad);
        let outputs = (h + 2 * pad - window) / stride + 1;
        let m: Vec<Vec<f64>> = (0..outputs)
            .map(|i| {
                let inside = |j: usize| j + pad >= i * stride && j + pad < i * stride + window;
                (0..h).map(|j| if inside(j) { 1.0 / window as f64 } else { 0.0 }).collect()
            })
            .collect();
        let x = values(3 * h * h * 17, 3);
        let weights = Weights::Product(&table.factors, &table.factors);
        let s = Sample { n: 3, source: [h, h], c: 17, rows: &table.taps, columns: &table.taps, weights };
        for isa in isas() {
            close("average", &run(isa, &s, &x, None, None), &separable(3, [h, h], 17, &m, &m, &x), 2e-6);
        }
    }
}

/// Learned upsampling against what it stands for: each pixel twice, cut, then nine taps with zeros around.
#[test]
fn upsampling_agrees_with_doubling_and_convolution() {
    for [h, w, c] in SIZES {
        for (oh, ow) in [(2 * h, 2 * w), (2 * h - 1, 2 * w), (2 * h - 1, 2 * w - 1)] {
            let (x, taps, dy) = (values(2 * h * w * c, 4), values(9 * c, 5), values(2 * oh * ow * c, 6));
            let (bias, skip) = (values(c, 7), values(2 * oh * ow * c, 8));
            let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; 9 * c]);
            for o in 0..dy.len() {
                let (ch, j, i, n) = (o % c, o / c % ow, o / c / ow % oh, o / c / ow / oh);
                y[o] = f64::from(bias[ch]) + f64::from(skip[o]);
                for tap in 0..9 {
                    let (Some(r), Some(t)) = ((i + tap / 3).checked_sub(1), (j + tap % 3).checked_sub(1)) else {
                        continue;
                    };
                    if r < oh && t < ow {
                        let from = ((n * h + r / 2) * w + t / 2) * c + ch;
                        y[o] += f64::from(x[from]) * f64::from(taps[tap * c + ch]);
                        dx[from] += f64::from(dy[o]) * f64::from(taps[tap * c + ch]);
                        dw[tap * c + ch] += f64::from(dy[o]) * f64::from(x[from]);
                    }
                }
            }
            let mut got = vec![f32::NAN; y.len()];
            super::super::upsample(2, [h, w], [oh, ow], c, &x, &taps, &bias, Some(&skip), &mut got);
            close(&format!("{h}x{w} to {oh}x{ow}"), &got, &y, 3e-6);
            let (mut gx, mut gw) = (vec![f32::NAN; x.len()], vec![f32::NAN; 9 * c]);
            super::super::upsample_backward(2, [h, w], [oh, ow], c, &x, &taps, &dy, Some(&mut gx), &mut gw);
            close(&format!("back {h}x{w} to {oh}x{ow}"), &gx, &dx, 3e-6);
            close(&format!("weights {h}x{w} to {oh}x{ow}"), &gw, &dw, 3e-6);
        }
    }
}

#[test]
fn gates_agree_with_plain_loops() {
    for (images, rows, c) in [(1, 1, 1), (2, 7, 5), (3, 300, 16), (2, 515, 40), (0, 4, 4), (2, 0, 3)] {
        let len = images * rows * c;
        let (a, b, dy) = (values(len, 9), values(len, 10), values(len, 11));
        let (ga, gb) = (values(images * c, 12), values(images * c, 13));
        let gate_at = |i: usize| i / (rows * c) * c + i % c;
        let f = f64::from;
        let y: Vec<f64> = (0..len).map(|i| f(a[i]) * f(ga[gate_at(i)]) + f(b[i]) * f(gb[gate_at(i)])).collect();
        let dx: Vec<f64> = (0..len).map(|i| f(dy[i]) * f(ga[gate_at(i)])).collect();
        let mut dgate = vec![0.0; images * c];
        (0..len).for_each(|i| dgate[gate_at(i)] += f(dy[i]) * f(a[i]));
        let sum: Vec<f64> = (0..len).map(|i| f(a[i]) + 0.5 * f(ga[gate_at(i)])).collect();
        for isa in isas() {
            let (one, two) = (gate::Stream { x: &a, gate: &ga }, gate::Stream { x: &b, gate: &gb });
            let mut got = vec![f32::NAN; len];
            gate::forward(isa, rows, c, &[one, two], &mut got);
            close("gated sum", &got, &y, 1e-6);
            let (mut gx, mut gg) = (vec![f32::NAN; len], vec![f32::NAN; images * c]);
            gate::backward(isa, rows, c, one, &dy, Some(&mut gx), &mut gg);
            close("gate dx", &gx, &dx, 1e-6);
            close("gate dgate", &gg, &dgate, 3e-6);
            let mut rowwise = a.clone();
            gate::add_rows(isa, rows, c, &ga, 0.5, &mut rowwise);
            close("added rows", &rowwise, &sum, 1e-6);
        }
    }
}

/// Loss and gradient by their formulas in f64; the gradient again as a central difference of the formula.
#[test]
fn cross_entropy_agrees_with_its_formula() {
    for (rows, c, large) in [(1, 1, 1.0), (5, 3, 1.0), (40, 13, 1.0), (1500, 40, 3.0), (9, 17, 1e4)] {
        let logits: Vec<f32> = values(rows * c, 14).iter().map(|v| large * v).collect();
        let labels: Vec<u8> = (0..rows).map(|i| if i % 4 == 1 { 255 } else { (i * 7 % c) as u8 }).collect();
        let weights: Vec<f32> = values(c, 15).iter().map(|v| v + 1.1).collect();
        for (weights, smoothing) in [(None, 0.0f32), (Some(&weights[..]), 0.0), (Some(&weights[..]), 0.2)] {
            let w = |k: usize| weights.map_or(1.0, |w| f64::from(w[k]));
            let s = f64::from(smoothing);
            let row_loss = |row: &[f64], label: usize| {
                let peak = row.iter().fold(f64::MIN, |a, b| a.max(*b));
                let log_sum = peak + row.iter().map(|z| (z - peak).exp()).sum::<f64>().ln();
                let spread: f64 = (0..c).map(|k| w(k) * (log_sum - row[k])).sum();
                (1.0 - s) * w(label) * (log_sum - row[label]) + s / c as f64 * spread
            };
            let (mut loss, mut grad) = (0.0, Vec::new());
            for (row, &label) in logits.chunks_exact(c).zip(&labels) {
                let mut row: Vec<f64> = row.iter().map(|z| f64::from(*z)).collect();
                if label == 255 {
                    grad.extend(vec![0.0; c]);
                    continue;
                }
                loss += row_loss(&row, usize::from(label));
                for k in 0..c {
                    let (old, step) = (row[k], 1e-5);
                    let mut at = |z: f64| {
                        row[k] = z;
                        row_loss(&row, usize::from(label))
                    };
                    grad.push((at(old + step) - at(old - step)) / (2.0 * step));
                    row[k] = old;
                }
            }
            let targets = cross_entropy::Targets { labels: &labels, weights, smoothing };
            let total: f64 = labels.iter().filter(|l| **l != 255).map(|l| w(usize::from(*l))).sum();
            assert!((targets.total(c) - total).abs() < 1e-9 * total.max(1.0));
            for isa in isas() {
                let mut got = vec![f32::NAN; rows * c];
                let value = cross_entropy::run(isa, c, &logits, &targets, 1.0, Some(&mut got));
                assert!((value - loss).abs() <= 2e-6 * loss.abs().max(1.0), "{rows}x{c}: {value} for {loss}");
                close(&format!("gradient {rows}x{c} {isa:?}"), &got, &grad, 3e-5);
                assert_eq!(cross_entropy::run(isa, c, &logits, &targets, 1.0, None), value);
            }
        }
    }
    let nothing = cross_entropy::Targets { labels: &[255, 255], weights: None, smoothing: 0.0 };
    assert_eq!(cross_entropy::run(Isa::Avx512, 2, &[1.0, 2.0, 3.0, 4.0], &nothing, 0.0, None), 0.0);
    let broken = cross_entropy::Targets { labels: &[0], weights: None, smoothing: 0.0 };
    assert!(cross_entropy::run(Isa::Avx512, 2, &[f32::NAN, 1.0], &broken, 1.0, None).is_nan());
}

#[test]
fn distances_agree_with_plain_loops() {
    for len in [0, 1, 17, 5000, 40_000] {
        let (a, b) = (values(len, 16), values(len, 17));
        let sum: f64 = a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        let want: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 0.3 * (f64::from(*a) - f64::from(*b))).collect();
        for isa in isas() {
            let mut grad = vec![f32::NAN; len];
            let got = elementwise::squared_distance(isa, &a, &b, 0.3, &mut grad);
            assert!((got - sum).abs() <= 1e-6 * sum, "{len}: {got} for {sum}");
            close("distance", &grad, &want, 1e-6);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (n, h, w, c) = (3, 31, 40, 40);
    let (x, dy) = (values(n * h * w * c, 18), values(n * h * w * c, 19));
    let (rows, columns) = (tables::convolution(h, h, 3, 1, 1, 1), tables::convolution(w, w, 3, 1, 1, 1));
    let taps = values(9 * c, 20);
    let s = Sample { n, source: [h, w], c, rows: &rows, columns: &columns, weights: Weights::ByChannel(&taps) };
    let labels: Vec<u8> = (0..n * h * w).map(|i| (i % 41) as u8).collect();
    let targets = cross_entropy::Targets { labels: &labels, weights: None, smoothing: 0.1 };
    let stream = gate::Stream { x: &x, gate: &dy[..n * c] };
    for isa in isas() {
        same_on_all_pools("sample", || run(isa, &s, &x, None, None));
        same_on_all_pools("sample weights", || {
            let mut dw = vec![0.0; 9 * c];
            sample::grad_weight(isa, &s, &x, &dy, &mut dw);
            dw
        });
        same_on_all_pools("gate", || {
            let (mut dx, mut dgate) = (vec![0.0; x.len()], vec![0.0; n * c]);
            gate::backward(isa, h * w, c, stream, &dy, Some(&mut dx), &mut dgate);
            dx.extend(dgate);
            dx
        });
        same_on_all_pools("cross-entropy", || {
            let mut grad = vec![0.0; x.len()];
            let loss = cross_entropy::run(isa, c, &x, &targets, 1.0, Some(&mut grad));
            grad.extend([loss as f32, (loss - f64::from(loss as f32)) as f32]);
            grad
        });
        same_on_all_pools("distance", || {
            let mut grad = vec![0.0; x.len()];
            grad[0] = elementwise::squared_distance(isa, &x, &dy, 1.0, &mut grad.clone()) as f32;
            grad
        });
    }
}

/// A table read the other way round holds the same pairs.
#[test]
fn tables_turn_around() {
    for (sources, outputs) in [(1, 1), (5, 9), (5, 10), (7, 13)] {
        let taps = tables::doubled(sources, outputs);
        let there_and_back = taps.transposed(sources).transposed(outputs);
        assert_eq!(format!("{taps:?}"), format!("{there_and_back:?}"));
        let empty = Taps::new(0, 3, |_| []);
        assert_eq!(empty.outputs(), 0);
    }
}
