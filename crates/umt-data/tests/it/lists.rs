use crate::fixture;
use std::{fs, path::Path};
use umt_data::{DataConfig, DataError, KINDS, OnError, Split, open};
use umt_media::Modality;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn lenient() -> DataConfig {
    DataConfig { on_error: OnError::Skip, ..DataConfig::av_digits() }
}

fn refused(name: &str, root: &Path, config: &DataConfig) -> String {
    let error = open(name, Some(root), config).map(|_| ()).unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    error.to_string()
}

const LIST: &str = "-0a,30,\"people slapping, laughing\",train\n_b-,0,dog,test\nc-c,120,dog,train\n";

#[test]
fn vggsounds_traps_are_read() {
    let folder = folder(&[("vgg.csv", LIST), ("clips/-0a_000030.mp4", ""), ("c-c_000120.mp4", "")]);
    let set = open("vggsound", Some(folder.path()), &lenient()).unwrap();
    assert_eq!(set.classes, ["dog", "people slapping, laughing"]);
    let ids: Vec<_> = set.iter().map(|s| s.id()).collect();
    assert_eq!(ids, ["-0a_000030", "_b-_000000", "c-c_000120"]);
    let labels: Vec<_> = set.iter().map(|s| s.label()).collect();
    assert_eq!(labels, [1, 0, 0]);
    assert_eq!(set.sample(1).split(), Split::Test);
    assert!(set.group_names.is_empty());
    // The list itself, and a manifest, are accepted as root as well.
    let list = folder.path().join("vgg.csv");
    assert_eq!(open("vggsound", Some(&list), &lenient()).unwrap().samples, set.samples);
}

#[test]
fn missing_clips_stop_with_count_and_names_or_are_kept_for_counting() {
    let folder = folder(&[("vgg.csv", LIST), ("clips/-0a_000030.mp4", "")]);
    let strict = DataConfig::av_digits();
    let error = refused("vggsound", folder.path(), &strict);
    assert!(error.contains("2 of 3 samples"), "{error}");
    assert!(error.contains("_b-_000000.mp4") && error.contains("on-error"), "{error}");
    assert_eq!(open("vggsound", Some(folder.path()), &lenient()).unwrap().samples.len(), 3);
}

#[test]
fn the_list_is_found_by_form_or_by_name() {
    let two = folder(&[("a.csv", LIST), ("notes.csv", "x,y\n1,2\n"), ("groups.csv", GROUPS)]);
    assert_eq!(open("vggsound", Some(two.path()), &lenient()).unwrap().samples.len(), 3);
    let both = folder(&[("set/set.csv", LIST), ("set/other.csv", LIST)]);
    assert!(open("vggsound", Some(&both.path().join("set")), &lenient()).is_ok());
    let several = folder(&[("a.csv", LIST), ("b.csv", LIST)]);
    let error = refused("vggsound", several.path(), &lenient());
    assert!(error.contains("a.csv, b.csv") && error.contains("--data"), "{error}");
}

const GROUPS: &str = "id,picture,recording\n-0a,p1,r1\n_b-,p2,r2\nc-c,p1,r3\n";

#[test]
fn groups_are_read_and_the_digits_hold_out_recordings() {
    let folder = folder(&[("d.csv", LIST), ("groups.csv", GROUPS)]);
    let set = open("av-digits", Some(folder.path()), &lenient()).unwrap();
    assert_eq!(set.group_names, ["picture", "recording"]);
    assert_eq!(set.hold_out.as_deref(), Some("recording"));
    assert_eq!(set.sample(2).groups(), ["p1", "r3"]);
    let cut = folder.path().join("groups.csv");
    fs::write(&cut, "id,picture,recording\n-0a,p1,r1\n").unwrap();
    assert!(refused("av-digits", folder.path(), &lenient()).contains("no row names `_b-`"));
}

