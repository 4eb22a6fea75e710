//! A diagnosis says what is so: noise is called noise, and encoders that are as good as their teachers are left alone.

use std::error::Error;
use std::path::Path;

use umt_eval::diagnosis::{Advice, Finding};
use umt_report::{DiagnoseOptions, Diagnosis, diagnose};

use crate::tiny::{self, Outcome};

const SETS: [&str; 9] = [
    "data.synthetic.train=400",
    "data.synthetic.test=300",
    "data.synthetic.recordings=40",
    "data.synthetic.pictures=40",
    "data.synthetic.contrast=[0.5, 0.6]",
    "data.synthetic.texture=[0.05, 0.02]",
    "data.synthetic.distractors=[0.0, 0.0]",
    "stage.probe.task.of=[\"teacher.*\", \"joint\"]",
    "encoder.video.width=8",
];

fn diagnosed(sets: &[&str], out: &Path) -> Result<Diagnosis, Box<dyn Error>> {
    let all: Vec<&str> = SETS.iter().chain(sets).copied().collect();
    let report = tiny::run(&tiny::recipe(&all)?, &tiny::options(out, &[]), &mut tiny::Watcher::default())?;
    let options = DiagnoseOptions { run: report.folder.clone(), only: vec!["joint".into()], margin: 0.02 };
    let mut found = diagnose(&options)?.found;
    assert!(report.folder.join("diagnosis.json").is_file() && report.folder.join("diagnosis.joint.svg").is_file());
    found.pop().ok_or_else(|| "no diagnosis".into())
}

/// Sound 60 dB below its noise: the audio teacher is at chance, the video teacher is not.
#[test]
fn a_modality_that_is_noise_is_called_noise() -> Outcome {
    let folder = tempfile::tempdir()?;
    let sets = ["data.synthetic.noise-db=[-60.0, -60.0]", "train.steps=150", "train.batch=32"];
    let diagnosis = diagnosed(&sets, folder.path())?;
    let findings = &diagnosis.verdict.findings;
    assert_eq!(findings["audio"], Finding::Noise, "{:?}", diagnosis.verdict.words);
    assert_ne!(findings["video"], Finding::Noise, "{:?}", diagnosis.verdict.words);
    assert!(diagnosis.verdict.words[0].contains("audio looks like noise"), "{:?}", diagnosis.verdict.words);
    Ok(())
}

/// Each encoder also has a head of its own, whose loss outweighs the joint one: none can lag behind.
#[test]
fn encoders_as_good_as_their_teachers_are_left_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    let sets = [
        "data.synthetic.noise-db=[20.0, 20.0]",
        "data.synthetic.babble-db=[20.0, 20.0]",
        "stage.joint.objective.kind=\"aux-heads\"",
        "stage.joint.objective.weight=2.0",
        "train.steps=150",
        "train.batch=32",
    ];
    let diagnosis = diagnosed(&sets, folder.path())?;
    let (findings, words) = (&diagnosis.verdict.findings, &diagnosis.verdict.words);
    assert!(findings.values().all(|&f| f != Finding::Fails && f != Finding::Noise), "{words:?}");
    assert_ne!(diagnosis.verdict.advice, Advice::Umt, "{words:?}");
    Ok(())
}
