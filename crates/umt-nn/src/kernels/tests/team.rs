//! The helpers: every task once, whoever asks; a panic comes out where the call was made.
use super::super::{team, work::parallel};
use std::sync::atomic::{AtomicUsize, Ordering};

fn counts(tasks: usize, call: impl FnOnce(&(dyn Fn(usize) + Sync))) -> Vec<usize> {
    let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
    call(&|i| {
        counts[i].fetch_add(1, Ordering::Relaxed);
    });
    counts.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn every_task_runs_once() {
    for threads in [1, 2, 3, 7, 100] {
        for tasks in [0, 1, 2, 5, 64, 1000] {
            // Another test may hold the helpers: then nothing has run.
            let mut ran = false;
            let counts = counts(tasks, |f| ran = team::run(tasks, threads, f));
            assert!(counts.iter().all(|&count| count == usize::from(ran)), "{threads} threads, {tasks} tasks");
        }
    }
}

#[test]
fn calls_within_calls_and_from_several_threads_run_every_task_once() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                pool.install(|| {
                    for _ in 0..50 {
                        let inner = AtomicUsize::new(0);
                        let outer = counts(20, |f| {
                            parallel(20, true, |i| {
                                f(i);
                                parallel(3, true, |_| {
                                    inner.fetch_add(1, Ordering::Relaxed);
                                });
                            });
                        });
                        assert!(outer.iter().all(|&count| count == 1));
                        assert_eq!(inner.into_inner(), 60);
                    }
                });
            });
        }
    });
}

#[test]
fn a_panic_comes_out_of_the_call_and_the_next_call_works() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for place in [0, 99] {
        let call = || pool.install(|| parallel(100, true, |i| assert!(i != place, "task {i}")));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
        let counts = counts(100, |f| pool.install(|| parallel(100, true, f)));
        assert!(counts.iter().all(|&count| count == 1));
    }
}
