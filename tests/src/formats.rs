//! `docs/FORMATS.md`: every row names files or tests that exist, and a test uses them.

use std::fs;

fn workspace() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_row_of_the_table_is_tested() {
    let text = fs::read_to_string(workspace().join("docs/FORMATS.md")).unwrap();
    let mut rows = 0;
    let mut findings = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| files |")) {
        rows += 1;
        let column = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        let files: Vec<&str> = column.split('`').skip(1).step_by(2).collect();
        if files.is_empty() {
            findings.push(format!("no file in: {row}"));
        }
        for file in files {
            let path = workspace().join("crates").join(file);
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let room = workspace().join("crates").join(file.split('/').next().unwrap_or_default());
            let used = name.ends_with(".rs") || sources(&room).iter().any(|text| mentions(text, name));
            if !path.is_file() || !used {
                findings.push(format!("{file} is not there, or no test names it"));
            }
        }
    }
    assert!(rows > 20, "{rows} rows");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// The test sources of a crate, and the tables of expected values that tests go through.
fn sources(room: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![room.join("src"), room.join("tests")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs" || end == "json") {
                found.push(fs::read_to_string(path).unwrap_or_default());
            }
        }
    }
    found
}

/// By its name, or by its stem as the key of a table.
fn mentions(text: &str, name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name);
    [name, stem].iter().any(|name| text.contains(&format!("\"{name}\"")))
}
