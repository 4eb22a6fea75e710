//! A Rust file without its comments and strings, so that rules see code only.

use std::path::Path;

use super::{files, name, root};

/// A source file of the project.
pub struct Source {
    /// Relative to the workspace.
    pub name: String,
    /// As it stands.
    pub text: String,
    /// Comments and the insides of strings replaced by blanks; lines keep their numbers.
    pub code: String,
    /// `code` without modules under `#[cfg(test)]`; empty for a file of tests.
    pub shipped: String,
}

impl Source {
    /// Numbered lines of `shipped` that hold one of `words`.
    pub fn shipped_lines_with(&self, words: &[&str]) -> Vec<String> {
        let hit = |line: &str| words.iter().any(|word| holds(line, word));
        let lines = self.shipped.lines().enumerate().filter(|(_, line)| hit(line));
        lines.map(|(i, line)| format!("{}:{}: {}", self.name, i + 1, line.trim())).collect()
    }
}

/// Whether `line` holds `word`, not as the end of a longer name.
fn holds(line: &str, word: &str) -> bool {
    let starts_name = word.starts_with(|c: char| c.is_alphanumeric());
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !(starts_name && before.is_some_and(|c| c.is_alphanumeric() || c == '_'))
    })
}

/// All Rust files of the project.
pub fn all() -> Vec<Source> {
    let rust = |path: &Path| path.extension().is_some_and(|end| end == "rs");
    let paths = files(&root()).into_iter().filter(|path| rust(path));
    paths.map(|path| source(name(&path), std::fs::read_to_string(&path).unwrap_or_default())).collect()
}

fn source(name: String, text: String) -> Source {
    let code = code(&text);
    let parts: Vec<&str> = name.split('/').collect();
    let tests =
        ["tests", "benches", "examples"].iter().any(|folder| parts.contains(folder)) || name.ends_with("tests.rs");
    let shipped = if tests { String::new() } else { without_tests(&code) };
    Source { name, text, code, shipped }
}

/// Blanks comments and the insides of strings and characters.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    // Copies what must stay for the line count, blanks the rest.
    let blank = |out: &mut String, c: char| out.push(if c == '\n' { '\n' } else { ' ' });
    while i < chars.len() {
        let end = match at(i) {
            '/' if at(i + 1) == '/' => line_end(&chars, i),
            '/' if at(i + 1) == '*' => comment_end(&chars, i),
            'r' if raw_hashes(&chars, i).is_some() => {
                let hashes = raw_hashes(&chars, i).unwrap_or(0);
                raw_end(&chars, i + 2 + hashes, hashes)
            }
            '"' => string_end(&chars, i),
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => char_end(&chars, i),
            c => {
                out.push(c);
                i += 1;
                continue;
            }
        };
        chars[i..end].iter().for_each(|c| blank(&mut out, *c));
        i = end;
    }
    out
}

fn line_end(chars: &[char], from: usize) -> usize {
    (from..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
}

fn comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut i = from;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

/// The number of `#` of a raw string that starts at `from`.
fn raw_hashes(chars: &[char], from: usize) -> Option<usize> {
    let named = from > 0 && (chars[from - 1].is_alphanumeric() || chars[from - 1] == '_');
    let byte = from > 0 && chars[from - 1] == 'b';
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    let opens = chars.get(from + 1 + hashes) == Some(&'"');
    (opens && (!named || byte)).then_some(hashes)
}

fn raw_end(chars: &[char], from: usize, hashes: usize) -> usize {
    let closes =
        |i: &usize| chars[*i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (from..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes)
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn char_end(chars: &[char], from: usize) -> usize {
    let first = if chars[from + 1] == '\\' { from + 3 } else { from + 2 };
    (first..chars.len()).find(|i| chars[*i] == '\'').map_or(chars.len(), |i| i + 1)
}

/// Blanks every item under `#[cfg(test)]`, up to its closing brace or semicolon.
fn without_tests(code: &str) -> String {
    let mut out = code.to_string();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let body = rest.find(['{', ';']).unwrap_or(rest.len());
        let mut depth = 0;
        let closes = |(_, c): &(usize, char)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        };
        let end = rest[body..].char_indices().find(closes).map_or(rest.len(), |(i, _)| body + i + 1);
        let blanked: String = rest[..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        out.replace_range(start..start + end, &blanked);
    }
    out
}

#[test]
fn only_code_is_seen() {
    let text = r##"
fn f<'a>(x: &'a str) -> char { // println!
    let s = "println! \" { "; /* a /* b */ println! */ g('"', '\'', r#"unsafe " "#)
}
#[cfg(test)]
mod tests { fn h() { x.unwrap() } }
fn k() { x.y() }"##;
    let found = source("crates/a/src/lib.rs".to_string(), text.to_string());
    assert!(!found.code.contains("println") && !found.code.contains("unsafe"));
    assert!(found.code.contains("x.unwrap()") && !found.shipped.contains("x.unwrap()"));
    assert!(found.shipped.contains("fn f<'a>(x: &'a str)") && found.shipped.contains("x.y()"));
    assert_eq!(found.code.lines().count(), text.lines().count());
    assert_eq!(found.shipped_lines_with(&["y("]).len(), 1);
    assert!(holds("fs::write(x)", "fs::write") && !holds("rfs::write(x)", "fs::write"));
    assert!(source("tests/src/a.rs".to_string(), text.to_string()).shipped.is_empty());
}
