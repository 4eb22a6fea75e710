//! The list of repositories that are known to fit: `known.toml`.

use serde::Deserialize;

/// A repository of the Hub with pretrained weights.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// `owner/name`.
    pub id: String,
    /// The encoder it fits, at its published width and stem.
    pub kind: String,
    /// The licence of the weights (SPDX).
    pub licence: String,
    /// The commit that is meant when no revision is named.
    pub commit: String,
    /// The file with the weights.
    pub file: String,
    /// Its SHA-256, where known.
    #[serde(default)]
    pub sha256: Option<String>,
    /// What it was trained on.
    pub about: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    repository: Vec<Repository>,
}

/// All of them, in the order of the list.
pub fn repositories() -> Vec<Repository> {
    // A test reads the list: it cannot be broken here.
    toml::from_str::<Manifest>(include_str!("known.toml")).map(|manifest| manifest.repository).unwrap_or_default()
}

/// The one with this id.
pub fn repository(id: &str) -> Option<Repository> {
    repositories().into_iter().find(|repository| repository.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_read_and_pins_commits() {
        let manifest: Manifest = toml::from_str(include_str!("known.toml")).expect("the list");
        assert!(manifest.repository.len() >= 4);
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        for (i, r) in manifest.repository.iter().enumerate() {
            assert!(r.commit.len() == 40 && hex(&r.commit), "{}", r.id);
            assert!(r.sha256.as_ref().is_none_or(|s| s.len() == 64 && hex(s)), "{}", r.id);
            assert!(crate::EncoderConfig::examples().iter().any(|(kind, _)| *kind == r.kind), "{}", r.id);
            assert!(manifest.repository[..i].iter().all(|other| other.id != r.id), "{} is listed twice", r.id);
        }
    }
}
