//! R25 and R27 end to end: encoders that begin as published ones, teachers given by a file, and what is refused.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{FusionConfig, Network, NetworkConfig};
use umt_media::Modality;
use umt_recipe::{Overrides, Recipe};
use umt_report::ReportError;
use umt_run::{Options, RunError};
use umt_store::hub::{HubError, HubSettings};
use umt_store::tensors::{self, Tensors};

use crate::command::xtask;
use crate::hub_server::Server;
use crate::tiny::{Outcome, RECIPE, Watcher, options, outputs, recipe, run, weights};

const REPO: &str = "someone/tiny-resnet18";
const FILE: &str = "model.safetensors";

/// A ResNet-18 of the recipe's own size as others publish theirs: torchvision's names, with classifier and counters.
fn published(seed: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let config = ResNetConfig { channels: 3, width: 4, stem: Stem::Small, ..ResNetConfig::default() };
    let encoders = BTreeMap::from([(Modality::Video, EncoderConfig::Resnet18(config))]);
    let network = Network::new(&NetworkConfig { encoders, head: FusionConfig::Concat.into(), classes: 7 }, seed)?;
    let rename = |name: &str| name.replace("encoder.video.", "").replace("head.", "fc.");
    let named: Tensors = network.params().to_tensors().into_iter().map(|(n, t)| (rename(&n), t)).collect();
    Ok(tensors::write_with_counters(&named, &umt_nn::batch_counters(named.keys(), 1000))?)
}

/// Options whose Hub is `server`.
fn with_hub(out: &Path, only: &[&str], server: &Server) -> Options {
    let hub = HubSettings { endpoint: server.address.clone(), ..HubSettings::new(&out.join("hub")) };
    Options { hub, ..options(out, only) }
}

/// The model of a finished stage.
pub fn model(run: &Path, stage: &str) -> Result<Tensors, Box<dyn Error>> {
    for entry in std::fs::read_dir(run.join("stages"))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{stage}.seed"))) {
            return Ok(tensors::read(&std::fs::read(path.join("model.safetensors"))?)?);
        }
    }
    Err(format!("no stage {stage}").into())
}

/// What a finished stage says of itself.
pub fn record(run: &Path, stage: &str) -> Result<serde_json::Value, Box<dyn Error>> {
    for entry in std::fs::read_dir(run.join("stages"))? {
        let path = entry?.path().join("result.json");
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
        if record["stage"] == stage {
            return Ok(record);
        }
    }
    Err(format!("no stage {stage}").into())
}

#[test]
fn encoders_begin_as_published_and_the_run_remembers_what_it_got() -> Outcome {
    let file = published(5)?;
    let (server, out) = (Server::new(REPO, FILE, &file), tempfile::tempdir()?);
    let sets = [
        &format!("encoder.video.pretrained={REPO}"),
        &format!("encoder.audio.pretrained={{ from = \"{REPO}\", first-conv = \"mean\" }}"),
        // So little is learnt that the beginning can be seen at the end.
        "train.lr=1e-9",
    ];
    let loaded = recipe(&sets)?;
    let options = with_hub(out.path(), &["joint"], &server);
    run(&loaded, &options, &mut Watcher::default())?;
    assert_eq!(server.log().iter().filter(|request| request.storage).count(), 1, "fetched once for both");

    let folder = out.path().join("tiny");
    let (theirs, ours) = (tensors::read(&file)?, model(&folder, "joint")?);
    let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    for name in ["conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.weight"] {
        assert!(near(&ours[&format!("encoder.video.{name}")].1, &theirs[name].1), "{name}");
    }
    let (colours, grey) = (&theirs["conv1.weight"], &ours["encoder.audio.conv1.weight"]);
    assert_eq!((&colours.0[..], &grey.0[..]), (&[4, 3, 3, 3][..], &[4, 1, 3, 3][..]));
    let mean = |o: usize, tap: usize| (0..3).map(|c| colours.1[(o * 3 + c) * 9 + tap]).sum::<f32>() / 3.0;
    let means: Vec<f32> = (0..36).map(|i| mean(i / 9, i % 9)).collect();
    assert!(near(&grey.1, &means));
    assert_eq!(ours["encoder.audio.bn1.num_batches_tracked"].1, [7.0]);

    let digest = umt_store::sha256_hex(&file);
    let record = record(&folder, "joint")?;
    assert!(record["note"].as_str().is_some_and(|note| note.contains(REPO)), "{}", record["note"]);
    assert_eq!(record["settings"]["task"]["pretrained"]["audio"]["sha256"], digest.as_str());
    let given = std::fs::read_to_string(folder.join("weights.json"))?;
    assert!(given.contains(&digest) && given.contains(crate::hub_server::COMMIT), "{given}");

    // Again: nothing to do, and nobody is asked, although the recipe names no commit.
    server.log();
    assert_eq!(run(&loaded, &options, &mut Watcher::default())?.ran, 0);
    assert_eq!(server.log(), []);

    // The same commit has other bytes now, and the cache is gone: refused.
    server.put(REPO, FILE, &published(6)?);
    std::fs::remove_dir_all(out.path().join("hub"))?;
    let error = run(&loaded, &options, &mut Watcher::default()).map(|_| ()).expect_err("another file");
    assert!(
        matches!(error, ReportError::Run(RunError::Hub(HubError::WrongBytes { .. }))) && error.exit_code() == 6,
        "{error}"
    );
    Ok(())
}

