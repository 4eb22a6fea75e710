use super::super::{ConvShape, Isa, conv};
use super::{close, isas, same_on_all_pools, values};

fn shape(
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    k: usize,
    kh: usize,
    kw: usize,
    stride: usize,
    pad: usize,
) -> ConvShape {
    ConvShape { n, h, w, c, k, kh, kw, stride: [stride; 2], pad: [pad; 2], dilation: [1; 2], groups: 1 }
}

/// Calls `f(x, w, y)` with the three positions of every multiplication.
fn each(s: &ConvShape, mut f: impl FnMut(usize, usize, usize)) {
    let (oh, ow, cg, kg) = (s.out_h(), s.out_w(), s.c / s.groups, s.k / s.groups);
    for n in 0..s.n {
        for i in 0..oh {
            for j in 0..ow {
                for r in 0..s.kh {
                    for t in 0..s.kw {
                        let (Some(y), Some(x)) = (
                            (i * s.stride[0] + r * s.dilation[0]).checked_sub(s.pad[0]),
                            (j * s.stride[1] + t * s.dilation[1]).checked_sub(s.pad[1]),
                        ) else {
                            continue;
                        };
                        if y >= s.h || x >= s.w {
                            continue;
                        }
                        for k in 0..s.k {
                            for c in 0..cg {
                                let from = ((n * s.h + y) * s.w + x) * s.c + k / kg * cg + c;
                                f(from, ((r * s.kw + t) * cg + c) * s.k + k, ((n * oh + i) * ow + j) * s.k + k);
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Case {
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    dy: Vec<f32>,
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
}

fn case(s: &ConvShape) -> Case {
    s.check().expect("a valid shape");
    let (x, w, b, dy) = (values(s.x_len(), 1), values(s.w_len(), 2), values(s.k, 3), values(s.y_len(), 4));
    let (mut y, mut dx, mut dw) = (vec![0.0; y_len(s)], vec![0.0; s.x_len()], vec![0.0; s.w_len()]);
    y.iter_mut().enumerate().for_each(|(i, y)| *y = f64::from(b[i % s.k]));
    each(s, |i, j, o| {
        y[o] += f64::from(x[i]) * f64::from(w[j]);
        dx[i] += f64::from(dy[o]) * f64::from(w[j]);
        dw[j] += f64::from(dy[o]) * f64::from(x[i]);
    });
    Case { x, w, b, dy, y, dx, dw }
}

fn y_len(s: &ConvShape) -> usize {
    s.y_len()
}

fn forward(isa: Isa, s: &ConvShape, c: &Case) -> Vec<f32> {
    let mut y = vec![f32::NAN; s.y_len()];
    conv::forward(isa, s, &c.x, &c.w, Some(&c.b), false, &mut y);
    let mut positive = vec![f32::NAN; s.y_len()];
    conv::forward(isa, s, &c.x, &c.w, Some(&c.b), true, &mut positive);
    assert!(y.iter().zip(&positive).all(|(y, p)| y.max(0.0) == *p), "the ReLU of {s:?}");
    y
}

fn grad_input(isa: Isa, s: &ConvShape, c: &Case) -> Vec<f32> {
    let mut dx = vec![f32::NAN; s.x_len()];
    conv::grad_input(isa, s, &c.dy, &c.w, &mut dx);
    dx
}

fn grad_weight(isa: Isa, s: &ConvShape, c: &Case) -> Vec<f32> {
    let mut dw = vec![f32::NAN; s.w_len()];
    conv::grad_weight(isa, s, &c.x, &c.dy, &mut dw);
    dw
}

fn shapes() -> Vec<ConvShape> {
    let mut all = Vec::new();
    // Kernel and stride.
    for (k, pad) in [(1, 0), (3, 1), (3, 0), (7, 3), (2, 1)] {
        for stride in 1..=4 {
            all.push(shape(2, 9, 11, 5, 7, k, k, stride, pad));
            all.push(shape(1, 8, 8, 16, 16, k, k, stride, pad));
        }
    }
    // Channels.
    for (c, k) in
        [(1, 1), (3, 16), (1, 32), (16, 32), (32, 16), (45, 20), (48, 64), (17, 33), (64, 45), (144, 16), (16, 230)]
    {
        all.push(shape(2, 6, 7, c, k, 3, 3, 1, 1));
        all.push(shape(2, 7, 6, c, k, 3, 3, 2, 1));
        all.push(shape(1, 5, 5, c, k, 1, 1, 1, 0));
        all.push(shape(1, 5, 5, c, k, 1, 1, 2, 0));
    }
    // Small images, one pixel, batch of many, large image.
    for (n, h, w) in
        [(1, 1, 1), (3, 1, 1), (5, 2, 2), (7, 4, 4), (1, 1, 9), (2, 13, 1), (9, 8, 8), (1, 40, 37), (33, 5, 3)]
    {
        all.push(shape(n, h, w, 16, 16, 3, 3, 1, 1));
        all.push(shape(n, h, w, 16, 48, 3, 3, 2, 1));
        all.push(shape(n, h, w, 3, 16, 3, 3, 2, 1));
    }
    // Few tiles, many channels.
    all.push(shape(2, 8, 8, 144, 132, 3, 3, 2, 1));
    all.push(shape(2, 8, 7, 64, 80, 3, 3, 2, 1));
    all.push(shape(3, 17, 31, 20, 40, 3, 3, 2, 1));
    all.push(shape(3, 32, 24, 16, 32, 3, 3, 2, 1));
    all.push(shape(1, 7, 7, 300, 140, 3, 3, 1, 1));
    all.push(shape(2, 7, 7, 144, 132, 3, 3, 1, 1));
    // Stems.
    for (c, k, kw) in [(3, 16, 3), (1, 16, 3), (3, 64, 3), (2, 48, 5), (1, 32, 7), (4, 16, 2)] {
        all.push(shape(3, 11, 29, c, k, 3, kw, 2, 1));
        all.push(shape(3, 12, 8, c, k, 3, kw, 1, 1));
    }
    // No images.
    all.push(shape(0, 4, 4, 16, 16, 3, 3, 1, 1));
    all.push(shape(0, 4, 4, 3, 5, 3, 3, 2, 1));
    // Temporal and other rectangular kernels, mixed strides, dilation, groups, wide padding.
    let base = shape(2, 8, 9, 16, 16, 3, 1, 1, 0);
    // Along one axis by F(4, 3): whole tiles and cut ones, many channels, a few tiles, all paddings.
    for (h, w, c, k) in [(8, 8, 16, 16), (7, 12, 17, 33), (15, 20, 144, 132), (16, 16, 48, 20), (4, 3, 260, 140)] {
        for pad in 0..=2 {
            all.push(ConvShape { pad: [pad, 0], ..shape(2, h, w, c, k, 3, 1, 1, 0) });
            all.push(ConvShape { pad: [0, pad], ..shape(2, h, w, c, k, 1, 3, 1, 0) });
        }
    }
    all.push(ConvShape { pad: [1, 0], ..base });
    all.push(ConvShape { pad: [1, 0], stride: [2, 1], ..base });
    all.push(ConvShape { kh: 1, kw: 3, pad: [0, 1], stride: [1, 3], ..base });
    all.push(ConvShape { kw: 3, pad: [2, 2], dilation: [2, 2], ..base });
    all.push(ConvShape { kw: 3, pad: [2, 1], dilation: [2, 1], stride: [2, 2], ..base });
    all.push(ConvShape { kw: 3, pad: [3, 3], dilation: [3, 2], stride: [1, 2], ..base });
    all.push(ConvShape { kw: 3, pad: [1, 1], groups: 4, ..base });
    all.push(ConvShape { kw: 3, pad: [1, 1], groups: 16, ..base });
    all.push(ConvShape { kw: 3, pad: [1, 1], groups: 2, stride: [2, 2], k: 20, ..base });
    all.push(ConvShape { kw: 3, pad: [2, 2], ..base });
    all.push(ConvShape { kw: 3, pad: [5, 4], ..base });
    all.push(shape(1, 3, 3, 2, 3, 5, 5, 1, 2));
    all.push(shape(1, 23, 38, 3, 64, 7, 7, 2, 3));
    all
}

#[test]
fn convolutions_agree_with_plain_loops() {
    for s in shapes() {
        let c = case(&s);
        for isa in isas() {
            close(&format!("forward {isa:?} {s:?}"), &forward(isa, &s, &c), &c.y, 6e-6);
            close(&format!("grad input {isa:?} {s:?}"), &grad_input(isa, &s, &c), &c.dx, 6e-6);
            close(&format!("grad weight {isa:?} {s:?}"), &grad_weight(isa, &s, &c), &c.dw, 6e-6);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let some = [
        shape(9, 20, 19, 16, 16, 3, 3, 1, 1),
        shape(9, 20, 19, 16, 32, 3, 3, 2, 1),
        shape(5, 30, 31, 3, 16, 3, 3, 2, 1),
        shape(4, 9, 9, 64, 96, 3, 3, 1, 1),
        shape(3, 14, 14, 45, 30, 3, 3, 1, 1),
        shape(4, 16, 16, 32, 64, 1, 1, 2, 0),
        // Along one axis, with few and with many channels; depth-wise.
        ConvShape { pad: [1, 0], ..shape(3, 20, 18, 32, 48, 3, 1, 1, 0) },
        ConvShape { pad: [0, 1], ..shape(5, 16, 20, 144, 132, 1, 3, 1, 0) },
        ConvShape { groups: 24, ..shape(3, 20, 18, 24, 24, 3, 3, 1, 1) },
    ];
    for s in some {
        let c = case(&s);
        for isa in isas() {
            same_on_all_pools("forward", || forward(isa, &s, &c));
            same_on_all_pools("grad input", || grad_input(isa, &s, &c));
            same_on_all_pools("grad weight", || grad_weight(isa, &s, &c));
        }
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    for s in [
        shape(7, 8, 8, 16, 16, 3, 3, 1, 1),
        shape(7, 10, 9, 16, 32, 3, 3, 2, 1),
        shape(7, 9, 9, 3, 16, 3, 3, 2, 1),
        shape(7, 4, 4, 32, 48, 1, 1, 1, 0),
        ConvShape { pad: [1, 0], ..shape(7, 8, 9, 16, 32, 3, 1, 1, 0) },
        ConvShape { pad: [0, 1], ..shape(7, 7, 8, 16, 32, 1, 3, 1, 0) },
    ] {
        let c = case(&s);
        for isa in isas() {
            let all = forward(isa, &s, &c);
            let (xs, ys) = (s.x_len() / s.n, s.y_len() / s.n);
            let one = ConvShape { n: 1, ..s };
            for i in 0..s.n {
                let mut y = vec![0.0; ys];
                conv::forward(isa, &one, &c.x[i * xs..][..xs], &c.w, Some(&c.b), false, &mut y);
                assert_eq!(y, all[i * ys..][..ys], "sample {i} of {s:?} on {isa:?}");
            }
        }
    }
}

#[test]
fn unaligned_slices_are_fine() {
    let s = shape(2, 9, 8, 16, 16, 3, 3, 1, 1);
    let c = case(&s);
    let shifted = |v: &[f32]| [&[0.0], v].concat();
    let (x, w, dy) = (shifted(&c.x), shifted(&c.w), shifted(&c.dy));
    for isa in isas() {
        let (mut y, mut dx, mut dw) = (vec![0.0; s.y_len() + 1], vec![0.0; s.x_len() + 1], vec![0.0; s.w_len() + 1]);
        conv::forward(isa, &s, &x[1..], &w[1..], Some(&c.b), false, &mut y[1..]);
        conv::grad_input(isa, &s, &dy[1..], &w[1..], &mut dx[1..]);
        conv::grad_weight(isa, &s, &x[1..], &dy[1..], &mut dw[1..]);
        assert_eq!(y[1..], forward(isa, &s, &c));
        assert_eq!(dx[1..], grad_input(isa, &s, &c));
        assert_eq!(dw[1..], grad_weight(isa, &s, &c));
    }
}

#[test]
fn wrong_shapes_are_named() {
    let good = shape(1, 4, 4, 4, 4, 3, 3, 1, 1);
    assert!(good.check().is_ok());
    let says = |s: ConvShape| s.check().expect_err("a wrong shape").to_string();
    assert!(says(ConvShape { c: 0, ..good }).contains("input channels is 0"));
    assert!(says(ConvShape { groups: 3, ..good }).contains("4 channels do not divide into 3 groups"));
    assert!(says(ConvShape { kh: 7, ..good }).contains("window of 7"));
    assert!(says(ConvShape { stride: [1, 0], ..good }).contains("stride is 0"));
}
