use crate::fixture;
use std::collections::BTreeSet;
use umt_data::{DataConfig, Dataset, Split, ValidationConfig, open};

fn synthetic(train: usize) -> Dataset {
    let mut config = DataConfig::synthetic_av();
    (config.synthetic.train, config.synthetic.test) = (train, 50);
    open("synthetic-av", None, &config).unwrap()
}

fn groups(set: &Dataset, split: Split, column: usize) -> BTreeSet<String> {
    let of = |&i: &usize| set.sample(i).group(column).to_owned();
    set.indices(split).iter().map(of).collect()
}

/// R18: nothing that validation was made from is trained on.
#[test]
fn validation_is_stratified_and_shares_no_group_with_train() {
    let mut set = synthetic(2_000);
    let counts = set.split_validation(3, &ValidationConfig::default()).unwrap();
    assert!(counts.validation.abs_diff(200) <= 5, "{counts:?}");
    assert_eq!(counts.train + counts.validation + counts.left_out, 2_000);
    assert_eq!(counts.test, 50);
    for class in set.class_counts(Split::Validation) {
        assert!(class.abs_diff(20) <= 3, "{class}");
    }
    for column in 0..2 {
        let held = groups(&set, Split::Validation, column);
        assert!(held.is_disjoint(&groups(&set, Split::Train, column)));
        assert!(held.is_disjoint(&groups(&set, Split::Test, column)));
    }
    // Whoever was left out shares a picture, the kind of group that is not held out.
    let pictures = groups(&set, Split::Validation, 0);
    assert!(groups(&set, Split::LeftOut, 0).is_subset(&pictures));
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let held = |seed| {
        let mut set = synthetic(500);
        set.split_validation(seed, &ValidationConfig::default()).unwrap();
        set.indices(Split::Validation)
    };
    assert_eq!(held(1), held(1));
    assert_ne!(held(1), held(2));
}

#[test]
fn without_groups_the_share_is_exact() {
    let mut set = synthetic(1_000);
    (set.group_names, set.hold_out) = (Vec::new(), None);
    let counts = set.split_validation(1, &ValidationConfig::default()).unwrap();
    assert_eq!((counts.train, counts.validation, counts.left_out), (900, 100, 0));
    assert_eq!(set.class_counts(Split::Validation), [10; 10]);
}

#[test]
fn few_samples_a_class_still_give_the_share() {
    let mut set = synthetic(30);
    (set.group_names, set.hold_out) = (Vec::new(), None);
    let counts = set.split_validation(1, &ValidationConfig::default()).unwrap();
    assert_eq!((counts.train, counts.validation), (27, 3));
}

#[test]
fn own_validation_samples_and_a_share_of_zero_are_kept() {
    let mut set = synthetic(100);
    let none = ValidationConfig { share: 0.0, group_by: None };
    assert_eq!(set.split_validation(1, &none).unwrap().validation, 0);
    set.samples.set_split(5, Split::Validation);
    let counts = set.split_validation(1, &ValidationConfig::default()).unwrap();
    assert_eq!((counts.train, counts.validation), (99, 1));
}

#[test]
fn unknown_groups_and_empty_validations_are_refused() {
    let (_folder, list) = fixture::manifest(4, 2);
    let mut set = open("manifest", Some(&list), &fixture::config()).unwrap();
    let by = |name: &str, share| ValidationConfig { share, group_by: Some(name.into()) };
    let error = set.split_validation(1, &by("actor", 0.1)).unwrap_err().to_string();
    assert!(error.contains("actor") && error.contains("speaker"), "{error}");
    // Two speakers of two samples each: a tenth cannot be held out.
    let error = set.split_validation(1, &by("speaker", 0.1)).unwrap_err().to_string();
    assert!(error.contains("share"), "{error}");
    assert_eq!(set.split_validation(1, &by("speaker", 0.5)).unwrap().validation, 2);
}

#[test]
fn none_takes_the_groups_of_a_set_away() {
    let mut set = synthetic(1_000);
    let none = ValidationConfig { group_by: Some(umt_data::NO_GROUPS.into()), ..ValidationConfig::default() };
    let counts = set.split_validation(1, &none).unwrap();
    assert_eq!((counts.train, counts.validation, counts.left_out), (900, 100, 0));
}

#[test]
fn a_rule_for_another_set_is_fitted_and_said() {
    let set = synthetic(100);
    let rule = |name: &str| ValidationConfig { share: 0.2, group_by: Some(name.into()) };
    let (fitted, text) = rule("speaker-of-another-set").for_set(&set);
    assert_eq!((fitted.share, fitted.group_by), (0.2, None));
    let text = text.unwrap();
    assert!(text.contains("speaker-of-another-set") && text.contains("synthetic-av"), "{text}");
    for known in [set.group_names[0].as_str(), umt_data::NO_GROUPS] {
        let (fitted, text) = rule(known).for_set(&set);
        assert_eq!((fitted.group_by.as_deref(), text), (Some(known), None));
    }
}
