//! The formula that golden weights and inputs come from, and comparisons with golden values.

use serde_json::Value;
use umt_nn::Array;

/// The script's formula: uniform in [-0.5, 0.5).
pub fn noise(count: usize, salt: u64) -> impl Iterator<Item = f64> {
    (0..count as u64).map(move |i| {
        let mut h = i.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503 + 12_345) & 0xffff_ffff;
        for _ in 0..2 {
            h = (h ^ (h >> 16)).wrapping_mul(0x045d_9f3b) & 0xffff_ffff;
        }
        (h ^ (h >> 16)) as f64 / 4_294_967_296.0 - 0.5
    })
}

/// The same array with the axes of a picture channels-last; the formula counts channels-first.
fn channels_last(shape: &[usize], values: &[f32]) -> Array {
    let [.., c, h, w] = *shape else { panic!("{shape:?}") };
    let lead: usize = shape[..shape.len() - 3].iter().product();
    let mut out = vec![0.0; values.len()];
    for n in 0..lead {
        for (i, &value) in values[n * c * h * w..][..c * h * w].iter().enumerate() {
            out[n * c * h * w + (i % (h * w)) * c + i / (h * w)] = value;
        }
    }
    let shape = [&shape[..shape.len() - 3], &[h, w, c]].concat();
    Array::from_slice(&shape, &out).unwrap()
}

pub fn picture(shape: &[usize], salt: u64) -> Array {
    let values: Vec<f32> = noise(shape.iter().product(), salt).map(|x| (4.0 * x) as f32).collect();
    channels_last(shape, &values)
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

pub fn close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (g, e) in got.iter().zip(expected) {
        assert!((f64::from(*g) - e).abs() <= tolerance * largest, "{what}: {got:?} for {expected:?}");
    }
}
