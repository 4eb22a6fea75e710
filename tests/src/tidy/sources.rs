//! Calls that are forbidden, and where.

use super::none;
use super::source::{Source, all};

fn lines_with(words: &[&str], applies: impl Fn(&str) -> bool) -> Vec<String> {
    let sources = all();
    let those = sources.iter().filter(|source| applies(&source.name));
    those.flat_map(|source| source.shipped_lines_with(words)).collect()
}

fn library(name: &str) -> bool {
    name.starts_with("crates/")
}

#[test]
fn only_the_store_writes() {
    let calls = [
        "fs::write(",
        "fs::rename(",
        "fs::copy(",
        "fs::remove_",
        "fs::create_dir",
        "fs::hard_link",
        "File::create",
        "OpenOptions::new",
        "File::options",
        ".set_len(",
        "fs::set_permissions",
    ];
    // A switch of the kernel's, which looks like a file.
    let allowed = |name: &str| name.starts_with("crates/umt-store/") || name == "crates/umt-run/src/memory.rs";
    none("only umt-store writes", lines_with(&calls, |name| !allowed(name)));
}

#[test]
fn one_place_prints() {
    let calls = ["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!("];
    none("only xtask/src/out.rs prints, which knows of closed pipes", lines_with(&calls, |_| true));
}

#[test]
fn libraries_do_not_end_the_process() {
    let calls = ["process::exit(", "process::abort(", "env::set_var(", "env::set_current_dir("];
    none("a library returns an error instead", lines_with(&calls, library));
}

#[test]
fn errors_are_values() {
    let calls = [".unwrap()", ".expect(", "todo!(", "unimplemented!("];
    none("an error is a value outside tests", lines_with(&calls, |_| true));
}

#[test]
fn randomness_is_keyed() {
    let calls = ["thread_rng", "rand::random", "from_entropy", "from_os_rng", "Tensor::rand", "fastrand::"];
    none("random numbers come from umt_random::stream", lines_with(&calls, |_| true));
}

/// Methods are forbidden by `clippy.toml`; this adds loops over the map itself.
#[test]
fn hash_order_reaches_no_result() {
    let mut findings = Vec::new();
    for source in all() {
        for map in hash_maps(&source) {
            let ways = [".iter()", ".iter_mut()", ".into_iter()", ".keys()", ".values()", ".drain()"];
            let mut forbidden: Vec<String> = ways.iter().map(|way| format!("{map}{way}")).collect();
            for before in ["in ", "in &", "in &mut "] {
                forbidden.push(format!("{before}{map} "));
            }
            let words: Vec<&str> = forbidden.iter().map(String::as_str).collect();
            findings.extend(source.shipped_lines_with(&words));
        }
    }
    none("the order of a hash map differs from run to run", findings);
}

/// Names of variables and fields that are hash maps or sets.
fn hash_maps(source: &Source) -> Vec<String> {
    let mut names = Vec::new();
    for line in source.shipped.lines() {
        for kind in ["HashMap", "HashSet"] {
            let Some(at) = line.find(kind) else { continue };
            let before = line[..at].trim_end_matches([' ', '=', ':', '&', '<']);
            let before = before.strip_suffix("mut").unwrap_or(before);
            let end = before.trim_end_matches([' ', ':', '&']);
            let name: String = end.chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let name: String = name.chars().rev().collect();
            if !name.is_empty() && !["use", "collections", "std"].contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    names
}

#[test]
fn unsafe_is_explained_and_in_the_kernels_only() {
    let mut findings = Vec::new();
    for source in all() {
        let text: Vec<&str> = source.text.lines().collect();
        let mut declares = false;
        for (i, line) in source.code.lines().enumerate() {
            let uses = ["unsafe {", "unsafe impl", "unsafe extern"].iter().any(|word| line.contains(word));
            declares |= line.contains("unsafe fn") || line.contains("unsafe trait");
            let place = format!("{}:{}", source.name, i + 1);
            if (uses || declares) && !source.name.starts_with("crates/umt-nn/") {
                findings.push(format!("{place}: outside the kernels"));
            }
            if uses && !explained(&text, i) {
                findings.push(format!("{place}: no SAFETY comment above it"));
            }
        }
        if declares && !text.iter().any(|line| says(line)) {
            findings.push(format!("{}: declares unsafe functions, says nowhere what callers owe", source.name));
        }
    }
    none("unsafe", findings);
}

/// Whether a comment above line `i`, with attributes or the start of the statement between, or the
/// first line of the block says why it is sound.
fn explained(lines: &[&str], i: usize) -> bool {
    let part = |line: &&&str| {
        let line = line.trim();
        line.starts_with("//") || line.starts_with("#[") || line.ends_with(['=', '(', '{', '|'])
    };
    let beside = lines[i..].iter().take(2).any(|line| says(line));
    beside || lines[..i].iter().rev().take_while(part).any(|line| says(line))
}

fn says(line: &str) -> bool {
    line.contains("SAFETY:") || line.contains("# Safety")
}
