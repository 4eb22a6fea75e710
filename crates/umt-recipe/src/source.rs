//! Recipe text to a tree that remembers where each value stands.
//!
//! Recipe, `[quick]` and `--set` are merged as trees whose nodes keep their location, and only then read
//! into types: so one set of types checks all three, and an error in any of them still names its own
//! line and column. Arguments of `--set` are given places behind the end of the file.

use crate::error::{Location, RecipeError};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The text of one recipe, with the arguments that change it.
pub struct Source {
    file: String,
    text: String,
    /// Each argument of `--set`, with the offset at which its value starts in the joint count of bytes.
    sets: Vec<(String, usize)>,
    /// Values of the arguments as small documents, padded so that their places do not overlap.
    documents: Vec<(Vec<String>, String)>,
}

/// A table with the place of every key and value.
pub type Tree<'a> = DeTable<'a>;

impl Source {
    /// `file` is only for messages. Each of `sets` is `key=value` with a dotted key.
    ///
    /// # Errors
    /// An argument without `=` or with an empty key.
    pub fn new(file: &str, text: &str, sets: &[String]) -> Result<Source, RecipeError> {
        let mut source = Source { file: file.into(), text: text.into(), sets: Vec::new(), documents: Vec::new() };
        let mut at = text.len() + 1;
        for set in sets {
            let Some((key, value)) = set.split_once('=') else {
                return Err(source.argument(set, "expected KEY=VALUE, such as train.epochs=3"));
            };
            let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
            if path.iter().any(String::is_empty) {
                return Err(source.argument(set, "expected a dotted key before `=`, such as train.epochs=3"));
            }
            let value = value.trim();
            let pad = " ".repeat(at);
            let mut document = format!("{pad}v = {value}");
            // What is no TOML value is a string without its quotes: `data.set=av-digits`.
            if DeTable::parse(&document).is_err() {
                if value.starts_with(['"', '\'', '[', '{']) {
                    return Err(source.argument(set, "the value is not valid TOML"));
                }
                document = format!("{pad}v = {}", quote(value));
            }
            let end = document.len() + 1;
            source.documents.push((path, document));
            source.sets.push((set.clone(), at));
            at = end;
        }
        Ok(source)
    }

    /// The tree of the file, without the arguments.
    ///
    /// # Errors
    /// Text that is not TOML.
    pub fn tree(&self) -> Result<Tree<'_>, RecipeError> {
        DeTable::parse(&self.text).map(Spanned::into_inner).map_err(|e| self.error(&e, None))
    }

    /// Applies the `--set` arguments in their order.
    ///
    /// # Errors
    /// A key that leads through something which is not a table; a stage that does not exist.
    pub fn apply_sets<'a>(&'a self, tree: &mut Tree<'a>) -> Result<(), RecipeError> {
        for (i, (path, document)) in self.documents.iter().enumerate() {
            let table = DeTable::parse(document).map_err(|e| self.error(&e, None))?;
            let Some((key, value)) = table.into_inner().into_iter().next() else { continue };
            if let Err(message) = set(tree, path, key.span(), value) {
                return Err(self.argument(&self.sets[i].0, &message));
            }
        }
        Ok(())
    }

    /// Reads the tree into a type.
    ///
    /// # Errors
    /// The first key or value that does not fit, with its place and the valid names.
    pub fn read<T: DeserializeOwned>(&self, tree: Tree<'_>) -> Result<T, RecipeError> {
        let kept = tree.clone();
        let root = Spanned::new(0..self.text.len(), tree);
        T::deserialize(toml::de::Deserializer::from(root)).map_err(|e| self.error(&e, Some(&kept)))
    }

    /// An error at a span of the joint text.
    pub fn invalid(&self, span: Range<usize>, message: String) -> RecipeError {
        RecipeError::Invalid { location: self.location(span.start), message }
    }

    fn argument(&self, set: &str, message: &str) -> RecipeError {
        RecipeError::Invalid { location: Location::Argument(set.into()), message: message.into() }
    }

    fn location(&self, at: usize) -> Location {
        if let Some((set, _)) = self.sets.iter().rev().find(|(_, start)| at >= *start) {
            return Location::Argument(set.clone());
        }
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        Location::File { file: self.file.clone(), line, column }
    }

    fn error(&self, error: &toml::de::Error, tree: Option<&Tree<'_>>) -> RecipeError {
        let mut span = error.span().unwrap_or(0..0);
        let mut message = error.message().trim().replace('\n', ", ");
        if let Some((name, valid)) = unknown_name(&message) {
            // A tagged table is read through a buffer that forgets places below its own.
            if let Some(found) = tree.and_then(|t| find(t, &span, name)) {
                span = found;
            }
            if let Some(near) = valid.iter().min_by_key(|v| distance(name, v)).filter(|v| distance(name, v) <= 2) {
                message = format!("{message}; did you mean `{near}`?");
            }
        }
        self.invalid(span, message)
    }
}

