//! The test frames that a segmentation stage keeps for people: inputs, truth and prediction.

use umt_data::SceneData;
use umt_store::tensors::Tensors;

/// How many frames are kept.
pub const COUNT: usize = 5;

/// Adds frame `k` with what a network says of it.
pub(crate) fn keep(frames: &mut Tensors, k: usize, scene: &SceneData, predicted: &[u8]) {
    let mut put = |part: &str, shape: Vec<usize>, values: Vec<f32>| {
        frames.insert(format!("{k}.{part}"), (shape, values));
    };
    let bytes = |bytes: &[u8]| bytes.iter().map(|&v| f32::from(v)).collect();
    if let Some(rgb) = &scene.rgb {
        put("rgb", vec![rgb.shape[0], rgb.shape[1], 3], bytes(&rgb.data));
    }
    if let Some(depth) = &scene.depth {
        put("depth", depth.shape.to_vec(), depth.data.iter().map(|&mm| f32::from(mm)).collect());
    }
    put("truth", scene.map.shape.to_vec(), bytes(&scene.map.data));
    put("predicted", scene.map.shape.to_vec(), bytes(predicted));
}
