//! What a recipe makes of a set: the counts that its stages will report.

use super::Usage;
use crate::{
    Dataset, OnError, SPLIT_SEED, Split, SplitCounts,
    cache::leave_out_copies,
    finding::{Finding, FindingKind},
};
use serde::{Deserialize, Serialize};

/// The samples that a recipe trains on and measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The recipe's name.
    pub recipe: String,
    /// Usable samples of each part, after validation is held out.
    pub counts: SplitCounts,
    /// Samples that cannot be used.
    pub skipped: usize,
    /// Whether such samples end a run (`data.on-error = "stop"`) or are left out and counted.
    pub on_error: OnError,
    /// How the rule of validation had to be fitted to the set, if it was written for another.
    pub validation: Option<String>,
}

impl Plan {
    /// Cuts `set` as a run would: validation by its rule, then samples whose stored form equals that of a held-out one.
    pub(super) fn new(
        usage: &Usage,
        set: &mut Dataset,
        records: &[Option<u128>],
        usable: &[bool],
    ) -> (Self, Option<Finding>) {
        let rule = &usage.config.validation;
        let (rule, validation) = if usage.own { (rule.clone(), None) } else { rule.for_set(set) };
        let failed = set.trainable().and_then(|()| set.split_validation(SPLIT_SEED, &rule).map(drop)).err();
        leave_out_copies(set, |row| records.get(row).copied().flatten());
        let count = |split| set.iter().filter(|sample| sample.split() == split && usable[sample.row()]).count();
        let counts = SplitCounts {
            train: count(Split::Train),
            validation: count(Split::Validation),
            test: count(Split::Test),
            left_out: count(Split::LeftOut),
        };
        let recipe = usage.recipe.clone();
        let plan = Self { recipe, counts, skipped: 0, on_error: usage.config.on_error, validation };
        (plan, failed.map(|error| Finding::new(FindingKind::Recipe, error.to_string())))
    }
}
