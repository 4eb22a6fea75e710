//! `docs/RELIABILITY.md`: every test that it names exists.

use std::collections::BTreeSet;
use std::error::Error;

use super::source::all;
use super::{none, root};

#[test]
fn every_named_test_exists() -> Result<(), Box<dyn Error>> {
    let mut tests = BTreeSet::new();
    for source in all() {
        let lines: Vec<&str> = source.code.lines().map(str::trim).collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, line)| **line == "#[test]") {
            let after = lines[i + 1..].iter().find_map(|line| line.strip_prefix("fn "));
            let test = after.and_then(|rest| rest.split('(').next());
            tests.insert((source.name.clone(), test.ok_or(format!("{line} of {i}"))?.to_string()));
        }
    }
    let mut findings = Vec::new();
    let mut named = 0;
    let text = std::fs::read_to_string(root().join("docs/RELIABILITY.md"))?;
    for row in text.lines().filter(|line| line.starts_with("| R")) {
        // The last column: `file` test, test; `file` test.
        let column = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        for group in column.split(';') {
            let mut parts = group.split('`').map(str::trim);
            let (_, Some(file), Some(names)) = (parts.next(), parts.next(), parts.next()) else {
                findings.push(format!("no `file` and tests in: {group}"));
                continue;
            };
            for test in names.split(',').map(str::trim) {
                named += 1;
                if !tests.contains(&(file.to_string(), test.to_string())) {
                    findings.push(format!("{file} has no test {test}"));
                }
            }
        }
    }
    assert!(named > 5, "{named} tests named");
    none("tests named in docs/RELIABILITY.md", findings);
    Ok(())
}
