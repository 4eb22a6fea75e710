//! What decides the content of a cache: the samples' files, the stored form and the version of the decoders.

use crate::{DataConfig, DataError, Dataset, Source, files};
use std::{collections::HashMap, fmt::Write as _};
use umt_store::Sha256Text;

/// Raised when the stored form changes, so that older caches are made again.
const FORMAT: u32 = 3;

/// What decides the content of the cache, as 64 hex digits.
pub(crate) fn of(set: &Dataset, config: &DataConfig) -> Result<String, DataError> {
    let audio = config.audio.as_ref();
    let audio = audio.map(|a| (&a.front_end, a.seconds, a.window, a.fill, a.min_seconds));
    let video = config.video.as_ref().map(|v| (v.select, v.candidates, v.size));
    let rgb = config.rgb.as_ref().map(|rgb| rgb.stored);
    let depth = config.depth.as_ref().map(|depth| (depth.size, depth.raw, depth.unit, depth.rotated));
    let settings =
        serde_json::to_string(&(FORMAT, audio, video, rgb, depth, &config.tolerate, &set.synthetic, &set.rooms))
            .map_err(|error| DataError::config("data", error.to_string()))?;
    let mut text = format!("{settings} {:?} {}\n", set.dense, umt_version());
    let whole = set.is_small();
    let mut digest = Sha256Text::default();
    let mut shared: HashMap<u64, String> = HashMap::new();
    for sample in set.iter() {
        let _ = write!(text, "{:?}", sample.id());
        for (name, source) in sample.parts() {
            match source {
                Source::Synthetic(number) => {
                    let _ = write!(text, " {name}={number}:{}", sample.label());
                }
                Source::Path(ref path) | Source::Frame(ref path, _) => {
                    let shown = path.strip_prefix(&set.root).unwrap_or(path);
                    let frame = if let Source::Frame(_, frame) = source { format!("#{frame}") } else { String::new() };
                    // A clip that holds audio and video, or a file of many frames, is read once.
                    let content = shared.entry(files::hash(path)).or_insert_with(|| match whole {
                        true => files::content(path, true),
                        false => format!("{}:{}", files::content(path, false), files::stamp(path)),
                    });
                    let _ = write!(text, " {name}={}{frame}:{content}", shown.display());
                }
            }
        }
        text.push('\n');
        digest.push(&text);
        text.clear();
    }
    digest.push(&text);
    Ok(digest.hex())
}

/// Decoders and generators change with the crate's version.
fn umt_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
