//! `data init`: data as people have it become a manifest and a recipe to begin with.

use crate::out::{note, program, say};
use crate::progress::bar;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use umt_data::{CheckOptions, CheckReport, FindingKind, Survey, check_with, facts, is_manifest, survey};
use umt_recipe::{Overrides, Recipe, RecipeError, short_name, starter};
use umt_store::Store;

/// Make a manifest and a starter recipe from a folder or a list, and say what is wrong with the data.
///
/// Read are: a folder for each class with clips, audio, images or folders of frames in it (also below train/ and test/, or
/// one such tree for each modality); a csv with columns of any name, or in VGGSound's form, next to its files; folders of
/// colour, depth and label maps. No file of the data is changed.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask data init clips                         clips/CLASS/x.mp4: clips/manifest.csv and clips/clips.toml\n  \
    cargo xtask data init words.csv --out my            both go to my/\n  \
    cargo xtask data init list.csv --column label=emotion --column group:speaker=actor\n\n\
From a folder to a table:\n  \
    cargo xtask data init clips\n  \
    cargo xtask reproduce clips/clips.toml --quick      a minute: does everything work?\n  \
    cargo xtask reproduce clips/clips.toml")]
pub struct Args {
    /// The folder, or the list (.csv).
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where manifest and recipe go; next to the data when left out.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What a column of a list is: id, label, split, start, audio, video, rgb, depth, label-map or group:NAME; repeatable.
    #[arg(long = "column", value_name = "ROLE=NAME")]
    columns: Vec<String>,
    /// Look only whether files are there; decode a few.
    #[arg(long)]
    list_only: bool,
    /// Replace a manifest and a recipe that are there.
    #[arg(long)]
    force: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { dir, out, columns, list_only, force } = args;
    let mut roles = Vec::new();
    for text in &columns {
        let Some((role, name)) = text.split_once('=') else {
            bail!(RecipeError::Usage(format!("--column {text}: expected ROLE=NAME, such as label=emotion")));
        };
        roles.push((role.trim().to_owned(), name.trim().to_owned()));
    }
    let own = if dir.is_dir() { dir.clone() } else { dir.parent().unwrap_or(Path::new("")).to_owned() };
    let folder = out.unwrap_or(if own.as_os_str().is_empty() { PathBuf::from(".") } else { own });
    let name = short_name("data", Some(&std::path::absolute(&dir)?));
    // A list that is a manifest already needs none.
    let listed =
        dir.is_file() && is_manifest(&dir) && facts("manifest", Some(&dir)).is_ok_and(|f| f.train > 0 && f.test > 0);
    let manifest = if listed { std::path::absolute(&dir)? } else { folder.join("manifest.csv") };
    let recipe = folder.join(format!("{name}.toml"));
    let there = |path: &&&PathBuf| path.exists() && !force && !(listed && ***path == manifest);
    if let Some(path) = [&manifest, &recipe].iter().find(there) {
        bail!(RecipeError::Usage(format!(
            "{} is there already: --force replaces it, and as the list it is used as it is",
            path.display()
        )));
    }
    let store = |folder: &Path| Store::shared(folder).with_context(|| "--out DIR names another folder");
    if listed {
        say!("{}: a manifest as it is", dir.display());
    } else {
        let found = survey(&dir, &roles)?;
        say!("{}: {}, {} samples", dir.display(), found.form, found.rows.len());
        found.notes.iter().for_each(|text| say!("  note: {text}"));
        write_list(&store(&folder)?, &found, &folder, &manifest)?;
    }
    let bar = bar();
    let options = CheckOptions { decode: !list_only, ..CheckOptions::default() };
    let report = check_with(Some(&manifest), "manifest", &options, &mut |p| {
        bar.set_length(p.total as u64);
        bar.set_position(p.done as u64);
    })?;
    bar.finish_and_clear();
    say!("{}", report.to_string().trim_end());
    let facts = facts("manifest", Some(&manifest))?;
    facts.concerns.iter().for_each(|text| say!("  concern: {text}"));

    let place = |path: &Path| path.canonicalize().ok();
    let beside = manifest.parent().is_some_and(|parent| place(parent) == place(&folder));
    let seen =
        if beside { PathBuf::from(manifest.file_name().unwrap_or_default()) } else { std::path::absolute(&manifest)? };
    let root = seen.display().to_string();
    let text = starter(&name, &root, &facts, unusable(&report)).map_err(RecipeError::Usage)?;
    Recipe::parse(&name, &recipe.display().to_string(), &text, &Overrides::default())?;
    store(&folder)?.commit(&recipe, text.as_bytes())?;
    match listed {
        true => note!("written: {}", recipe.display()),
        false => note!("written: {} and {}", manifest.display(), recipe.display()),
    }
    note!("next:    {} reproduce {} --quick", program(), recipe.display());
    note!("then:    {} reproduce {}", program(), recipe.display());
    Ok(ExitCode::SUCCESS)
}

fn write_list(store: &Store, found: &Survey, folder: &Path, manifest: &Path) -> anyhow::Result<()> {
    let classes = folder.join("classes.txt");
    if !found.map_classes.is_empty() && !classes.exists() {
        store.commit(&classes, format!("{}\n", found.map_classes.join("\n")).as_bytes())?;
        note!("written: {}", classes.display());
    }
    store.commit(manifest, found.to_csv(folder).as_bytes())?;
    Ok(())
}

/// Whether some samples cannot be used; silent and short ones can.
fn unusable(report: &CheckReport) -> bool {
    report.problems().any(|(kind, _)| matches!(kind, FindingKind::Sample(problem) if !problem.tolerable()))
}
