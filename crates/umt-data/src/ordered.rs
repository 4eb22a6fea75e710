//! Work on several threads, results in order, a bounded number in flight.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

struct State<T> {
    /// The next item nobody has begun.
    next: usize,
    /// Items handed over.
    taken: usize,
    ready: BTreeMap<usize, Option<T>>,
    stop: bool,
}

/// Runs `work(state, i)` for `0..count` on `threads` threads and calls `take(i, result)` on this
/// thread in the order of `i`. At most `bound` items are begun and not yet taken. An error of
/// `take` stops the threads and is returned; so is the panic of a thread, as an error.
pub(crate) fn in_order<S, T: Send>(
    count: usize,
    threads: usize,
    bound: usize,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> T + Sync,
    take: &mut dyn FnMut(usize, T) -> io::Result<()>,
) -> io::Result<()> {
    let shared = Mutex::new(State { next: 0, taken: 0, ready: BTreeMap::new(), stop: false });
    let changed = Condvar::new();
    let run = || {
        let mut state = start();
        loop {
            let mut guard = lock(&shared);
            while !guard.stop && guard.next < count && guard.next >= guard.taken + bound.max(1) {
                guard = wait(&changed, guard);
            }
            if guard.stop || guard.next >= count {
                return;
            }
            let i = guard.next;
            guard.next += 1;
            drop(guard);
            // A panic must reach the waiting thread as a result, or it would wait for ever.
            let result = catch_unwind(AssertUnwindSafe(|| work(&mut state, i))).ok();
            let ended = result.is_none();
            lock(&shared).ready.insert(i, result);
            changed.notify_all();
            if ended {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(run);
        }
        let mut outcome = Ok(());
        for i in 0..count {
            let mut guard = lock(&shared);
            let result = loop {
                match guard.ready.remove(&i) {
                    Some(result) => break result,
                    None => guard = wait(&changed, guard),
                }
            };
            guard.taken = i + 1;
            drop(guard);
            changed.notify_all();
            outcome = match result {
                Some(result) => take(i, result),
                None => Err(io::Error::other(format!("decoding item {i} panicked"))),
            };
            if outcome.is_err() {
                break;
            }
        }
        lock(&shared).stop = true;
        changed.notify_all();
        outcome
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_and_few_are_in_flight() {
        let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut seen = Vec::new();
        let work = |_: &mut (), i: usize| {
            let ahead = begun.fetch_add(1, Ordering::SeqCst) + 1 - taken.load(Ordering::SeqCst);
            assert!(ahead <= 6, "{ahead}");
            i * i
        };
        in_order(100, 4, 5, || (), work, &mut |i, square| {
            taken.store(i + 1, Ordering::SeqCst);
            seen.push(square);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (0..100).map(|i| i * i).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_and_a_panic_end_it() {
        let stop = |i, _| if i == 3 { Err(io::Error::other("enough")) } else { Ok(()) };
        let error = in_order(1_000, 3, 8, || (), |_: &mut (), i| i, &mut { stop }).unwrap_err();
        assert_eq!(error.to_string(), "enough");
        let work = |_: &mut (), i: usize| assert!(i != 7, "as the test wants");
        let error = in_order(50, 2, 4, || (), work, &mut |_, ()| Ok(())).unwrap_err();
        assert!(error.to_string().contains("item 7"));
    }
}
