//! The one place that prints: results to standard output, everything else to standard error.
//!
//! A reader that went away (`| head -1`) is no error: what it does not want is dropped. An output that cannot be written,
//! such as a full disk, stops no work, which is stored anyway, and makes the exit code 5.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

/// The first output that failed.
static FAILED: OnceLock<String> = OnceLock::new();

/// A line of results.
macro_rules! say {
    ($($text:tt)*) => { $crate::out::result(format_args!($($text)*)) };
}

/// A line about the work: progress. Silent with `--quiet`.
macro_rules! note {
    ($($text:tt)*) => {
        if $crate::out::level() != $crate::out::Level::Quiet {
            $crate::out::about(format_args!($($text)*))
        }
    };
}

/// A warning or an error: never silent.
macro_rules! alert {
    ($($text:tt)*) => { $crate::out::about(format_args!($($text)*)) };
}

pub(crate) use {alert, note, say};

/// How the program is called in a clone of the project.
pub const IN_A_CLONE: &str = "cargo xtask";

/// How the program was called: through cargo, which says whose program it runs, or by its own name.
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let through_cargo = std::env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"));
        let own = std::env::args_os().next().map(std::path::PathBuf::from);
        let own = own.as_deref().and_then(std::path::Path::file_stem).map(|name| name.to_string_lossy().into_owned());
        if through_cargo { IN_A_CLONE.to_owned() } else { own.unwrap_or_else(|| "umt".to_owned()) }
    })
}

/// How much is said about the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Quiet,
    Usual,
    Verbose,
}

static LEVEL: OnceLock<Level> = OnceLock::new();

/// Set once, by the command line.
pub fn set_level(quiet: bool, verbose: bool) {
    let level = match (quiet, verbose) {
        (true, _) => Level::Quiet,
        (false, true) => Level::Verbose,
        (false, false) => Level::Usual,
    };
    let _ = LEVEL.set(level);
}

pub fn level() -> Level {
    LEVEL.get().copied().unwrap_or(Level::Usual)
}

/// Prints a line of results, see [`say`].
pub fn result(text: Arguments<'_>) {
    write(&mut io::stdout().lock(), "standard output", text);
}

/// Prints a line about the work, see [`note`].
pub fn about(text: Arguments<'_>) {
    write(&mut io::stderr().lock(), "standard error", text);
}

/// The exit code of a process whose work ended with `code`.
pub fn end(code: ExitCode) -> ExitCode {
    match FAILED.get() {
        Some(reason) if code == ExitCode::SUCCESS => {
            alert!("error: cannot write {reason}");
            ExitCode::from(5)
        }
        _ => code,
    }
}

fn write(stream: &mut dyn Write, name: &str, text: Arguments<'_>) {
    // In one piece, so that lines of several threads do not mix.
    let line = format!("{text}\n");
    match stream.write_all(line.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = FAILED.set(format!("{name}: {error}"));
        }
        _ => {}
    }
}
