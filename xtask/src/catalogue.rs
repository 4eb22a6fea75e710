//! `recipes`: what there is, what it needs and what to expect of it; `recipes show`: one as it is written.

use crate::out::{program, say};
use crate::pace::spoken;
use crate::recipes::{self, Change, EMBEDDED};
use clap::Subcommand;
use std::process::ExitCode;
use std::time::Duration;
use umt_recipe::{RecipeError, Task};

/// Columns of a line.
const WIDTH: usize = 80;

/// List the recipes: purpose, data, time, memory and what to expect.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask recipes\n  \
    cargo xtask recipes show av-digits\n  \
    cargo xtask recipes show av-digits > my.toml       a recipe of your own to begin with")]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Print a recipe as it is written, with its comments.
    Show {
        /// A recipe by name, or a path to a .toml file.
        #[arg(value_name = "NAME")]
        recipe: String,
    },
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Some(Verb::Show { recipe }) => {
            let text = recipes::text(&recipe)?;
            // Read as well: what is wrong with it is said before anybody copies it.
            recipes::load(&recipe, &Change { quick: false, sets: Vec::new() })?;
            say!("{}", text.text.trim_end());
        }
        None => {
            for (name, _) in EMBEDDED {
                say!("{}", entry(name)?);
            }
            say!(
                "`{0} recipes show NAME` prints one with its comments,\n`{0} reproduce NAME --dry-run` its plan.",
                program()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn entry(name: &str) -> Result<String, RecipeError> {
    let recipe = recipes::load(name, &Change { quick: false, sets: Vec::new() })?.recipe;
    let expect = &recipe.expect;
    let kind = umt_data::KINDS.iter().find(|kind| kind.name() == recipe.data.set);
    let networks = recipe.stage.iter().filter(|stage| stage.task.is_network()).count();
    let probes = recipe.stage.iter().any(|stage| matches!(stage.task, Task::LinearProbe { .. }));
    let time = expect.minutes.map_or("not measured".into(), |minutes| {
        format!("at most {} on 2 cores", spoken(Duration::from_secs_f64(60.0 * minutes)))
    });
    let memory = expect.memory_mib.map_or("not measured".into(), |mib| format!("{mib} MiB"));
    let claims: Vec<String> = expect.claims.iter().map(ToString::to_string).collect();
    let lines = [
        ("data", kind.map_or(recipe.data.set.clone(), |kind| format!("{}: {}", kind.name(), kind.about()))),
        (
            "stages",
            format!("{networks} networks{}, {} seeds", if probes { " and probes" } else { "" }, recipe.seeds.len()),
        ),
        ("time", time),
        ("memory", memory),
        ("expected", claims.join("; ")),
        ("source", expect.source.clone()),
        ("command", expect.command.replace("cargo xtask", program())),
    ];
    let mut out = format!("{name}\n{}", wrapped(&recipe.about, 2));
    for (what, text) in lines {
        let text = wrapped(&text, 12);
        out += &format!("  {what:<10}{}", text.trim_start());
    }
    Ok(out)
}

/// Lines of at most 80 columns, each begun with spaces.
fn wrapped(text: &str, indent: usize) -> String {
    let begin = " ".repeat(indent);
    let (mut out, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
            out += &format!("{begin}{line}\n");
            line.clear();
        }
        line += &format!("{}{word}", if line.is_empty() { "" } else { " " });
    }
    format!("{out}{begin}{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_says_what_it_needs_within_80_columns() -> Result<(), RecipeError> {
        for (name, _) in EMBEDDED {
            let text = entry(name)?;
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            for word in ["data", "time", "memory", "expected", "reproduce"] {
                assert!(text.contains(word), "{text}");
            }
        }
        Ok(())
    }
}
