use super::super::scale::{products, scale};
use super::{close, isas, same_on_all_pools, values};

#[test]
fn scaled_channels_agree_with_plain_loops() {
    for [groups, rows, c] in
        [[1, 1, 1], [2, 3, 17], [3, 200, 16], [5, 1, 4], [2, 129, 33], [0, 4, 4], [2, 0, 3], [2, 3, 0]]
    {
        let (x, gate, dy) = (values(groups * rows * c, 1), values(groups * c, 2), values(groups * rows * c, 3));
        let (mut y, mut dgate) = (vec![0.0f64; x.len()], vec![0.0f64; gate.len()]);
        for i in 0..x.len() {
            let at = i / (rows * c) * c + i % c;
            y[i] = f64::from(x[i]) * f64::from(gate[at]);
            dgate[at] += f64::from(x[i]) * f64::from(dy[i]);
        }
        for isa in isas() {
            let (mut got, mut back) = (vec![f32::NAN; x.len()], vec![f32::NAN; gate.len()]);
            scale(isa, [groups, rows, c], &x, &gate, &mut got);
            products(isa, [groups, rows, c], &x, &dy, &mut back);
            close("scaled", &got, &y, 1e-7);
            close("gradient to the gate", &back, &dgate, 2e-6);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (groups, rows, c) = (6, 400, 40);
    let (x, dy, gate) = (values(groups * rows * c, 4), values(groups * rows * c, 5), values(groups * c, 6));
    for isa in isas() {
        same_on_all_pools("scaled channels", || {
            let (mut y, mut dgate) = (vec![0.0; x.len()], vec![0.0; gate.len()]);
            scale(isa, [groups, rows, c], &x, &gate, &mut y);
            products(isa, [groups, rows, c], &x, &dy, &mut dgate);
            y.extend(dgate);
            y
        });
    }
}
