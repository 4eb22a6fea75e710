//! What identifies the files of a sample: their content, or their size and time.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// Sets of up to this many bytes are identified by all of them.
pub(crate) const WHOLE: u64 = 1 << 30;
/// Bytes of each end that identify a file of a larger set.
const END: u64 = 4096;

/// The file, or the files of the folder in the order of their names.
fn parts(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = path.read_dir() else { return vec![path.to_owned()] };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

/// Tells paths apart in 8 bytes.
pub(crate) fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// Bytes of a file or of all files of a folder; 0 if there is nothing.
pub(crate) fn size(path: &Path) -> u64 {
    parts(path).iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Digest of a file's or folder's content: all of it, or size and both ends.
pub(crate) fn content(path: &Path, whole: bool) -> String {
    let of = |file: &PathBuf| match whole {
        true => umt_store::digest_file(file).map(|digest| digest.sha256).ok(),
        false => ends(file).ok().map(|bytes| umt_store::sha256_hex(&bytes)),
    };
    let digests = parts(path).iter().map(|file| of(file).unwrap_or_else(|| "absent".into())).collect::<Vec<_>>();
    digests.join("/")
}

fn ends(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = umt_media::open_regular(path)?;
    let length = file.metadata()?.len();
    let mut bytes = length.to_le_bytes().to_vec();
    file.by_ref().take(END).read_to_end(&mut bytes)?;
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    file.take(END).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Size and time of a file, of every file of a folder; 0 for what is not there.
pub(crate) fn stamp(path: &Path) -> String {
    let of = |path: &Path| {
        let Ok(meta) = path.metadata() else { return "0".to_owned() };
        let time = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        format!("{}@{}", meta.len(), time.map_or(0, |t| t.as_nanos()))
    };
    let mut text = of(path);
    if path.is_dir() {
        for file in parts(path) {
            let _ = write!(text, "/{}", of(&file));
        }
    }
    text
}
