//! Given weights where each pixel has a class: encoders that begin as published, whole networks, own teachers; and finished
//! networks on other splits and sets.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use half::f16;
use umt_data::Split;
use umt_encoders::{EncoderConfig, ResNetConfig};
use umt_fusion::{FusionConfig, Network, NetworkConfig};
use umt_media::Modality;
use umt_recipe::RecipeError;
use umt_run::{EvalOptions, Unwatched, evaluate};
use umt_store::tensors::{self, Tensors};

use crate::pretrained::{model, record};
use crate::segmentation::{RECIPE, parse};
use crate::tiny::{AtomicFlag, Outcome, Watcher, options, run, weights};

/// A ResNet-18 as others publish theirs: torchvision's names and a classifier.
fn published() -> Result<Tensors, Box<dyn Error>> {
    let config = ResNetConfig { channels: 3, width: 4, ..ResNetConfig::default() };
    let encoders = BTreeMap::from([(Modality::Video, EncoderConfig::Resnet18(config))]);
    let network = Network::new(&NetworkConfig { encoders, head: FusionConfig::Concat.into(), classes: 7 }, 5)?;
    let rename = |name: &str| name.replace("encoder.video.", "").replace("head.", "fc.");
    Ok(network.params().to_tensors().into_iter().map(|(n, t)| (rename(&n), t)).collect())
}

/// A safetensors file of 16-bit floats.
fn in_half(tensors: &Tensors) -> Vec<u8> {
    let (mut header, mut data) = (Vec::new(), Vec::new());
    for (name, (shape, values)) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()));
        let offsets = [start, data.len()];
        header.push(format!(r#""{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":{offsets:?}}}"#));
    }
    let header = format!("{{{}}}", header.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

fn recipe(from: &str, to: &str) -> Result<umt_recipe::Loaded, RecipeError> {
    assert!(RECIPE.contains(from), "{from}");
    // So little is learnt that the beginning can be seen at the end.
    parse(&RECIPE.replace(from, to).replace("lr = 0.02", "lr = 1e-9"))
}

fn near(a: &[f32], b: &[f32], by: f32) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= by)
}

#[test]
fn encoders_of_segmentation_networks_begin_as_published() -> Outcome {
    let out = tempfile::tempdir()?;
    let theirs = published()?;
    let (whole, half) = (out.path().join("whole.safetensors"), out.path().join("half.safetensors"));
    std::fs::write(&whole, tensors::write_with_counters(&theirs, &umt_nn::batch_counters(theirs.keys(), 1000))?)?;
    std::fs::write(&half, in_half(&theirs))?;
    let text = RECIPE
        .replace("channels = 3,", &format!("channels = 3, pretrained = \"{}\",", half.display()))
        .replace("channels = 1,", &format!("channels = 1, pretrained = \"{}\",", whole.display()))
        .replace("lr = 0.02", "lr = 1e-9");
    let loaded = parse(&text)?;
    run(&loaded, &options(out.path(), &["joint", "teacher.depth"]), &mut Watcher::default())?;
    let folder = out.path().join("rooms");
    let ours = model(&folder, "joint")?;
    for name in ["conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.weight"] {
        // 11 bits of precision; weights are below 1.
        assert!(near(&ours[&format!("encoder_rgb.{name}")].1, &theirs[name].1, 5e-4), "{name}");
    }
    let colours = &theirs["conv1.weight"].1;
    let sum = |i: usize| (0..3).map(|c| colours[(i / 49 * 3 + c) * 49 + i % 49]).sum::<f32>();
    let sums: Vec<f32> = (0..4 * 49).map(sum).collect();
    for (stage, name) in [("joint", "encoder_depth.conv1.weight"), ("teacher.depth", "encoder.conv1.weight")] {
        let of = model(&folder, stage)?;
        assert_eq!(of[name].0, [4, 1, 7, 7]);
        assert!(near(&of[name].1, &sums, 1e-5), "{stage}");
        let note = record(&folder, stage)?["note"].to_string();
        assert!(note.contains("depth began as") && note.contains("whole.safetensors"), "{note}");
    }
    // `none` takes the recipe's word back.
    let over = umt_recipe::Overrides { sets: vec!["encoder.rgb.pretrained=none".into()], ..Default::default() };
    let drawn = umt_recipe::Recipe::parse("rooms", "rooms.toml", &text, &over)?;
    assert_eq!(drawn.recipe.pretrained.keys().copied().collect::<Vec<_>>(), [Modality::Depth]);

    // Other blocks have other names, which nothing stands for.
    let flat = text.replace("width = 4,", "width = 4, block = \"non-bottleneck-1d\",");
    let error = run(&parse(&flat)?, &options(out.path(), &["teacher.depth"]), &mut Watcher::default());
    let error = error.map(|_| ()).expect_err("another block").to_string();
    assert!(error.contains("layer1.0.conv3x1_1.weight") && error.contains("layer1.0.conv1.weight"), "{error}");
    let hub = RECIPE.replace("width = 4,", "block = \"non-bottleneck-1d\", pretrained = \"timm/resnet18.tv_in1k\",");
    let error = parse(&hub).map(|_| ()).expect_err("no such weights").to_string();
    assert!(error.contains("basic blocks") && error.contains("rooms.toml:"), "{error}");
    Ok(())
}