#[test]
fn clips_of_one_video_are_a_group() {
    let folder = folder(&[("v.csv", "a,0,x,train\na,10,x,train\nb,0,x,test\n")]);
    let set = open("vggsound", Some(folder.path()), &lenient()).unwrap();
    assert_eq!(set.group_names, ["source"]);
    let groups: Vec<_> = set.iter().map(|s| s.group(0)).collect();
    assert_eq!(groups, ["a", "a", ""]);
}

#[test]
fn broken_lists_name_file_line_and_form() {
    for (text, said) in [
        ("", "the file is empty"),
        ("a,0,x,train\nb,0,x\n", "line 2: 3 fields instead of 4"),
        ("a,zero,x,train\n", "line 1: the start second is `zero`"),
        ("a,0,x,dev\n", "line 1: the split is `dev`"),
        ("a,0,,train\n", "the label is empty"),
        ("../a,0,x,train\n", "the id is `../a`"),
        ("a,0,x,train\nb,0,y,test\na,0,x,train\n", "`a_000000` was named before (line 1)"),
    ] {
        let folder = folder(&[("list.csv", text)]);
        let error = refused("vggsound", folder.path(), &lenient());
        assert!(error.contains(said) && error.contains("list.csv"), "{error}");
    }
    // A list without test samples can be opened, and not trained on.
    let untested = folder(&[("list.csv", "a,0,x,train\n")]);
    let error = open("vggsound", Some(untested.path()), &lenient()).unwrap().trainable().unwrap_err();
    assert!(error.exit_code() == 6 && error.to_string().contains("no sample of split `test`"), "{error}");
    let foreign = folder(&[("iris.csv", "sepal,petal\n1,2\n")]);
    let error = refused("av-digits", foreign.path(), &lenient());
    assert!(error.contains("iris.csv, line 1") && error.contains("manifest"), "{error}");
    let nothing = folder(&[]);
    assert!(refused("vggsound", nothing.path(), &lenient()).contains("no csv list"));
    assert!(refused("vggsound", Path::new("no/such"), &lenient()).contains("no/such"));
    fs::write(foreign.path().join("iris.csv"), [0xff, 0xfe, b'\n']).unwrap();
    assert!(refused("vggsound", foreign.path(), &lenient()).contains("not UTF-8"));
}

#[test]
fn manifests_are_read_whatever_the_name() {
    let (_folder, list) = fixture::manifest(4, 2);
    let set = open("av-digits", Some(&list), &fixture::config()).unwrap();
    assert_eq!(set.name, "manifest");
    assert_eq!(set.classes, ["high", "low"]);
    assert_eq!(set.group_names, ["speaker"]);
    assert_eq!(set.samples.len(), 6);
    assert!(set.sample(0).source(Modality::Video).is_some());
}

#[test]
fn broken_manifests_name_column_and_line() {
    for (text, said) in [
        ("id,label,split\na,x,train\n", "no column `audio`"),
        ("id,label,split,audio,video,colour\n", "unknown column `colour`"),
        ("id,label,split,audio,video,id\n", "column `id` stands twice"),
        ("id,label,split,audio,video\na,x,train,a.wav\n", "line 2: 4 fields instead of 5"),
        ("id,label,split,audio,video\na,x,traln,a,b\n", "line 2: the split is `traln`"),
        ("id,label,split,audio,video\n,x,train,a,b\n", "line 2: the id is empty"),
    ] {
        let folder = folder(&[("m.csv", text)]);
        let error = refused("manifest", &folder.path().join("m.csv"), &fixture::config());
        assert!(error.contains(said) && error.contains("m.csv"), "{error}");
    }
}

/// Lines are those of an editor, whatever a quoted field holds and however lines end.
#[test]
fn a_repeated_id_is_named_with_its_lines() {
    let text = "id,label,split,audio,video\r\na,\"two\nlines\",train,a,b\r\nb,x,test,a,b\r\na,x,test,a,b\r\n";
    let folder = folder(&[("m.csv", text)]);
    let config = DataConfig { on_error: OnError::Skip, ..fixture::config() };
    let error = refused("manifest", &folder.path().join("m.csv"), &config);
    assert!(error.contains("m.csv, line 5") && error.contains("`a` was named before (line 2)"), "{error}");
}

