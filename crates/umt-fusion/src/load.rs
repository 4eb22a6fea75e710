//! Weights from elsewhere into a network.

use crate::Network;
use crate::encode::prefix;
use umt_encoders::pretrained::{FirstConv, adapt_first_conv, torchvision};
use umt_media::Modality;
use umt_nn::{NnError, Tensors};

impl Network {
    /// Takes every parameter from a file's tensors: under the network's own names (`encoder.audio.conv1.weight`,
    /// `head.weight`) or, for a network of one modality, under torchvision's (`conv1.weight`, `fc.weight`).
    ///
    /// # Errors
    /// [`NnError::Mismatch`] lists every name that is missing, unexpected or ill-shaped; nothing has changed then.
    pub fn load(&mut self, tensors: Tensors) -> Result<(), NnError> {
        let tensors = torchvision(tensors);
        let only: Vec<Modality> = self.modalities().collect();
        let own = tensors.keys().any(|name| name.starts_with("encoder."));
        let tensors = match only[..] {
            [modality] if !own => {
                let name = |name: String| match name.strip_prefix("fc.") {
                    Some(end) => format!("head.{end}"),
                    None => format!("{}{name}", prefix(modality)),
                };
                tensors.into_iter().map(|(key, tensor)| (name(key), tensor)).collect()
            }
            _ => tensors,
        };
        self.params_mut().load_tensors(&tensors)
    }

    /// Takes the parameters of one encoder: a published ResNet, whose classifier is left out, or the encoder of
    /// another network of this project, of the same modality or the only one there.
    ///
    /// # Errors
    /// [`NnError::Mismatch`] as in [`Network::load`]; [`NnError::Setting`] for a modality the network does not have.
    pub fn load_encoder(&mut self, modality: Modality, tensors: Tensors, how: FirstConv) -> Result<(), NnError> {
        let own = prefix(modality);
        if self.modalities().all(|m| m != modality) {
            return Err(NnError::Setting(format!("the network has no encoder of {modality}")));
        }
        let mut tensors = encoder_of(torchvision(tensors), &own);
        tensors.retain(|name, _| !name.starts_with("fc."));
        // In memory `[kh, kw, in, out]`.
        let channels = self.params().get(&format!("{own}conv1.weight")).and_then(|p| p.value.shape().get(2).copied());
        if let Some(channels) = channels {
            adapt_first_conv(&mut tensors, channels, how);
        }
        self.params_mut().load_under(&own, &tensors)
    }
}

/// The encoder's part of a whole network's tensors, or all of them when they are no network's.
fn encoder_of(tensors: Tensors, own: &str) -> Tensors {
    let prefixes = || {
        tensors
            .keys()
            .filter_map(|name| Some(name.split_inclusive('.').nth(1)?).filter(|_| name.starts_with("encoder.")))
    };
    let wanted = own.trim_start_matches("encoder.");
    let mut there: Vec<&str> = prefixes().collect();
    there.dedup();
    let from = match there[..] {
        [] => return tensors,
        [only] => format!("encoder.{only}"),
        _ => format!("encoder.{wanted}"),
    };
    tensors.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&from)?.to_owned(), tensor))).collect()
}
