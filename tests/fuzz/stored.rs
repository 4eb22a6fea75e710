//! Files that the program itself writes and others may hand over: tensors, checkpoints, records, results, recipes.

use crate::targets::{Target, files};
use serde_json::json;
use std::{collections::BTreeMap, fs};
use umt_encoders::pretrained::pth;
use umt_eval::{Predictions, Results};
use umt_recipe::{Overrides, Recipe};
use umt_run::{Record, RunRecord};
use umt_store::{Store, checkpoint, tensors};

/// All of them.
pub const STORED: &[Target] = &[
    Target { name: "safetensors", seeds: some_tensors, read: |bytes| tensors::read(bytes).is_ok() },
    Target {
        name: "pth",
        seeds: || files("umt-encoders/tests/fixtures", &["state.pth", "nested.pth", "half.pth", "shared.pth"]),
        read: |bytes| pth::read(bytes).is_ok(),
    },
    Target { name: "predictions", seeds: predictions, read: |bytes| Predictions::from_bytes(bytes).is_ok() },
    Target {
        name: "results",
        seeds: results,
        read: |bytes| Results::from_json(&String::from_utf8_lossy(bytes)).is_ok(),
    },
    Target { name: "record", seeds: record, read: |bytes| serde_json::from_slice::<Record>(bytes).is_ok() },
    Target { name: "run-record", seeds: run_record, read: read_run_record },
    Target { name: "checkpoint", seeds: manifest, read: read_manifest },
    Target {
        name: "recipe",
        seeds: || files("../xtask/recipes", &["synthetic-av.toml", "methods.toml", "nyuv2.toml", "av-digits.toml"]),
        read: |bytes| Recipe::parse("x", "x.toml", &String::from_utf8_lossy(bytes), &Overrides::default()).is_ok(),
    },
];

fn one(name: &str, bytes: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    vec![(name.to_owned(), bytes)]
}

fn some_tensors() -> Vec<(String, Vec<u8>)> {
    let tensor = |n: usize| (vec![n, 2], vec![0.5; 2 * n]);
    let all = BTreeMap::from([("a.weight".into(), tensor(3)), ("b.bias".into(), tensor(1)), ("c".into(), tensor(0))]);
    one("three", tensors::write_with_counters(&all, &BTreeMap::from([("n".into(), 7)])).unwrap())
}

fn predictions() -> Vec<(String, Vec<u8>)> {
    let ids = (0..3).map(|i| format!("sample {i}")).collect();
    let said = Predictions::new(ids, vec![0, 1, 1], 2, vec![0.5, -0.5, 1.0, 2.0, -3.0, 0.25]).unwrap();
    one("three", said.to_bytes().unwrap())
}

fn results() -> Vec<(String, Vec<u8>)> {
    let row = json!({ "stage": "joint", "seed": 1, "split": "test", "metric": "top1", "value": 0.5, "key": "abc" });
    let sum = json!({ "stage": "joint", "split": "test", "metric": "top1", "mean": 0.5, "std": 0.0, "n": 1 });
    let all = json!({
        "recipe": "x", "device": "cpu", "isa": "avx512", "threads": 2, "digest": "d", "data_digest": "e", "rows": [row],
        "summary": [sum], "paired": [], "expect": [], "wall_seconds": 1.5, "samples_per_second": { "joint": 9.0 },
    });
    one("small", serde_json::to_vec_pretty(&all).unwrap())
}

fn record() -> Vec<(String, Vec<u8>)> {
    let file = json!({ "sha256": "ab", "bytes": 12 });
    let all = json!({
        "format": 2, "key": "abc", "stage": "joint", "seed": 1, "settings": { "train": { "lr": 0.1 } },
        "figures": [{ "split": "test", "metric": "top1", "value": 0.5 }], "samples": null, "classes": ["a", "b"],
        "audio_stats": [0.5, 2.0], "steps": 7, "note": "last weights", "wall_seconds": 1.0, "samples_per_second": 3.0,
        "device": "cpu", "isa": "avx2", "threads": 1, "parents": { "k": { "model.safetensors": "cd" } }, "output": "ef",
        "files": { "model.safetensors": file }, "digest": "01",
    });
    one("joint", serde_json::to_vec_pretty(&all).unwrap())
}

fn run_record() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    RunRecord::commit(&Store::open(folder.path()).unwrap(), "seeds = [1]", "{}").unwrap();
    one("run.json", fs::read(folder.path().join("run.json")).unwrap())
}

fn read_run_record(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.json"), bytes).unwrap();
    RunRecord::open(folder.path()).is_ok()
}

const BLOB: &[u8] = &[1; 40];

fn manifest() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let blobs = BTreeMap::from([("params".to_owned(), BLOB.to_vec())]);
    checkpoint::save(&store, &store.path("c"), 7, &blobs).unwrap();
    one("manifest.json", fs::read(store.path("c/00000001/manifest.json")).unwrap())
}

fn read_manifest(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("00000001");
    fs::create_dir(&checkpoint).unwrap();
    fs::write(checkpoint.join("params"), BLOB).unwrap();
    fs::write(checkpoint.join("manifest.json"), bytes).unwrap();
    checkpoint::load_latest(folder.path()).is_ok_and(|found| found.is_some())
}
