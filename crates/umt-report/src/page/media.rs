//! Clips inside the page, as long as they are small.

use super::html::escape;
use crate::base64::base64;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes of one file.
const MOST_EACH: u64 = 600_000;
/// Bytes of all files, so that a page stays below 10 MB and opens at once.
const MOST_ALL: u64 = 6_000_000;

/// Files of samples by id.
pub(super) struct Media<'a> {
    files: &'a BTreeMap<String, Vec<PathBuf>>,
    left: u64,
}

impl<'a> Media<'a> {
    pub fn new(files: &'a BTreeMap<String, Vec<PathBuf>>) -> Self {
        Self { files, left: MOST_ALL }
    }

    /// Players and images of a sample; a file that is too large, or of a kind that browsers do not play, by its name.
    pub fn of(&mut self, id: &str) -> String {
        let Some(files) = self.files.get(id) else { return String::new() };
        files.iter().map(|file| self.one(id, file)).collect()
    }

    fn one(&mut self, id: &str, file: &Path) -> String {
        let named = || format!("<p class=\"dim\">{}</p>", escape(&file.display().to_string()));
        let size = std::fs::metadata(file).map_or(u64::MAX, |m| if m.is_file() { m.len() } else { u64::MAX });
        let end = file.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        let Some((tag, mime)) = kind(&end).filter(|_| size <= MOST_EACH.min(self.left)) else { return named() };
        let Ok(bytes) = std::fs::read(file) else { return named() };
        self.left = self.left.saturating_sub(bytes.len() as u64);
        let (id, data) = (escape(id), base64(&bytes));
        match tag {
            "img" => format!("<img alt=\"image of {id}\" src=\"data:{mime};base64,{data}\">"),
            tag => format!(
                "<{tag} controls preload=\"metadata\" aria-label=\"clip {id}\" src=\"data:{mime};base64,{data}\"></{tag}>"
            ),
        }
    }
}

/// Element and type by a file's ending.
fn kind(end: &str) -> Option<(&'static str, &'static str)> {
    Some(match end {
        "mp4" | "m4v" | "mov" => ("video", "video/mp4"),
        "webm" => ("video", "video/webm"),
        "wav" => ("audio", "audio/wav"),
        "mp3" => ("audio", "audio/mpeg"),
        "ogg" | "oga" => ("audio", "audio/ogg"),
        "flac" => ("audio", "audio/flac"),
        "m4a" | "aac" => ("audio", "audio/mp4"),
        "jpg" | "jpeg" => ("img", "image/jpeg"),
        "png" => ("img", "image/png"),
        _ => return None,
    })
}