/// Merges `over` into `base`: tables by key, everything else replaces.
///
/// A table with another `kind` replaces the old one, whose other keys belong to the old kind; `epochs`
/// replaces `steps` and the reverse. Arrays of tables with ids (`stage`) merge by id.
///
/// # Errors
/// The span and id of an entry in such an array that `base` does not have.
pub fn merge<'a>(base: &mut Tree<'a>, over: Tree<'a>) -> Result<(), (Range<usize>, String)> {
    for (one, other) in [("epochs", "steps"), ("steps", "epochs")] {
        if over.contains_key(one) && !over.contains_key(other) {
            base.remove(other);
        }
    }
    for (key, value) in over {
        let span = value.span();
        let merged = match (base.remove(key.get_ref().as_ref()).map(Spanned::into_inner), value.into_inner()) {
            (Some(DeValue::Table(mut old)), DeValue::Table(new)) => {
                let kind = |t: &Tree<'_>| t.get("kind").and_then(|k| k.get_ref().as_str()).map(str::to_owned);
                if kind(&new).is_some() && kind(&new) != kind(&old) {
                    DeValue::Table(new)
                } else {
                    merge(&mut old, new)?;
                    DeValue::Table(old)
                }
            }
            (Some(DeValue::Array(mut old)), DeValue::Array(new))
                if !new.is_empty() && new.iter().all(|v| id(v.get_ref()).is_some()) =>
            {
                for entry in new.into_iter() {
                    let location = entry.span();
                    let name = id(entry.get_ref()).unwrap_or_default().to_owned();
                    let DeValue::Table(entry) = entry.into_inner() else { continue };
                    match old.iter_mut().find(|v| id(v.get_ref()) == Some(&name)).map(Spanned::get_mut) {
                        Some(DeValue::Table(table)) => merge(table, entry)?,
                        _ => return Err((location, name)),
                    }
                }
                DeValue::Array(old)
            }
            (_, new) => new,
        };
        base.insert(key, Spanned::new(span, merged));
    }
    Ok(())
}

/// The `id` of a table.
pub fn id<'v>(value: &'v DeValue<'_>) -> Option<&'v str> {
    value.as_table()?.get("id")?.get_ref().as_str()
}

