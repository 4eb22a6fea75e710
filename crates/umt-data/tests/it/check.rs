use crate::fixture;
use std::{fs, path::Path};
use umt_data::{
    CheckOptions, CheckReport, DataConfig, FindingKind, Problem, Split, Usage, ValidationConfig, check, check_with,
};

/// Kind, line and id of each finding.
fn found(report: &CheckReport) -> Vec<(&'static str, u64, &str)> {
    report.findings.list().iter().map(|finding| (finding.kind.name(), finding.line, finding.id.as_str())).collect()
}

#[test]
fn a_sound_set_has_nothing_to_report_and_is_not_touched() {
    let (folder, list) = fixture::manifest(6, 2);
    let files = || walk(folder.path());
    let before = files();
    let report = check(Some(&list), "manifest").unwrap();
    assert!(report.is_clean() && report.findings.list().is_empty(), "{report}");
    assert_eq!((report.samples, report.usable), (8, 8));
    assert_eq!(report.class_counts[&Split::Train], [3, 3]);
    assert_eq!(report.groups["speaker"], 4);
    assert_eq!(report.seconds, Some([0.5, 0.5, 0.5]));
    assert_eq!(files(), before);
    let text = report.to_string();
    assert!(text.contains("8 samples") && text.contains("no problem was found"), "{text}");
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
    assert_eq!(report.findings.count(Problem::Corrupt), 2, "{report}");
    for problem in [Problem::Missing, Problem::Silent, Problem::Short] {
        assert_eq!(report.findings.count(problem), 1, "{report}");
    }
    assert_eq!((report.usable, report.findings.count(FindingKind::UnlistedFile)), (7, 1));
    assert!(report.to_string().contains("sound/2.wav is not there"), "{report}");
    assert!(found(&report).contains(&("missing", 4, "s2")), "{report}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<CheckReport>(&json).unwrap(), report);
    // A quick look finds only what is not there.
    let quick = CheckOptions { decode: false, ..CheckOptions::default() };
    let report = check_with(Some(&list), "manifest", &quick, &mut |_| {}).unwrap();
    assert_eq!((report.usable, report.problems().collect::<Vec<_>>()), (11, vec![(Problem::Missing.into(), 1)]));
}

/// All defects of a list at once, each with the line that an editor shows, whatever ends its lines.
#[test]
fn all_defects_of_a_list_are_named_in_one_pass() {
    for end in ["\n", "\r\n", "\r"] {
        let (_folder, list) = fixture::manifest(8, 4);
        let text = fs::read_to_string(&list).unwrap();
        let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
        rows[0] = format!("\u{feff}{}", rows[0]);
        rows[1] = rows[1].replace("s0,low", "s0,\"lo\nw\"");
        rows[2] = rows[2].replace("s1,", ",");
        rows[3] = rows[3].replace(",low,", ",,");
        rows[4] = rows[4].replace(",train,", ",trian,");
        rows[5] = rows[5].replace(",sound/4.wav", "");
        rows[6] = rows[6].replace("sound/5.wav", "");
        rows[7] = rows[7].replace("s6,", "s5,");
        rows[8] = rows[8].replace("train-3", "");
        rows.insert(1, String::new());
        fs::write(&list, rows.join("\n").replace('\n', end)).unwrap();
        let report = check(Some(&list), "manifest").unwrap();
        let expected = [
            ("byte-order-mark", 1, ""),
            ("empty-cell", 5, ""),
            ("empty-cell", 6, "s2"),
            ("unknown-split", 7, "s3"),
            ("row", 8, ""),
            ("repeated-id", 10, "s5"),
            ("no-group", 11, "s7"),
            ("empty-cell", 9, "s5"),
        ];
        for expected in expected {
            assert!(found(&report).contains(&expected), "{end:?} {expected:?}: {report}");
        }
        assert_eq!(report.findings.count(FindingKind::Row), 1, "{report}");
        // A class whose name holds a line break is a class of its own.
        assert!(report.classes.contains(&"lo\nw".to_owned()), "{report}");
    }
}

#[test]
fn a_header_that_cannot_be_used_is_a_problem_with_all_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("m.csv");
    fs::write(&list, "label,colour,shape,label\nx,red,round,a\n").unwrap();
    let report = check(Some(&list), "manifest").unwrap();
    assert_eq!(report.findings.count(FindingKind::Header), 4, "{report}");
    let text = report.to_string();
    for word in ["`colour`", "`shape`", "`label` stands twice", "no column `id`", "expected a csv with the header"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// Training must not know of test: groups, files, and classes that it never saw.
#[test]
fn what_train_and_test_share_is_named() {
    let (folder, list) = fixture::manifest(8, 4);
    let text = fs::read_to_string(&list).unwrap();
    let text = text.replace("test-4", "train-0").replace("s11,high", "s11,other");
    fs::write(&list, text).unwrap();
    fs::copy(folder.path().join("sound/2.wav"), folder.path().join("sound/10.wav")).unwrap();
    for k in 0..4 {
        let name = |i: usize| folder.path().join(format!("frames/{i}/{k}.png"));
        fs::copy(name(5), name(9)).unwrap();
    }
    let report = check(Some(&list), "manifest").unwrap();
    let kinds = [
        ("shared-group", 10, "s8"),
        ("equal-content", 12, "s10"),
        ("equal-content", 11, "s9"),
        ("class-in-test-only", 0, ""),
    ];
    for expected in kinds {
        assert!(found(&report).contains(&expected), "{expected:?}: {report}");
    }
    assert_eq!(report.findings.list().len(), 4, "{report}");
    let text = report.to_string();
    for words in [
        "speaker `train-0` is in train (line 2, `s0`) and in test (line 10, `s8`)",
        "the same audio",
        "class `other` is in test (1 samples)",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn paths_that_cannot_be_meant_so_come_with_a_hint() {
    let (folder, list) = fixture::manifest(6, 2);
    let text = fs::read_to_string(&list).unwrap();
    let text = text.replace("sound/1.wav", "~/1.wav").replace("sound/2.wav", "sound\\2.wav");
    fs::write(&list, text).unwrap();
    fs::write(folder.path().join("sound/.3.wav"), b"").unwrap();
    fs::write(folder.path().join("frames/4/._0.png"), b"").unwrap();
    let report = check(Some(&list), "manifest").unwrap();
    let remedy = |id: &str| report.findings.list().iter().find(|f| f.id == id).map_or("", |f| f.remedy.as_str());
    assert!(remedy("s1").contains("`~` is a name"), "{report}");
    assert!(remedy("s2").contains("sound/2.wav is there"), "{report}");
    assert_eq!(report.findings.count(FindingKind::HiddenFile), 2, "{report}");
    // They are in no row now.
    assert_eq!(report.findings.count(FindingKind::UnlistedFile), 2, "{report}");
}

/// What a recipe would use, by its own rules, is what its cache holds.
#[test]
fn the_counts_are_those_of_a_run() {
    let (folder, list) = fixture::manifest(40, 8);
    let path = |name: &str| folder.path().join(name);
    fixture::wav(&path("sound/3.wav"), &[0.0; 8_000]);
    fixture::wav(&path("sound/4.wav"), &fixture::tone(4, 900));
    fs::remove_file(path("sound/6.wav")).unwrap();
    // A copy of a test sample in train.
    fs::copy(path("sound/41.wav"), path("sound/11.wav")).unwrap();
    (0..4).for_each(|k| {
        fs::copy(path(&format!("frames/41/{k}.png")), path(&format!("frames/11/{k}.png"))).unwrap();
    });
    let validation = ValidationConfig { share: 0.2, group_by: Some("speaker".into()) };
    for tolerate in [vec![], vec![Problem::Silent, Problem::Short]] {
        let config = DataConfig {
            on_error: umt_data::OnError::Skip,
            tolerate: tolerate.clone(),
            validation: validation.clone(),
            ..fixture::config()
        };
        let usage = Usage { recipe: "r".into(), config: config.clone(), own: true };
        let options = CheckOptions { recipe: Some(usage), ..CheckOptions::default() };
        let plan = check_with(Some(&list), "manifest", &options, &mut |_| {}).unwrap().plan.unwrap();
        let mut set = umt_data::open("manifest", Some(&list), &config).unwrap();
        set.split_validation(umt_data::SPLIT_SEED, &config.validation).unwrap();
        let cache = fixture::build(&set, &config, &list).unwrap();
        assert_eq!(plan.counts, cache.counts());
        assert!(plan.counts.left_out == 1 && plan.counts.validation > 0, "{plan:?}");
        assert_eq!(plan.skipped, cache.skipped().len());
        assert_eq!(plan.skipped, if tolerate.is_empty() { 3 } else { 1 });
    }
}

fn walk(folder: &Path) -> Vec<String> {
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
