//! Words that do not belong into any file of the project.

use super::source::all;
use super::{files, name, none, root};

#[test]
fn unfinished_work_is_finished() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("for ", "now"),
        concat!("place", "holder"),
        concat!("not ", "implemented"),
        concat!("#[ig", "nore"),
        concat!("should_", "panic"),
    ];
    let mut findings = Vec::new();
    for source in all() {
        for (i, line) in source.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                findings.push(format!("{}:{}: {word}", source.name, i + 1));
            }
        }
    }
    none("unfinished work", findings);
}

#[test]
fn files_speak_of_the_project_alone() {
    let words = [
        concat!("/wo", "rk/"),
        concat!(".lib", "rary"),
        concat!("sub", "agent"),
        concat!("crates.", "io-"),
        concat!("index.", "crates"),
        concat!("/ro", "ot/"),
        concat!("/tm", "p/"),
    ];
    let mut findings = Vec::new();
    for path in files(&root()) {
        // Not text: nothing to read. The lock file names its registry.
        let (Ok(text), false) = (std::fs::read_to_string(&path), path.ends_with("Cargo.lock")) else {
            continue;
        };
        for (i, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                findings.push(format!("{}:{}: {word}", name(&path), i + 1));
            }
        }
    }
    none("words that do not belong", findings);
}

#[test]
fn nothing_large_is_stored() {
    let mut findings = Vec::new();
    for path in files(&root()) {
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if bytes > 300_000 {
            findings.push(format!("{}: {bytes} bytes", name(&path)));
        }
    }
    none("files under 300,000 bytes", findings);
}
