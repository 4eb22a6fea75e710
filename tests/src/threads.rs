//! R10: no result depends on threads, loader workers or prefetch.

use crate::tiny::{Outcome, Watcher, options, outputs, recipe, run};

#[test]
fn threads_workers_and_prefetch_change_no_byte() -> Outcome {
    let mut expected = None;
    for (threads, workers, prefetch) in [(1, 0, 1), (2, 1, 4), (4, 2, 1), (2, 8, 4)] {
        let folder = tempfile::tempdir()?;
        let (workers, prefetch) = (format!("train.workers={workers}"), format!("train.prefetch={prefetch}"));
        let loaded = recipe(&[&workers, &prefetch])?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        pool.install(|| run(&loaded, &options(folder.path(), &[]), &mut Watcher::default()))?;
        let found = outputs(&folder.path().join("tiny"))?;
        assert_eq!(found.len(), 9);
        let expected = expected.get_or_insert_with(|| found.clone());
        assert_eq!(*expected, found, "{threads} threads, {workers}, {prefetch}");
    }
    Ok(())
}
