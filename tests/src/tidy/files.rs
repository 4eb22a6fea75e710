//! Files: their size, their place in the tree of modules, what stands at their top.

use std::collections::BTreeSet;
use std::path::Path;

use super::source::all;
use super::{files, name, none, root};

const MOST_LINES: usize = 400;

#[test]
fn files_are_short() {
    let long = |(name, lines): &(String, usize)| (*lines > MOST_LINES).then(|| format!("{name}: {lines} lines"));
    let sizes: Vec<_> = all().into_iter().map(|s| (s.name, s.text.lines().count())).collect();
    assert!(sizes.len() > 50, "{} source files found", sizes.len());
    none("files of at most 400 lines", sizes.iter().filter_map(long).collect());
}

#[test]
fn every_file_is_a_module_somewhere() {
    let sources = all();
    let mut modules = BTreeSet::new();
    for source in &sources {
        let words: Vec<&str> = source.code.split_whitespace().collect();
        let declared = words.windows(2).filter(|pair| pair[0] == "mod");
        modules.extend(declared.map(|pair| pair[1].trim_end_matches([';', '{']).to_string()));
    }
    let mut findings = Vec::new();
    for source in &sources {
        let path = Path::new(&source.name);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new(""));
        let is_root = ["lib", "main", "it", "build"].contains(&stem)
            || ["tests", "benches", "examples", "bin"].iter().any(|end| folder.ends_with(end));
        let module =
            if stem == "mod" { folder.file_name().and_then(|name| name.to_str()).unwrap_or_default() } else { stem };
        if !is_root && !modules.contains(module) {
            findings.push(format!("{}: no `mod {module}` names it", source.name));
        }
    }
    none("files that are not compiled", findings);
}

#[test]
fn crates_say_what_they_are_for() {
    let mut findings = Vec::new();
    for source in all() {
        let top = ["src/lib.rs", "src/main.rs"].iter().any(|end| source.name.ends_with(end));
        if !source.text.starts_with("//!") {
            let module = source.name.contains("/src/") && !source.name.contains("tests");
            if module {
                findings.push(format!("{}: no `//!` at its top", source.name));
            }
        } else if top && source.name.starts_with("crates/") {
            let docs: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
            if !docs.iter().any(|line| line.contains("assert")) {
                findings.push(format!("{}: no example with asserted numbers", source.name));
            }
        }
    }
    none("documentation", findings);
}

#[test]
fn every_data_set_has_its_papers() {
    let mut findings = Vec::new();
    let folders = std::fs::read_dir(root().join("datasets")).into_iter().flatten().filter_map(Result::ok);
    let mut count = 0;
    for folder in folders.map(|entry| entry.path()).filter(|path| path.is_dir()) {
        count += 1;
        let found: Vec<String> =
            files(&folder).iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_string())).collect();
        if found != ["README.md", "manifest.toml"] {
            findings.push(format!("{}: {found:?}", name(&folder)));
        }
        let manifest = std::fs::read_to_string(folder.join("manifest.toml")).unwrap_or_default();
        for key in ["name = ", "form = ", "licence = "] {
            if !manifest.lines().any(|line| line.starts_with(key)) {
                findings.push(format!("{}: manifest.toml without {key}", name(&folder)));
            }
        }
    }
    assert!(count >= 3, "{count} data sets");
    none("datasets hold README.md and manifest.toml, no payload", findings);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for path in files(&root()).into_iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let here = path.parent().unwrap_or(Path::new(""));
            if !file.is_empty() && !file.contains("://") && !here.join(file).exists() {
                findings.push(format!("{}: {target}", name(&path)));
            }
        }
    }
    none("links to files that are not there", findings);
}

#[test]
fn dependencies_come_from_the_registry_alone() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap_or_default();
    let sources: Vec<&str> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    assert!(sources.len() > 50, "{}", sources.len());
    let others = sources.into_iter().filter(|line| !line.starts_with("source = \"registry+"));
    none("dependencies from the registry", others.map(str::to_owned).collect());
}