/// What is no list is refused at its first row; a row is never longer than a mebibyte.
#[test]
fn rows_without_end_are_refused_where_they_begin() {
    let long = 4 << 20;
    for (text, said) in [
        ("a,b,test,c\n".repeat(long / 11), "line 1: unknown column `a`"),
        ("x\n".repeat(long / 2), "line 1: unknown column `x`"),
        (",".repeat(long), "line 1: a row of more than 1 MiB"),
        (format!("id,label,split,audio,video\na,\"{}", "x,y\n".repeat(long / 4)), "line 2: a row of more than 1 MiB"),
    ] {
        let folder = folder(&[("m.csv", &text)]);
        let error = refused("manifest", &folder.path().join("m.csv"), &fixture::config());
        assert!(error.contains(said) && error.len() < 1_000, "{}", &error[..error.len().min(1_000)]);
    }
}

/// A pipe or a device in place of a clip stops nothing that looks at the set.
#[cfg(unix)]
#[test]
fn a_device_in_place_of_a_clip_is_refused_and_never_waited_for() {
    let (_folder, list) = fixture::manifest(4, 2);
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replacen("sound/1.wav", "/dev/zero", 1)).unwrap();
    let set = open("manifest", Some(&list), &fixture::config()).unwrap();
    assert_eq!(set.digest(), set.digest());
    let error = fixture::build(&set, &fixture::config(), &list).map(drop).unwrap_err();
    assert!(error.to_string().contains("not a regular file") && error.exit_code() == 6, "{error}");
}

#[test]
fn a_limit_takes_classes_in_turn() {
    let (_folder, list) = fixture::manifest(10, 6);
    let config = DataConfig { limit: Some(4), ..fixture::config() };
    let set = open("manifest", Some(&list), &config).unwrap();
    assert_eq!(set.class_counts(Split::Train), [2, 2]);
    assert_eq!(set.class_counts(Split::Test), [2, 2]);
}

#[test]
fn unknown_names_and_impossible_settings_are_refused_with_the_known_ones() {
    let error = open("imagenet", None, &lenient()).map(|_| ()).unwrap_err().to_string();
    for kind in KINDS {
        assert!(error.contains(kind.name()) && !kind.about().is_empty(), "{error}");
    }
    assert!(matches!(open("vggsound", None, &lenient()).map(|_| ()), Err(DataError::Config { .. })));
    let mut config = fixture::config();
    config.video.as_mut().unwrap().crop = [20, 8];
    let error = open("synthetic-av", None, &config).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("video.crop"), "{error}");
    config = fixture::config();
    config.validation.share = 0.9;
    assert!(open("synthetic-av", None, &config).is_err());
    assert!(open("synthetic-av", None, &DataConfig::default()).is_err());
}

#[test]
fn the_digest_follows_content_and_not_the_place() {
    let ((here, list), (there, copy)) = (fixture::manifest(4, 2), fixture::manifest(4, 2));
    let digest = |list: &Path| open("manifest", Some(list), &fixture::config()).unwrap().digest();
    let first = digest(&list);
    assert_eq!(digest(&copy), first);
    // One byte of one picture, the length unchanged.
    let path = there.path().join("frames/3/2.png");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    assert_ne!(digest(&copy), first);
    fs::remove_file(here.path().join("sound/1.wav")).unwrap();
    let skip = DataConfig { on_error: OnError::Skip, ..fixture::config() };
    assert_ne!(open("manifest", Some(&list), &skip).unwrap().digest(), first);
}

/// Each kind is one file, and each file is in the list.
#[test]
fn the_list_of_kinds_is_complete() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kinds");
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().replace('_', "-"))
        .filter(|name| !["mod", "list", "folders"].contains(&name.as_str()))
        .collect();
    files.sort();
    let mut names: Vec<String> = KINDS.iter().map(|kind| kind.name().to_owned()).collect();
    names.sort();
    assert_eq!(files, names);
}
