//! The program under test.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::tidy::root;

/// Whether the full tier is asked for (`cargo xtask test --full`): more of what the fast tier does.
pub fn full() -> bool {
    std::env::var_os("UMT_FULL").is_some_and(|value| value == "1")
}

/// The command `cargo xtask`, built if it is not up to date.
pub fn xtask() -> Result<Command, Box<dyn Error>> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| build().map_err(|error| error.to_string())).clone()?;
    Ok(Command::new(program))
}

fn build() -> Result<PathBuf, Box<dyn Error>> {
    // This test is `<target>/release/deps/it-...`; the program is two folders up.
    let here = std::env::current_exe()?;
    let release = here.parent().and_then(|deps| deps.parent()).ok_or("not in a target folder")?;
    let target = release.parent().ok_or("not in a target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--locked", "--package", "xtask", "--target-dir"])
        .arg(target)
        .current_dir(root())
        .status()?;
    if !status.success() {
        return Err("the program does not build".into());
    }
    Ok(release.join("umt"))
}
