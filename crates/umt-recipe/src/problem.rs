//! What is wrong with a recipe, and where in its text.

use crate::source::{Tree, stage_table};
use std::ops::Range;
use toml::de::DeValue;

/// Something wrong, and where it stands.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The keys that lead to it; an element of `stage` is named by its id.
    path: Vec<String>,
    /// A string value under that path which is the culprit.
    culprit: Option<String>,
    /// What to tell.
    pub message: String,
}

impl Problem {
    pub fn new(path: &[&str], culprit: Option<&str>, message: String) -> Problem {
        Problem { path: path.iter().map(|p| (*p).into()).collect(), culprit: culprit.map(str::to_owned), message }
    }

    /// The span in the tree, as near as it can be found.
    pub fn span(&self, tree: &Tree<'_>) -> Range<usize> {
        let (mut table, mut span, rest) = match self.path.as_slice() {
            [first, id, rest @ ..] if first == "stage" => match stage_table(tree, id) {
                // A setting of training that the stage does not name stands in the recipe's own [train].
                Some((table, _)) if rest.first().is_some_and(|r| r == "train") && !has(table, rest) => {
                    (Some(tree), 0..0, rest)
                }
                Some((table, span)) => (Some(table), span, rest),
                None => (None, 0..0, rest),
            },
            path => (Some(tree), 0..0, path),
        };
        let mut value = None;
        for step in rest {
            let Some((k, v)) = table.and_then(|t| t.iter().find(|(k, _)| k.get_ref() == step)) else { break };
            span = k.span();
            table = v.get_ref().as_table();
            value = Some(v.get_ref());
        }
        let whole = table.cloned().map(DeValue::Table);
        let within = value.cloned().or(whole);
        self.culprit.as_ref().zip(within).and_then(|(c, v)| text_span(&v, c)).unwrap_or(span)
    }
}

fn has(table: &Tree<'_>, path: &[String]) -> bool {
    match path {
        [] => true,
        [key, rest @ ..] => match table.get(key.as_str()).map(toml::Spanned::get_ref) {
            Some(DeValue::Table(table)) => has(table, rest),
            Some(_) => rest.is_empty(),
            None => false,
        },
    }
}

fn text_span(value: &DeValue<'_>, text: &str) -> Option<Range<usize>> {
    let hit = |v: &toml::Spanned<DeValue<'_>>| match v.get_ref().as_str() {
        Some(s) if s == text => Some(v.span()),
        _ => text_span(v.get_ref(), text),
    };
    match value {
        DeValue::Array(array) => array.iter().find_map(hit),
        DeValue::Table(table) => table.iter().find_map(|(_, v)| hit(v)),
        _ => None,
    }
}
