//! Who may depend on whom: `cargo metadata` against `docs/ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::Command;

use serde_json::Value;

use super::{none, root};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The lines of the block fenced with `kind`, split at `between` into a name and a set of names.
fn listed(kind: &str, between: &str) -> Result<Arrows, Box<dyn Error>> {
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md"))?;
    let block = text.split(&format!("```{kind}\n")).nth(1).and_then(|rest| rest.split("```").next());
    let mut arrows = Arrows::new();
    for line in block.ok_or(format!("no block `{kind}`"))?.lines() {
        let (from, to) = line.split_once(between).ok_or(format!("\"{line}\" has no `{between}`"))?;
        let to = to.split_whitespace().map(str::to_string).collect();
        if arrows.insert(from.trim().to_string(), to).is_some() {
            return Err(format!("{from} is listed twice").into());
        }
    }
    Ok(arrows)
}

/// What every package of the workspace depends on, apart from its tests' needs.
fn real() -> Result<Arrows, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut arrows = Arrows::new();
    for package in metadata["packages"].as_array().ok_or("no packages")? {
        let shipped = |dependency: &&Value| dependency["kind"].as_str() != Some("dev");
        let all = package["dependencies"].as_array().ok_or("no dependencies")?;
        let to = all.iter().filter(shipped).map(|dependency| text(&dependency["name"])).collect();
        arrows.insert(text(&package["name"]), to);
    }
    arrows.remove("umt-tests");
    Ok(arrows)
}

#[test]
fn arrows_are_the_listed_ones() -> Result<(), Box<dyn Error>> {
    let (listed, real) = (listed("arrows", "->")?, real()?);
    let mut findings = Vec::new();
    for room in listed.keys().chain(real.keys()).collect::<BTreeSet<_>>() {
        let (Some(allowed), Some(used)) = (listed.get(room), real.get(room)) else {
            findings.push(format!("{room} is only in the list or only in the workspace"));
            continue;
        };
        let ours: BTreeSet<_> = used.iter().filter(|name| real.contains_key(*name)).collect();
        let new = ours.iter().filter(|name| !allowed.contains(**name));
        findings.extend(new.map(|name| format!("{room} -> {name} is not in the list")));
        let unused = allowed.iter().filter(|name| !ours.contains(name));
        findings.extend(unused.map(|name| format!("{room} -> {name} is in the list and not used")));
    }
    none("arrows of docs/ARCHITECTURE.md", findings);
    Ok(())
}

#[test]
fn outside_libraries_stay_in_their_rooms() -> Result<(), Box<dyn Error>> {
    let (only, real) = (listed("only", " only ")?, real()?);
    let mut findings = Vec::new();
    for (room, used) in &real {
        for (library, rooms) in &only {
            let of_library =
                |name: &&String| *name == library || name.strip_prefix(library).is_some_and(|end| end.starts_with('-'));
            if used.iter().any(|name| of_library(&name)) && !rooms.contains(room) {
                findings.push(format!("{room} depends on {library}"));
            }
        }
    }
    none("libraries of docs/ARCHITECTURE.md", findings);
    Ok(())
}

/// An unused dependency costs every user's build.
#[test]
fn every_dependency_is_used() -> Result<(), Box<dyn Error>> {
    let sources = super::source::all();
    let mut findings = Vec::new();
    for (room, used) in real()? {
        let folder = if room == "xtask" { "xtask/src/".to_string() } else { format!("crates/{room}/src/") };
        for library in used {
            let word = library.replace('-', "_");
            let mut own = sources.iter().filter(|source| source.name.starts_with(&folder));
            if !own.any(|source| source.code.contains(&word)) {
                findings.push(format!("{room} does not use {library}"));
            }
        }
    }
    none("dependencies that are not used", findings);
    Ok(())
}

#[test]
fn dependencies_stand_once_and_with_a_reason() -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let block = text.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let lines = block.ok_or("no workspace dependencies")?.lines();
    let unexplained = lines.filter(|line| {
        !line.is_empty() && !line.contains("path = ") && !line.contains(" # ") && !line.starts_with('#')
    });
    let mut findings: Vec<String> = unexplained.map(|line| format!("no reason: {line}")).collect();
    for path in super::files(&root()) {
        if !path.ends_with("Cargo.toml") || path == root().join("Cargo.toml") {
            continue;
        }
        let manifest = std::fs::read_to_string(&path)?;
        let section = |line: &str| line.ends_with("dependencies]");
        let mut inside = false;
        for line in manifest.lines() {
            inside = if line.starts_with('[') { section(line) } else { inside };
            if inside && line.contains('=') && !line.contains("workspace = true") {
                findings.push(format!("{}: {line}", super::name(&path)));
            }
        }
    }
    none("dependencies", findings);
    Ok(())
}
