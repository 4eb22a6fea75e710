use crate::fixture;
use std::fs;
use umt_data::{CheckOptions, Problem, Split, check, check_with};

#[test]
fn a_sound_set_has_nothing_to_report_and_is_not_touched() {
    let (folder, list) = fixture::manifest(6, 2);
    let files = || walk(folder.path());
    let before = files();
    let report = check(Some(&list), "manifest").unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.samples, report.usable, report.unlisted), (8, 8, 0));
    assert_eq!(report.class_counts[&Split::Train], [3, 3]);
    assert_eq!(report.groups["speaker"], 4);
    assert_eq!(report.seconds, Some([0.5, 0.5, 0.5]));
    assert_eq!(files(), before);
    let text = report.to_string();
    assert!(text.contains("8 samples") && text.contains("nothing is missing"), "{text}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<umt_data::CheckReport>(&json).unwrap(), report);
}

#[test]
fn every_kind_of_problem_is_counted_and_named() {
    let (folder, list) = fixture::manifest(10, 2);
    let path = |name: &str| folder.path().join(name);
    fixture::cut(&path("sound/1.wav"), 5_000);
    fs::remove_file(path("sound/2.wav")).unwrap();
    fixture::wav(&path("sound/3.wav"), &[0.0; 8_000]);
    fixture::wav(&path("sound/4.wav"), &fixture::tone(4, 900));
    fs::write(path("frames/5/0.png"), b"no picture").unwrap();
    fs::write(path("frames/5/1.png"), b"no picture").unwrap();
    fixture::wav(&path("sound/extra.wav"), &fixture::tone(4, 900));
    let report = check(Some(&list), "manifest").unwrap();
    let count = |problem| report.problems.get(&problem).map_or(0, |found| found.count);
    assert_eq!(count(Problem::Corrupt), 2, "{report}");
    for problem in [Problem::Missing, Problem::Silent, Problem::Short] {
        assert_eq!(count(problem), 1, "{report}");
    }
    assert_eq!((report.usable, report.unlisted), (7, 1));
    assert!(report.to_string().contains("sound/2.wav"), "{report}");
    // A quick look finds only what is not there.
    let quick = CheckOptions { decode: false, ..CheckOptions::default() };
    let report = check_with(Some(&list), "manifest", &quick, &mut |_| {}).unwrap();
    assert_eq!((report.usable, report.problems.len()), (11, 1));
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            let meta = path.metadata().unwrap();
            found.push(format!("{} {} {:?}", path.display(), meta.len(), meta.modified().unwrap()));
        }
    }
    found.sort();
    found
}
