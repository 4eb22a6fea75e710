//! Batches in an order that no thread decides.
//!
//! Batch `b` of epoch `e` is a pure function of (seed, e, b): the order is a keyed permutation of the
//! whole set from which the loader's own samples are taken, so a sample that is left out changes
//! nothing about the order of the others. Threads only prepare batches ahead of time.

use crate::{Batch, Cache, DataError, batch::Builder};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use umt_random::Permutation;

/// How batches are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderConfig {
    /// Samples of a batch.
    pub batch: usize,
    /// The run's seed.
    pub seed: u64,
    /// Threads that prepare batches; 0 prepares each when it is asked for.
    pub workers: usize,
    /// Batches that may be prepared or in preparation ahead of the one in use.
    pub prefetch: usize,
    /// Training: a new order each epoch, and augmentation. Otherwise the list's order and none.
    pub train: bool,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
}

impl Default for LoaderConfig {
    /// 64 samples a batch, one thread, two batches ahead, evaluation.
    fn default() -> Self {
        Self { batch: 64, seed: 0, workers: 1, prefetch: 2, train: false, drop_last: false }
    }
}

/// Makes the batches of any epoch, from any batch on.
#[derive(Clone, Debug)]
pub struct Loader {
    cache: Arc<Cache>,
    /// Usable samples, in the order given.
    samples: Arc<Vec<usize>>,
    /// First and last place in an epoch's order of each batch.
    bounds: Arc<Vec<[usize; 2]>>,
    config: LoaderConfig,
}

impl Loader {
    /// A loader of `indices` (of [`Cache::indices`]); those without a decoded record are passed over.
    ///
    /// In evaluation, samples whose label maps differ in size are never in one batch: those of the
    /// size that comes first in the list come first.
    ///
    /// # Errors
    /// A batch size of 0, or no usable sample.
    pub fn new(cache: Arc<Cache>, mut indices: Vec<usize>, config: LoaderConfig) -> Result<Self, DataError> {
        if config.batch == 0 {
            return Err(DataError::config("batch", "0 is not 1 or more"));
        }
        indices.retain(|&i| cache.has(i));
        if indices.is_empty() {
            return Err(DataError::config("split", format!("`{}` has no usable sample for it", cache.dataset().name)));
        }
        let size = |&i: &usize| cache.shard.index.entries[i].as_ref().and_then(|entry| Some(entry.scene?.map));
        let mut sizes = Vec::new();
        if !config.train {
            for size in indices.iter().map(size) {
                if !sizes.contains(&size) {
                    sizes.push(size);
                }
            }
            indices.sort_by_key(|i| sizes.iter().position(|known| *known == size(i)));
        }
        let mut bounds = Vec::new();
        let mut first = 0;
        while first < indices.len() {
            let most = indices.len().min(first + config.batch);
            let alike = |i: &usize| config.train || size(i) == size(&indices[first]);
            let last = first + indices[first..most].iter().take_while(|i| alike(i)).count();
            if !(config.drop_last && last - first < config.batch) {
                bounds.push([first, last]);
            }
            first = last;
        }
        Ok(Self { samples: Arc::new(indices), bounds: Arc::new(bounds), cache, config })
    }

    /// The decoded set.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// How batches are made.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// The samples it goes over, in the order of the list.
    pub fn samples(&self) -> &[usize] {
        &self.samples
    }

    /// Batches in an epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        self.bounds.len() as u64
    }

    /// The order of an epoch's samples.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        if !self.config.train {
            return self.samples.to_vec();
        }
        let all = self.cache.dataset().len();
        let mut wanted = vec![false; all];
        for &i in self.samples.iter() {
            wanted[i] = true;
        }
        let order = Permutation::new(self.config.seed, "order", epoch, all);
        (0..all).map(|at| order.at(at)).filter(|&i| wanted[i]).collect()
    }

    /// Batches `start..` of an epoch, in order. After an error there are no more.
    pub fn epoch(&self, epoch: u64, start: u64) -> Epoch {
        let end = self.batches_per_epoch();
        let shared = Arc::new(Shared {
            order: self.order(epoch),
            loader: self.clone(),
            epoch,
            state: Mutex::new(State { next: start, taken: start, ready: BTreeMap::new(), stop: false }),
            changed: Condvar::new(),
        });
        let threads = (0..self.config.workers)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.work(end))
            })
            .collect();
        Epoch { shared, threads, next: start, end, builder: None, waited: Duration::ZERO }
    }
}

struct State {
    /// The next batch nobody has begun.
    next: u64,
    /// Batches before this one were handed over.
    taken: u64,
    ready: BTreeMap<u64, Result<Batch, DataError>>,
    stop: bool,
}

struct Shared {
    loader: Loader,
    order: Vec<usize>,
    epoch: u64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn work(&self, end: u64) {
        let ahead = self.loader.config.prefetch.max(1) as u64;
        let mut builder = None;
        loop {
            let mut state = self.lock();
            while !state.stop && state.next < end && state.next >= state.taken + ahead {
                state = self.wait(state);
            }
            if state.stop || state.next >= end {
                return;
            }
            let number = state.next;
            state.next += 1;
            drop(state);
            // A panic must arrive as a result, or the training loop would wait for ever.
            let batch = catch_unwind(AssertUnwindSafe(|| self.build(&mut builder, number)));
            let batch = batch.unwrap_or_else(|_| {
                Err(DataError::Worker { reason: format!("batch {number} of epoch {} panicked", self.epoch) })
            });
            self.lock().ready.insert(number, batch);
            self.changed.notify_all();
        }
    }

    fn build(&self, builder: &mut Option<Builder>, number: u64) -> Result<Batch, DataError> {
        let cache = &self.loader.cache;
        let builder = match builder {
            Some(builder) => builder,
            None => builder.insert(Builder::new(cache)?),
        };
        let config = &self.loader.config;
        let [first, last] = self.loader.bounds[number as usize];
        let draw = config.train.then_some((config.seed, self.epoch));
        builder.build(cache, &self.order[first..last], draw)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The batches of one epoch.
pub struct Epoch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    next: u64,
    end: u64,
    /// For `workers = 0`.
    builder: Option<Builder>,
    waited: Duration,
}

impl Epoch {
    /// Time for which batches were waited for: what training lost to loading.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let began = Instant::now();
        let batch = if self.threads.is_empty() {
            self.shared.build(&mut self.builder, self.next)
        } else {
            let mut state = self.shared.lock();
            let batch = loop {
                match state.ready.remove(&self.next) {
                    Some(batch) => break batch,
                    None => state = self.shared.wait(state),
                }
            };
            state.taken = self.next + 1;
            drop(state);
            self.shared.changed.notify_all();
            batch
        };
        self.waited += began.elapsed();
        self.next = if batch.is_ok() { self.next + 1 } else { self.end };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next) as usize;
        (0, Some(left))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic inside a thread was already handed over as a result.
            let _ = thread.join();
        }
    }
}