/// A copy of a finished stage's model.
fn copy(run: &Path, stage: &str, to: &Path) -> Outcome {
    std::fs::write(to, tensors::write(&model(run, stage)?)?)?;
    Ok(())
}

#[test]
fn whole_networks_and_teachers_may_be_given_by_a_file() -> Outcome {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    run(&parse(RECIPE)?, &options(first.path(), &["umt"]), &mut Watcher::default())?;
    let trained = first.path().join("rooms");
    let (teacher, student) = (second.path().join("teacher.safetensors"), second.path().join("esanet.safetensors"));
    copy(&trained, "teacher.rgb", &teacher)?;
    copy(&trained, "umt", &student)?;
    let given = |id: &str, file: &Path| format!("id = \"{id}\"\nweights = \"{}\"", file.display());
    let text = RECIPE
        .replace("id = \"teacher.rgb\"", &given("teacher.rgb", &teacher))
        .replace("id = \"joint\"", &given("joint", &student));
    let mut watcher = Watcher::default();
    run(&parse(&text)?, &options(second.path(), &["umt", "joint"]), &mut watcher)?;
    assert_eq!(watcher.steps, 2 * 4, "the other teacher and the student");
    let folder = second.path().join("rooms");
    assert_eq!(weights(&folder, "umt")?, weights(&trained, "umt")?, "taught the same");
    // The given network says what it said where it was trained.
    let (theirs, ours) = (record(&trained, "umt")?, record(&folder, "joint")?);
    assert_eq!(theirs["figures"], ours["figures"]);
    assert!(ours["steps"] == 0 && ours["note"].to_string().contains("esanet.safetensors"), "{}", ours["note"]);

    // A network of other classes is refused with the names, and one that is taught is not given.
    let mut tensors = tensors::read(&std::fs::read(&student)?)?;
    tensors.remove("decoder.conv_out.bias");
    std::fs::write(&student, tensors::write(&tensors)?)?;
    let error = run(&parse(&text)?, &options(second.path(), &["joint"]), &mut Watcher::default());
    let error = error.map(|_| ()).expect_err("a name is missing");
    assert!(error.to_string().contains("decoder.conv_out.bias") && error.exit_code() == 6, "{error}");
    let error = recipe("id = \"umt\"", &given("umt", &student)).map(|_| ()).expect_err("taught").to_string();
    assert!(error.contains("not trained"), "{error}");
    Ok(())
}

#[test]
fn finished_networks_are_evaluated_on_other_splits_and_sets() -> Outcome {
    let out = tempfile::tempdir()?;
    let loaded = parse(RECIPE)?;
    let report = run(&loaded, &options(out.path(), &["joint", "teacher.rgb"]), &mut Watcher::default())?;
    let folder = out.path().join("rooms");
    let ask = |split, only: &[&str]| {
        let only = only.iter().map(|s| s.to_string()).collect();
        let device = umt_nn::Device::Cpu;
        let options = EvalOptions { run: folder.clone(), data: None, dataset: None, split, only, device };
        evaluate(&options, &mut Unwatched, &AtomicFlag::default())
    };
    for split in [Split::Test, Split::Validation] {
        let again = ask(split, &[])?.results;
        let name = split.to_string();
        let of = |rows: &[umt_eval::Row]| -> Vec<(String, String, f64)> {
            let mut all: Vec<_> = rows
                .iter()
                .filter(|r| r.split == name && r.given.is_none())
                .map(|r| (r.stage.clone(), r.metric.clone(), r.value))
                .collect();
            all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            all
        };
        assert_eq!(of(&again.rows), of(&report.results.rows), "{split}");
        assert_eq!(again.rows.len(), 2 * 3);
    }
    assert_eq!(ask(Split::Train, &["joint"])?.results.rows.len(), 3);

    // The depths of other training frames do not change how the network is given the same test frames.
    let edited = std::fs::read_to_string(folder.join("recipe.toml"))?.replace("[data]\n", "[data]\nlimit = 6\n");
    let results = std::fs::read_to_string(folder.join("results.json"))?;
    umt_run::RunRecord::commit(&umt_store::Store::open(&folder)?, &edited, &results)?;
    let fewer = ask(Split::Test, &["joint"])?.results;
    assert_ne!(fewer.data_digest, report.results.data_digest);
    let of = |rows: &[umt_eval::Row]| -> Vec<f64> {
        rows.iter().filter(|r| r.stage == "joint" && r.split == "test" && r.given.is_none()).map(|r| r.value).collect()
    };
    assert_eq!(of(&fewer.rows), of(&report.results.rows));
    Ok(())
}
