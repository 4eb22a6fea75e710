//! The most that sizes in a recipe may be, looked at before anything is read into types or built.
//!
//! Memory goes with them, often with their squares: a zero too many must be an error with its place, not a process that
//! the system ends. The limits are far above what any machine trains.

use crate::error::RecipeError;
use crate::source::{Source, Tree};
use std::ops::Range;
use toml::de::DeValue;

/// Pixels of all inputs of a batch.
const PIXELS: u128 = 1 << 30;
/// Values of the weights of a fusion.
const WEIGHTS: u128 = 1 << 27;

/// A whole number of the recipe.
struct Size {
    /// The keys that lead to it; elements of arrays have their array's.
    path: Vec<String>,
    value: u128,
    span: Range<usize>,
}

/// Rejects sizes that no machine can hold.
pub(crate) fn check(source: &Source, tree: &Tree<'_>) -> Result<(), RecipeError> {
    let mut sizes = Vec::new();
    collect(tree, &mut Vec::new(), &mut sizes);
    for size in &sizes {
        if let Some(most) = most(&size.path).filter(|most| size.value > *most) {
            let message = format!("{} is {}: at most {most} is possible", size.path.join("."), size.value);
            return Err(source.invalid(size.span.clone(), message));
        }
    }
    fusions(source, &sizes)?;
    batches(source, &sizes)
}

/// The largest value under these keys; none where it is no size.
fn most(path: &[String]) -> Option<u128> {
    let (first, last) = (path.first()?.as_str(), path.last()?.as_str());
    match (first, last) {
        ("encoder", "width") => Some(512),
        ("encoder" | "decoder", _) => Some(4096),
        ("train" | "stage", "batch") => Some(65_536),
        ("train" | "stage", "workers" | "prefetch") => Some(4096),
        ("stage", "width" | "bottlenecks" | "grid") => Some(4096),
        ("stage", "rank" | "heads" | "layers") => Some(256),
        ("stage", "ratio" | "reduction") => Some(65_536),
        ("data", "size" | "crop" | "count" | "candidates" | "bands" | "classes" | "decode-threads") => Some(8192),
        ("data", "rate") => Some(768_000),
        ("data", "n_fft" | "hop" | "window") => Some(65_536),
        _ => None,
    }
}

/// The sizes of one fusion together: its weights go with the square of its width, or with rank and width.
fn fusions(source: &Source, sizes: &[Size]) -> Result<(), RecipeError> {
    for width in sizes.iter().filter(|size| size.path.first().is_some_and(|k| k == "stage") && size.is("width")) {
        let of = |key: &str, default: u128| {
            let own = sizes.iter().find(|size| size.is(key) && size.path[..size.path.len() - 1] == *width.table());
            own.map_or(default, |size| size.value)
        };
        let (layers, rank) = (of("layers", 1), of("rank", 1));
        // Twelve matrices in a layer of attention; a thousand classes for each rank.
        let weights = (12 * width.value * width.value * layers).max(1024 * width.value * rank);
        if weights > WEIGHTS {
            let message = format!("a fusion of width {}, {layers} layer(s) and rank {rank} is too large", width.value);
            return Err(source.invalid(width.span.clone(), message));
        }
    }
    Ok(())
}

/// A batch of the largest pictures.
fn batches(source: &Source, sizes: &[Size]) -> Result<(), RecipeError> {
    let most = |key: &str| sizes.iter().filter(|size| size.is(key)).map(|size| size.value).max().unwrap_or(1).max(1);
    let Some(side) = sizes.iter().filter(|size| size.is("size") || size.is("crop")).max_by_key(|size| size.value)
    else {
        return Ok(());
    };
    let (batch, count) = (most("batch"), most("count"));
    if side.value * side.value * batch * count > PIXELS {
        let message = format!(
            "pictures of {0}x{0} in batches of {batch} with {count} frame(s) each are too large: at most {PIXELS} pixels",
            side.value
        );
        return Err(source.invalid(side.span.clone(), message));
    }
    Ok(())
}

impl Size {
    fn is(&self, key: &str) -> bool {
        self.path.last().is_some_and(|last| last == key)
    }

    fn table(&self) -> &[String] {
        self.path.split_last().map_or(&[], |(_, table)| table)
    }
}

fn collect(table: &Tree<'_>, path: &mut Vec<String>, sizes: &mut Vec<Size>) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        numbers(value, path, sizes);
        path.pop();
    }
}

fn numbers(value: &toml::Spanned<DeValue<'_>>, path: &mut Vec<String>, sizes: &mut Vec<Size>) {
    match value.get_ref() {
        DeValue::Integer(number) => {
            // Digits beyond any type are more than any limit.
            let value_of = u128::from_str_radix(number.as_str(), number.radix());
            let negative = number.as_str().starts_with('-');
            let size = if negative { 0 } else { value_of.unwrap_or(u128::from(u64::MAX)) };
            sizes.push(Size { path: path.clone(), value: size.min(u128::from(u64::MAX)), span: value.span() });
        }
        DeValue::Array(all) => {
            for (number, element) in all.iter().enumerate() {
                // Tables of an array are different tables.
                let table = element.get_ref().as_table().is_some();
                if table {
                    let id =
                        element.get_ref().as_table().and_then(|t| t.get("id")).and_then(|id| id.get_ref().as_str());
                    path.push(id.map_or_else(|| number.to_string(), str::to_owned));
                }
                numbers(element, path, sizes);
                if table {
                    path.pop();
                }
            }
        }
        DeValue::Table(inner) => collect(inner, path, sizes),
        _ => {}
    }
}
