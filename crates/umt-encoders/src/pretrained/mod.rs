//! Weights that others trained: from the names and shapes of a file to those of an encoder.
//!
//! Nothing here opens a file or a connection: tensors come in by name, as `umt_store::tensors` or [`pth`] read them.

pub mod known;
pub mod pth;
mod names;

pub use names::{torchvision, unwrapped};

use serde::{Deserialize, Serialize};
use umt_nn::Tensors;

/// How a first convolution over three colours becomes one over another number of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstConv {
    /// The sum over its input channels: a grey picture gives what it gave as three equal colours. timm does the same.
    #[default]
    Sum,
    /// The mean over its input channels: outputs a third as large.
    Mean,
}

/// The first convolution `[out, in, kh, kw]` for `channels` input channels. One channel gets the sum or the mean over
/// the file's channels; any other number is left for the shapes to refuse.
pub fn adapt_first_conv(tensors: &mut Tensors, channels: usize, how: FirstConv) {
    let Some((shape, values)) = tensors.get_mut("conv1.weight") else { return };
    let [output, input, kh, kw] = shape[..] else { return };
    if channels != 1 || input == 1 || values.len() != output * input * kh * kw || values.is_empty() {
        return;
    }
    let taps = kh * kw;
    let scale = match how {
        FirstConv::Sum => 1.0,
        FirstConv::Mean => 1.0 / input as f32,
    };
    let of_output = |filter: &[f32]| {
        (0..taps).map(|tap| filter.iter().skip(tap).step_by(taps).sum::<f32>() * scale).collect::<Vec<_>>()
    };
    *values = values.chunks_exact(input * taps).flat_map(of_output).collect();
    *shape = vec![output, 1, kh, kw];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_colours_become_one_channel() {
        let filter: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let weights = || Tensors::from([("conv1.weight".to_owned(), (vec![2, 3, 1, 2], filter.clone()))]);
        for (how, expected) in [(FirstConv::Sum, [6.0, 9.0, 24.0, 27.0]), (FirstConv::Mean, [2.0, 3.0, 8.0, 9.0])] {
            let mut tensors = weights();
            adapt_first_conv(&mut tensors, 1, how);
            assert_eq!(tensors["conv1.weight"], (vec![2, 1, 1, 2], expected.to_vec()));
        }
        let mut same = weights();
        adapt_first_conv(&mut same, 3, FirstConv::Sum);
        assert_eq!(same, weights());
    }
}
