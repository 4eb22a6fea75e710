//! Other libraries' names of a ResNet's parameters.

use umt_nn::Tensors;

/// The tensors under torchvision's names, which are the encoders' own.
///
/// timm's ResNets have these names already. Wrappers are taken off (see [`unwrapped`]),
/// transformers' names (`resnet.encoder.stages.0.layers.0.layer.0.convolution`) are translated, and the counters of
/// batch-norm layers (`num_batches_tracked`), which decide nothing here, are left out.
pub fn torchvision(tensors: Tensors) -> Tensors {
    let mut renamed = Tensors::new();
    for (name, tensor) in unwrapped(tensors) {
        if name == "num_batches_tracked" || name.ends_with(".num_batches_tracked") {
            continue;
        }
        renamed.insert(transformers(&name).unwrap_or(name), tensor);
    }
    renamed
}

/// The tensors without what wrappers put before each name: `module.` of data-parallel training, `_orig_mod.` of
/// `torch.compile`, in any order.
pub fn unwrapped(mut tensors: Tensors) -> Tensors {
    while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| tensors.keys().all(|name| name.starts_with(**wrapper))) {
        if tensors.is_empty() {
            break;
        }
        tensors = tensors.into_iter().map(|(name, tensor)| (name[wrapper.len()..].to_owned(), tensor)).collect();
    }
    tensors
}

const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// The name in torchvision of a parameter of transformers' `ResNetForImageClassification`.
fn transformers(name: &str) -> Option<String> {
    if let Some(end) = name.strip_prefix("classifier.1.") {
        return Some(format!("fc.{end}"));
    }
    let rest = name.strip_prefix("resnet.")?;
    if let Some(end) = rest.strip_prefix("embedder.embedder.") {
        let (part, end) = end.split_once('.')?;
        return Some(format!("{}.{end}", layer(part, "conv1", "bn1")?));
    }
    // stages.S.layers.L.layer.K.convolution.weight, stages.S.layers.L.shortcut.convolution.weight
    let parts: Vec<&str> = rest.strip_prefix("encoder.stages.")?.split('.').collect();
    let (&[stage, "layers", block], rest) = parts.split_first_chunk::<3>()? else { return None };
    let place = format!("layer{}.{block}", stage.parse::<usize>().ok()?.checked_add(1)?);
    match *rest {
        ["shortcut", part, end] => Some(format!("{place}.{}.{end}", layer(part, "downsample.0", "downsample.1")?)),
        ["layer", index, part, end] => {
            let number = index.parse::<usize>().ok()?.checked_add(1)?;
            Some(format!("{place}.{}{number}.{end}", layer(part, "conv", "bn")?))
        }
        _ => None,
    }
}

fn layer<'n>(part: &str, convolution: &'n str, normalization: &'n str) -> Option<&'n str> {
    match part {
        "convolution" => Some(convolution),
        "normalization" => Some(normalization),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_transformers_are_translated() {
        for (theirs, ours) in [
            ("resnet.embedder.embedder.convolution.weight", "conv1.weight"),
            ("resnet.embedder.embedder.normalization.running_var", "bn1.running_var"),
            ("resnet.encoder.stages.0.layers.1.layer.0.convolution.weight", "layer1.1.conv1.weight"),
            ("resnet.encoder.stages.3.layers.0.layer.2.normalization.bias", "layer4.0.bn3.bias"),
            ("resnet.encoder.stages.1.layers.0.shortcut.convolution.weight", "layer2.0.downsample.0.weight"),
            ("resnet.encoder.stages.1.layers.0.shortcut.normalization.weight", "layer2.0.downsample.1.weight"),
            ("classifier.1.bias", "fc.bias"),
        ] {
            assert_eq!(transformers(theirs).as_deref(), Some(ours));
        }
        for other in ["conv1.weight", "layer1.0.bn1.weight", "resnet.pooler.weight", "resnet.encoder.stages.x.layers.0"]
        {
            assert_eq!(transformers(other), None);
        }
    }

    #[test]
    fn wrappers_and_counters_are_taken_off() {
        let one = || (vec![1], vec![1.0]);
        for wrapper in ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."] {
            let names = ["conv1.weight", "bn1.num_batches_tracked"].map(|name| format!("{wrapper}{name}"));
            let tensors: Tensors = names.into_iter().map(|name| (name, one())).collect();
            assert_eq!(torchvision(tensors).into_keys().collect::<Vec<_>>(), ["conv1.weight"], "{wrapper}");
        }
        assert!(torchvision(Tensors::new()).is_empty());
    }
}
