//! Weights from elsewhere into a network.

use crate::Network;
use umt_encoders::pretrained::{FirstConv, adapt_first_conv, torchvision};
use umt_media::Modality;
use umt_nn::{NnError, Params, Tensors};

impl Network {
    /// Takes every parameter from a file's tensors: under the network's own names (`encoder.audio.conv1.weight`,
    /// `head.weight`; with a decoder those of the published ESANet) or, for a classifier of one modality, under torchvision's
    /// (`conv1.weight`, `fc.weight`).
    ///
    /// # Errors
    /// [`NnError::Mismatch`] lists every name that is missing, unexpected or ill-shaped; nothing has changed then.
    pub fn load(&mut self, tensors: Tensors) -> Result<(), NnError> {
        let tensors = torchvision(tensors);
        let only: Vec<Modality> = self.modalities().collect();
        let own = tensors.keys().any(|name| name.starts_with("encoder."));
        let tensors = match only[..] {
            [modality] if !own && !self.is_dense() => {
                let name = |name: String| match name.strip_prefix("fc.") {
                    Some(end) => format!("head.{end}"),
                    None => format!("{}{name}", self.prefix(modality)),
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
    /// [`NnError::Mismatch`] as in [`Network::load`]; [`NnError::Unsupported`] for a modality the network does not have.
    pub fn load_encoder(&mut self, modality: Modality, tensors: Tensors, how: FirstConv) -> Result<(), NnError> {
        if !self.modalities().any(|own| own == modality) {
            return Err(NnError::Unsupported(format!("the network has no encoder of {modality}")));
        }
        let own = self.prefix(modality);
        load_encoder(self.params_mut(), modality, &own, tensors, how)
    }
}

fn load_encoder(
    params: &mut Params,
    modality: Modality,
    own: &str,
    tensors: Tensors,
    how: FirstConv,
) -> Result<(), NnError> {
    let mut tensors = encoder_of(torchvision(tensors), modality, own);
    tensors.retain(|name, _| !name.starts_with("fc."));
    // In memory `[kh, kw, in, out]`.
    let channels = params.get(&format!("{own}conv1.weight")).and_then(|p| p.value.shape().get(2).copied());
    if let Some(channels) = channels {
        adapt_first_conv(&mut tensors, channels, how);
    }
    params.load_under(own, &tensors)
}

/// The part of a whole network's tensors that is the encoder of `modality`, or its only one; all of them if it has none.
fn encoder_of(tensors: Tensors, modality: Modality, own: &str) -> Tensors {
    let first = |name: &String| {
        let ends = ["conv1.weight", "stem.0.weight"];
        let prefix = ends.iter().find_map(|end| name.strip_suffix(end))?;
        (prefix.starts_with("encoder") && !prefix.contains("layer")).then(|| prefix.to_owned())
    };
    let there: Vec<String> = tensors.keys().filter_map(first).collect();
    let named = [own.to_owned(), format!("encoder.{modality}."), format!("encoder_{modality}.")];
    let from = match named.into_iter().find(|name| there.contains(name)) {
        Some(name) => name,
        None if there.len() == 1 => there.concat(),
        None => return tensors,
    };
    tensors.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&from)?.to_owned(), tensor))).collect()
}