#[test]
fn a_teacher_may_be_given_by_a_file() -> Outcome {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    run(&recipe(&[])?, &options(first.path(), &["umt"]), &mut Watcher::default())?;
    let trained = outputs(&first.path().join("tiny"))?;
    let folders = std::fs::read_dir(first.path().join("tiny/stages"))?.flatten().map(|entry| entry.path());
    let teacher =
        folders.into_iter().find(|path| path.display().to_string().contains("teacher.audio")).ok_or("none")?;
    let file = second.path().join("my-teacher.safetensors");
    std::fs::copy(teacher.join("model.safetensors"), &file)?;

    let set = format!("stage.teacher.audio.weights={}", file.display());
    let mut watcher = Watcher::default();
    run(&recipe(&[&set])?, &options(second.path(), &["umt"]), &mut watcher)?;
    assert_eq!(watcher.steps, 2 * 7, "the other teacher and the student");
    let folder = second.path().join("tiny");
    let given = outputs(&folder)?;
    let of = |all: &BTreeMap<String, BTreeMap<String, String>>, row: &str, file: &str| all[row].get(file).cloned();
    // It says of each sample what it said when it was trained, and teaches the same.
    let said = |all| of(all, "teacher.audio seed 1", "predictions.test.csv");
    assert!(said(&given).is_some() && said(&given) == said(&trained));
    assert_eq!(weights(&folder, "umt")?, weights(&first.path().join("tiny"), "umt")?);
    assert!(record(&folder, "teacher.audio")?["note"].as_str().is_some_and(|note| note.contains("my-teacher")));

    // The bytes decide, not the place.
    let moved = second.path().join("elsewhere.safetensors");
    std::fs::rename(&file, &moved)?;
    let set = format!("stage.teacher.audio.weights={}", moved.display());
    assert_eq!(run(&recipe(&[&set])?, &options(second.path(), &["umt"]), &mut Watcher::default())?.ran, 0);
    let mut tensors = tensors::read(&std::fs::read(&moved)?)?;
    tensors.get_mut("head.bias").ok_or("no bias")?.1[0] += 1.0;
    std::fs::write(&moved, tensors::write(&tensors)?)?;
    let mut watcher = Watcher::default();
    run(&recipe(&[&set])?, &options(second.path(), &["umt"]), &mut watcher)?;
    assert_eq!(watcher.ran, ["teacher.audio", "umt"]);
    Ok(())
}

#[test]
fn weights_that_cannot_be_used_are_named_before_anything_is_written() -> Outcome {
    let out = tempfile::tempdir()?;
    let file = |name: &str, bytes: &[u8]| -> Result<String, std::io::Error> {
        let path = out.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path.display().to_string())
    };
    let good = published(5)?;
    let cut = file("cut.safetensors", &good[..good.len() / 2])?;
    let empty = file("empty.safetensors", b"")?;
    let text = file("text.pth", b"a recipe for pancakes")?;
    let archive = file("archive.pth", b"PK\x03\x04 and nothing more")?;
    let pickle = file("old.pth", b"\x80\x02}q\x00.")?;
    let other = file("other.safetensors", &good)?;
    let absent = out.path().join("absent.pth").display().to_string();
    let digest = "0".repeat(64);
    for (set, words) in [
        (format!("encoder.video.pretrained={cut}"), "cut.safetensors"),
        (format!("encoder.video.pretrained={empty}"), "empty.safetensors"),
        (format!("encoder.video.pretrained={text}"), "text.pth"),
        (format!("encoder.video.pretrained={archive}"), "archive.pth|torch.save"),
        (format!("encoder.video.pretrained={pickle}"), "old.pth|1.6"),
        (format!("encoder.video.pretrained={absent}"), "absent.pth|no such file"),
        (format!("encoder.video.pretrained={{ from = \"{other}\", sha256 = \"{digest}\" }}"), "SHA-256|000000"),
        // Its classifier has seven classes, the set ten.
        (format!("stage.teacher.video.weights={other}"), "other.safetensors|head.weight: [7, 32] for [10, 32]"),
    ] {
        let only = if set.starts_with("stage") { "teacher.video" } else { "joint" };
        let result = run(&recipe(&[&set])?, &options(out.path(), &[only]), &mut Watcher::default());
        let error = result.map(|_| ()).expect_err(&set);
        let message = error.to_string();
        assert!(
            matches!(error, ReportError::Run(RunError::Weights { .. })) && error.exit_code() == 6,
            "{set}: {message}"
        );
        assert!(words.split('|').all(|word| message.contains(word)), "{set}: does not say {words}: {message}");
        assert!(!out.path().join("tiny/results.json").exists());
    }
    Ok(())
}