/// Puts `value` at a dotted path. `stage.<id>.<key>` names an entry of the array `stage` by its id, dots included.
fn set<'a>(
    tree: &mut Tree<'a>,
    path: &'a [String],
    location: Range<usize>,
    value: Spanned<DeValue<'a>>,
) -> Result<(), String> {
    let [first, rest @ ..] = path else { return Err("the key is empty".into()) };
    if rest.is_empty() {
        let mut over = Tree::new();
        over.insert(Spanned::new(location, Cow::Borrowed(first.as_str())), value);
        for (one, other) in [("epochs", "steps"), ("steps", "epochs")] {
            if first == one {
                tree.remove(other);
            }
        }
        tree.remove(first.as_str());
        return merge(tree, over).map_err(|(_, id)| id);
    }
    if !tree.contains_key(first.as_str()) {
        let span = location.clone();
        tree.insert(
            Spanned::new(span.clone(), Cow::Borrowed(first.as_str())),
            Spanned::new(span, DeValue::Table(Tree::new())),
        );
    }
    match tree.get_mut(first.as_str()).map(Spanned::get_mut) {
        Some(DeValue::Table(table)) => set(table, rest, location, value),
        Some(DeValue::Array(array)) => {
            let ids: Vec<String> = array.iter().filter_map(|v| id(v.get_ref()).map(str::to_owned)).collect();
            let joined = rest.join(".");
            // The longest id wins: `teacher.audio.train.lr` belongs to `teacher.audio`, not to a stage `teacher`.
            let found = ids
                .iter()
                .filter(|id| joined.starts_with(&format!("{id}.")))
                .max_by_key(|id| id.len())
                .ok_or_else(|| format!("`{first}.` must be followed by one of {} and a key", list(&ids)))?;
            let steps = found.split('.').count();
            match array.iter_mut().find(|v| id(v.get_ref()) == Some(found)).map(Spanned::get_mut) {
                Some(DeValue::Table(table)) => set(table, &rest[steps..], location, value),
                _ => Err(format!("`{first}` is not an array of tables")),
            }
        }
        _ => Err(format!("`{first}` is a value, not a table: it has no key `{}`", rest.join("."))),
    }
}

/// The span of the key or value called `name` inside `within`.
fn find(tree: &Tree<'_>, within: &Range<usize>, name: &str) -> Option<Range<usize>> {
    let inside = |s: &Range<usize>| within.is_empty() || (s.start >= within.start && s.end <= within.end);
    fn walk(value: &DeValue<'_>, name: &str, out: &mut Vec<Range<usize>>) {
        match value {
            DeValue::Table(t) => table(t, name, out),
            DeValue::Array(a) => a.iter().for_each(|v| {
                if v.get_ref().as_str() == Some(name) {
                    out.push(v.span());
                }
                walk(v.get_ref(), name, out);
            }),
            _ => {}
        }
    }
    fn table(tree: &Tree<'_>, name: &str, out: &mut Vec<Range<usize>>) {
        for (k, v) in tree {
            if k.get_ref() == name {
                out.push(k.span());
            }
            if v.get_ref().as_str() == Some(name) {
                out.push(v.span());
            }
            walk(v.get_ref(), name, out);
        }
    }
    let mut all = Vec::new();
    table(tree, name, &mut all);
    // A table written as `[a.b]` has the span of its header alone, so its keys follow instead of lying inside.
    all.iter().find(|s| inside(s)).or_else(|| all.iter().find(|s| s.start >= within.start)).or(all.first()).cloned()
}

/// `name` and the valid ones out of serde's "unknown field `name`, expected one of `a`, `b`".
fn unknown_name(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    let (name, rest) = rest.split_once('`')?;
    Some((name, rest.split('`').skip(1).step_by(2).collect()))
}

/// Edits (insert, delete, replace) between two names: Levenshtein's distance.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Names for a message: `` `a`, `b` ``.
pub fn list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    names.into_iter().map(|n| format!("`{}`", n.as_ref())).collect::<Vec<_>>().join(", ")
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The array of stages in a tree.
fn stages<'t, 'a>(tree: &'t Tree<'a>) -> Option<&'t DeArray<'a>> {
    tree.get("stage")?.get_ref().as_array()
}

/// The table of the stage with this id, and the place of its header.
pub(crate) fn stage_table<'t, 'a>(tree: &'t Tree<'a>, name: &str) -> Option<(&'t Tree<'a>, Range<usize>)> {
    let stage = stages(tree)?.iter().rev().find(|s| id(s.get_ref()) == Some(name))?;
    Some((stage.get_ref().as_table()?, stage.span()))
}
