//! What an installed program needs besides itself: completions for shells and man pages.

use crate::out::{note, say};
use clap::Command;
use clap_complete::{Generator, Shell};
use clap_mangen::Man;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use umt_store::Store;

/// The program's name once it is installed.
const PROGRAM: &str = "umt";

/// Completions for a shell, on standard output, for the installed program `umt`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    umt completions bash > ~/.local/share/bash-completion/completions/umt\n  \
    umt completions zsh > ~/.zfunc/_umt\n  \
    umt completions fish > ~/.config/fish/completions/umt.fish")]
pub struct Completions {
    shell: Shell,
}

/// The man page, on standard output; with --out a page for each verb too.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    umt man | man -l -\n  \
    umt man --out ~/.local/share/man/man1")]
pub struct Pages {
    /// A folder for umt.1, umt-reproduce.1, ...
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn completions(args: &Completions, command: Command) -> anyhow::Result<ExitCode> {
    let command = installed(command);
    let mut text = Vec::new();
    args.shell.generate(&command, &mut text);
    say!("{}", String::from_utf8(text)?.trim_end());
    Ok(ExitCode::SUCCESS)
}

pub fn pages(args: &Pages, command: Command) -> anyhow::Result<ExitCode> {
    let command = installed(command);
    match &args.out {
        None => say!("{}", page(&command)?.trim_end()),
        Some(folder) => {
            let count = write(&Store::shared(folder)?, folder, PROGRAM, &command)?;
            note!("{count} pages in {}", folder.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn installed(command: Command) -> Command {
    let mut command = crate::named(command, PROGRAM).name(PROGRAM).bin_name(PROGRAM);
    // Gives each verb its full name.
    command.build();
    command
}

fn page(command: &Command) -> anyhow::Result<String> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text)?;
    Ok(String::from_utf8(text)?)
}

fn write(store: &Store, folder: &Path, name: &str, command: &Command) -> anyhow::Result<usize> {
    store.commit(&folder.join(format!("{name}.1")), page(command)?.as_bytes())?;
    let mut count = 1;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        count += write(store, folder, &format!("{name}-{}", verb.get_name()), verb)?;
    }
    Ok(count)
}
