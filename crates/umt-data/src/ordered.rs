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
    let shared = Mutex::new(State {
        next: 0,
        taken: 0,
        ready: BTreeMap::new(),
        stop: false,
    });
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
