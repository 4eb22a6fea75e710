//! The project's commands: `cargo xtask <verb>` in a clone, `umt <verb>` once it is installed.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod reproduce;
mod search;
mod evaluate;
mod predict;
mod export;
mod diagnose;
mod data;
mod init;
mod bench;
mod check;
mod recipes;
mod catalogue;
mod dry;
mod progress;
mod pace;
mod live;
mod status;
mod session;
mod out;
mod hub;
mod fetch;
mod install;

use crate::out::alert;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// Uni-modal teachers for multi-modal learning, from clips to the table.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 2 usage or recipe, 3 a number is not finite, 4 damaged store, 5 IO, 6 data,\n\
    7 an expectation failed under --strict, 130 and 143 stopped by a signal (the same command goes on from there)."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Results, warnings and errors alone.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Each epoch with every term of its loss, and stages that are reused.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Every stage of a recipe, the table and the report; without a name on the embedded set.
    Reproduce(reproduce::Args),
    /// What recipes there are, what they need, what to expect; one with its comments.
    Recipes(catalogue::Args),
    /// Try combinations of settings on validation, one seed.
    Search(search::Args),
    /// Where a run is, asked from another terminal.
    Status(status::Args),
    /// Figures of a finished run on another set or split.
    Eval(evaluate::Args),
    /// What networks of a finished run predict of files.
    Predict(predict::Args),
    /// A network of a finished run as a folder for others: weights, settings, model card.
    Export(export::Args),
    /// What is wrong with the networks of a finished run.
    Diagnose(diagnose::Args),
    /// Begin with data of your own, look at a set, or fetch pretrained weights ahead of time.
    Data(data::Args),
    /// Measure how fast something is.
    Bench(bench::Args),
    /// Completions for bash, zsh, fish, elvish or powershell.
    Completions(install::Completions),
    /// The man page.
    Man(install::Pages),
    /// Formatting, lints, house rules and all tests, cheapest first.
    Test {
        /// Every promise at its full size: 200 kills, a crash at every second operation on a file, 20,000 changed inputs of
        /// each parser.
        #[arg(long)]
        full: bool,
    },
    /// Checks that take longer or need more, each by name.
    Check(check::Args),
}

/// The command with its examples as the program was called.
fn named(mut command: Command, program: &str) -> Command {
    if program == out::IN_A_CLONE {
        return command;
    }
    let told =
        |text: Option<&clap::builder::StyledStr>| text.map(|text| text.to_string().replace(out::IN_A_CLONE, program));
    if let Some(text) = told(command.get_after_help()) {
        command = command.after_help(text);
    }
    if let Some(text) = told(command.get_about()) {
        command = command.about(text);
    }
    if let Some(text) = told(command.get_long_about()) {
        command = command.long_about(text);
    }
    let verbs: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    verbs.iter().fold(command, |command, verb| command.mut_subcommand(verb, |inner| named(inner, program)))
}

fn main() -> ExitCode {
    let program = out::program();
    let matches = named(Cli::command(), program).name(program).bin_name(program).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    out::set_level(cli.quiet, cli.verbose);
    let result = match cli.verb {
        Verb::Reproduce(args) => reproduce::run(args),
        Verb::Recipes(args) => catalogue::run(args),
        Verb::Search(args) => search::run(args),
        Verb::Status(args) => status::run(args),
        Verb::Eval(args) => evaluate::run(args),
        Verb::Predict(args) => predict::run(args),
        Verb::Export(args) => export::run(args),
        Verb::Diagnose(args) => diagnose::run(args),
        Verb::Data(args) => data::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Completions(args) => install::completions(&args, Cli::command()),
        Verb::Man(args) => install::pages(&args, Cli::command()),
        Verb::Test { full } => check::run(full),
        Verb::Check(args) => check::check(&args),
    };
    match result {
        Ok(code) => out::end(code),
        Err(error) => {
            // The project's own errors name their cause already; others name theirs through the chain.
            match session::is_own(&error) {
                true => alert!("error: {error}"),
                false => alert!("error: {error:#}"),
            }
            ExitCode::from(session::exit_code(&error))
        }
    }
}