#[test]
fn what_a_recipe_says_of_weights_is_checked_with_its_place() {
    for (set, words) in [
        ("encoder.video.pretrained=timm/resnet50.tv_in1k", "resnet50|resnet18|video"),
        ("encoder.video.pretrained=resnet18", "owner/name|.safetensors"),
        ("encoder.video.pretrained=../x/y", "owner/name"),
        ("encoder.video.pretrained={ from = \"a/b\", first_conv = \"sum\" }", "first_conv|first-conv"),
        ("encoder.video.pretrained={ from = \"a/b\", first-conv = \"max\" }", "max|sum|mean"),
        ("encoder.video.pretrained={ from = \"a/b\", sha256 = \"12\" }", "sha256|64"),
        ("encoder.video.pretrained={ from = \"a.pth\", revision = \"main\" }", "revision|repository"),
        ("encoder.video.pretrained=7", "owner/name"),
        ("encoder.video.pretraind=a/b", "pretraind|pretrained"),
        ("stage.umt.weights=a.pth", "umt|distilled"),
        ("stage.ume.weights=a.pth", "ume|network"),
        ("stage.joint.weights={ from = \"a.pth\", first-conv = \"sum\" }", "first-conv|encoder"),
    ] {
        let over = Overrides { sets: vec![set.to_string()], ..Overrides::default() };
        let error = Recipe::parse("tiny", "tiny.toml", RECIPE, &over).map(|_| ()).expect_err(set);
        let message = error.to_string();
        assert_eq!(error.exit_code(), 2, "{message}");
        for word in words.split('|').chain(["--set"]) {
            assert!(message.contains(word), "{set}: does not say {word}: {message}");
        }
    }
}

#[test]
fn the_command_fetches_ahead_of_time_as_the_environment_says() -> Outcome {
    let file = published(5)?;
    let (server, home) = (Server::new(REPO, FILE, &file), tempfile::tempdir()?);
    server.protect(REPO, "hf_test");
    let call = |variables: &[(&str, &str)], arguments: &[&str]| -> Result<(i32, String, String), Box<dyn Error>> {
        let mut command = xtask()?;
        for name in [
            "HF_TOKEN",
            "HF_HUB_OFFLINE",
            "HF_HUB_CACHE",
            "HF_TOKEN_PATH",
            "HTTP_PROXY",
            "http_proxy",
            "ALL_PROXY",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &server.address).env("HF_HOME", home.path()).envs(variables.iter().copied());
        let output = command.args(["data", "fetch-weights"]).args(arguments).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
    };
    let (code, list, _) = call(&[], &[])?;
    assert!(code == 0 && list.contains("timm/resnet18.tv_in1k") && list.contains("BSD-3-Clause"), "{list}");
    let (code, _, said) = call(&[], &[REPO])?;
    assert!(code == 2 && said.contains("HF_TOKEN"), "{code}: {said}");
    let (code, _, said) = call(&[("HF_HUB_OFFLINE", "1")], &[REPO])?;
    assert!(code == 2 && said.contains("HF_HUB_OFFLINE"), "{code}: {said}");
    let (code, path, said) = call(&[("HF_TOKEN", "hf_test")], &[REPO])?;
    assert!(code == 0 && said.contains(&umt_store::sha256_hex(&file)), "{code}: {said}");
    assert_eq!(std::fs::read(path.trim())?, file);
    assert!(Path::new(path.trim()).starts_with(home.path().join("hub")), "{path}");
    server.log();
    let (code, again, _) = call(&[("HF_HUB_OFFLINE", "1")], &[REPO])?;
    assert_eq!((code, again, server.log().len()), (0, path, 0));
    // The token that `hf auth login` stores.
    std::fs::write(home.path().join("token"), "hf_test\n")?;
    std::fs::remove_dir_all(home.path().join("hub"))?;
    assert_eq!(call(&[], &[REPO])?.0, 0);
    // All that a recipe names.
    let recipe = home.path().join("mine.toml");
    let pretrained = format!("width = 4, pretrained = {{ from = \"{REPO}\", first-conv = \"mean\" }}, stem");
    std::fs::write(&recipe, RECIPE.replace("width = 4, stem", &pretrained))?;
    let (code, paths, _) = call(&[], &[&recipe.display().to_string()])?;
    assert!(code == 0 && paths.lines().count() == 1 && paths.contains(FILE), "{code}: {paths}");
    let (code, _, said) = call(&[], &["someone/else"])?;
    assert!(code == 2 && said.contains("someone/else"), "{said}");
    let (code, _, said) = call(&[], &["my.pth"])?;
    assert!(code == 2 && said.contains("my.pth"), "{said}");
    Ok(())
}
