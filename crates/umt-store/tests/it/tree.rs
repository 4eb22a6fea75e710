//! What the tests of this crate share.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// All files below `root` but a holder's lock with their contents, by path relative to it.
pub fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("run.lock") {
                let name = path.strip_prefix(root).expect("inside").display().to_string();
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// Names of temporary files below `root`.
pub fn leftovers(root: &Path) -> Vec<String> {
    tree(root).into_keys().filter(|name| name.ends_with("-tmp")).collect()
}
