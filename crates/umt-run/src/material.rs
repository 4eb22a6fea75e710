//! The data of a run, opened when a stage first needs it: a run whose stages are all finished decodes nothing.

use crate::error::RunError;
use crate::record::Samples;
use crate::watch::Watch;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use umt_data::{Cache, DataConfig, Dataset, SPLIT_SEED, Split};
use umt_recipe::{Data, Loaded};
use umt_store::Store;

/// The warning about a cache that was damaged.
pub(crate) fn rebuilt(reason: &str) -> String {
    format!("the cache of decoded samples was damaged ({reason}) and was made again")
}

/// The data set of a run.
pub(crate) struct Material {
    /// The set with its validation share cut out.
    split: Dataset,
    /// The set as it came, for stages that train on all of train.
    whole: Dataset,
    config: DataConfig,
    split_cache: Option<Arc<Cache>>,
    whole_cache: Option<Arc<Cache>>,
}

impl Material {
    /// Reads the list of the set; decodes and writes nothing.
    ///
    /// The recipe is returned as it is for that set: a rule of validation belongs to the recipe's own set; for another one
    /// it is fitted, and `warn` is told.
    pub fn open(
        loaded: &Loaded,
        dataset: Option<&str>,
        data: Option<&Path>,
        warn: &mut dyn FnMut(&str),
    ) -> Result<(Material, Loaded), RunError> {
        let Data { set: own, root: own_root, config } = &loaded.recipe.data;
        // A recipe's own root belongs to its own set.
        let root = data.or(own_root.as_deref().filter(|_| dataset.is_none()));
        let whole = umt_data::open(dataset.unwrap_or(own), root, config)?;
        whole.trainable()?;
        let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let moved = data.zip(own_root.as_deref()).is_some_and(|(data, own)| place(data) != place(own));
        let mut config = config.clone();
        let mut loaded = loaded.clone();
        if whole.name != *own || moved {
            let (validation, text) = config.validation.for_set(&whole);
            config.validation = validation;
            text.iter().for_each(|text| warn(text));
            loaded = loaded.on_other_data(&whole.name, root, &config.validation);
        }
        let mut split = whole.clone();
        split.split_validation(SPLIT_SEED, &config.validation)?;
        Ok((Material { split, whole, config, split_cache: None, whole_cache: None }, loaded))
    }

    /// Class names.
    pub fn classes(&self) -> &[String] {
        &self.split.classes
    }

    /// The files of each test sample, each once, by id.
    pub fn test_files(&self) -> BTreeMap<String, Vec<PathBuf>> {
        let test = self.split.iter().filter(|sample| sample.split() == Split::Test);
        let files = test.map(|sample| {
            let all: BTreeSet<PathBuf> = sample.sources().filter_map(|(_, s)| Some(s.path()?.to_owned())).collect();
            (sample.id().to_owned(), all.into_iter().collect::<Vec<_>>())
        });
        files.filter(|(_, all)| !all.is_empty()).collect()
    }

    /// What defines the set and its splits.
    pub fn digest(&self) -> String {
        self.split.digest()
    }

    /// The decoded samples; with `refit` those whose training split includes validation.
    pub fn cache(&mut self, refit: bool, store: &Store, watch: &mut dyn Watch) -> Result<Arc<Cache>, RunError> {
        let (set, kept) = match refit {
            true => (&self.whole, &mut self.whole_cache),
            false => (&self.split, &mut self.split_cache),
        };
        if let Some(cache) = kept {
            return Ok(Arc::clone(cache));
        }
        let mut tell = |p: umt_data::Progress| watch.on_decode(p.done, p.total);
        let cache = Arc::new(Cache::build(set, &self.config, &store.path("cache"), &mut tell, store)?);
        if let Some(reason) = cache.rebuilt() {
            watch.on_warning(&rebuilt(reason));
        }
        *kept = Some(Arc::clone(&cache));
        Ok(cache)
    }

    /// Samples of a split: those held out are named by the set with its share cut out, whichever cache is read.
    pub fn indices(
        &mut self,
        split: Split,
        refit: bool,
        store: &Store,
        watch: &mut dyn Watch,
    ) -> Result<Vec<usize>, RunError> {
        match split {
            Split::Train if refit => Ok(self.cache(true, store, watch)?.indices(Split::Train)),
            _ => Ok(self.cache(false, store, watch)?.indices(split)),
        }
    }

    /// How many samples there are.
    pub fn samples(&mut self, refit: bool, store: &Store, watch: &mut dyn Watch) -> Result<Samples, RunError> {
        let cache = self.cache(false, store, watch)?;
        let counts = cache.counts();
        let skipped = cache.skip_counts().into_iter().map(|(p, n)| (p.name().to_owned(), n)).collect();
        let train = self.indices(Split::Train, refit, store, watch)?.len();
        let left_out = match refit {
            true => self.cache(true, store, watch)?.counts().left_out,
            false => counts.left_out,
        };
        Ok(Samples { train, validation: counts.validation, test: counts.test, left_out, skipped })
    }
}
