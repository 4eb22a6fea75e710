//! Frames made in a set's own form: the full recipes run on them from the command line, and they are what they say.

use std::path::Path;

use serde_json::Value;

use crate::command::xtask;
use crate::tiny::Outcome;

/// One call; its exit code and all it said.
fn call(arguments: &[&str]) -> Result<(i32, String), Box<dyn std::error::Error>> {
    let output = xtask()?.args(arguments).output()?;
    let said = [&output.stdout[..], &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    Ok((output.status.code().unwrap_or(-1), said))
}

fn made(folder: &Path, set: &str) -> Outcome {
    let folder = folder.display().to_string();
    let make = ["data", "make", &folder, "--dataset", set, "--train", "4", "--test", "1"];
    let (code, said) = call(&make)?;
    assert_eq!(code, 0, "{said}");
    let (code, said) = call(&["data", "check", &folder, "--dataset", set])?;
    assert_eq!(code, 0, "{said}");
    let (code, said) = call(&make)?;
    assert!(code == 6 && said.contains("there is something in it"), "{code}: {said}");
    Ok(())
}

/// The recipes' `--quick` takes one step of each network with drawn weights; here narrow ones on small inputs.
#[test]
fn the_full_recipes_take_a_step_on_made_frames() -> Outcome {
    for set in ["nyuv2", "sunrgbd"] {
        let folder = tempfile::tempdir()?;
        let (frames, out) = (folder.path().join("frames"), folder.path().join("runs"));
        made(&frames, set)?;
        let size = image::image_dimensions(frames.join("rgb/0002.jpg"))?;
        assert_eq!(size, if set == "nyuv2" { (640, 480) } else { (730, 530) });
        assert_eq!(image::image_dimensions(frames.join("label/0002.png"))?, size);
        let (frames, out) = (frames.display().to_string(), out.display().to_string());
        let narrow = ["encoder.rgb.width=4", "encoder.depth.width=4", "data.dense.size=[64, 64]", "train.batch=2"];
        let mut arguments = vec!["reproduce", set, "--data", &frames, "--quick", "--out", &out, "--only", "joint,umt"];
        narrow.iter().for_each(|set| arguments.extend(["--set", set]));
        let (code, said) = call(&arguments)?;
        assert_eq!(code, 0, "{said}");
        let results = std::fs::read(folder.path().join(format!("runs/{set}/results.json")))?;
        let results: Value = serde_json::from_slice(&results)?;
        let rows = results["rows"].as_array().ok_or("no rows")?;
        let miou =
            |r: &&Value| r["stage"] == "umt" && r["metric"] == "miou" && r["split"] == "test" && r["given"].is_null();
        assert_eq!(rows.iter().filter(miou).count(), 1);
        let file = |part: &str| format!("{frames}/{part}");
        let (rgb, depth) = (file("rgb/0005.jpg"), file("depth/0005.png"));
        let (model, overlays) = (format!("{out}/{set}"), folder.path().join("overlays").display().to_string());
        let (code, said) = call(&[
            "predict",
            "--model",
            &model,
            "--only",
            "joint,umt",
            "--rgb",
            &rgb,
            "--depth",
            &depth,
            "--out",
            &overlays,
        ])?;
        assert!(code == 0 && said.contains("umt") && said.contains("depth + rgb"), "{said}");
        let size = image::image_dimensions(&rgb)?;
        assert_eq!(image::image_dimensions(format!("{overlays}/0005.umt.png"))?, size);
        // One of the two: the other encoder does not run.
        let (code, said) =
            call(&["predict", "--model", &model, "--only", "umt", "--depth", &depth, "--out", &overlays])?;
        assert!(code == 0 && !said.contains("depth + rgb"), "{said}");
        let peak = results["peak_bytes"]["umt"].as_f64();
        assert!(!cfg!(target_os = "linux") || peak.is_some_and(|bytes| bytes > 1e6), "{peak:?}");
    }
    let (code, said) = call(&["data", "make", "frames", "--dataset", "vggsound"])?;
    assert!(code == 6 && said.contains("nyuv2, sunrgbd"), "{code}: {said}");
    Ok(())
}
