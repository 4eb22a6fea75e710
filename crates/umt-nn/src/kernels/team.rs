//! Tasks on the calling thread and its helpers, which stay awake for a moment between two calls.
//!
//! A network is hundreds of short kernels in a row. The thread that calls works along instead of waiting for others, and a helper that has just
//! worked looks out for the next call before it sleeps: waking a thread takes as long as a small layer.
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most threads that one call is spread over.
const SEATS: usize = 64;
/// How long a helper looks out for the next call.
const AWAKE: Duration = Duration::from_micros(150);

/// One call. Tasks are cut into a stretch for each thread; who is done with its own goes on with the others'.
struct Job {
    run: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    seats: usize,
    next: [AtomicUsize; SEATS],
}

impl Job {
    /// Works until no task is left.
    fn work(&self, seat: usize) {
        for i in 0..self.seats {
            let of = (seat + i) % self.seats;
            let end = self.tasks * (of + 1) / self.seats;
            loop {
                let task = self.next[of].fetch_add(1, Ordering::Relaxed);
                if task >= end {
                    break;
                }
                // SAFETY: the closure outlives the call, and the call ends after all who work on it.
                unsafe { (*self.run)(task) };
            }
        }
    }
}

struct State {
    /// The call that helpers may join, and the seat of the next one.
    job: Option<*const Job>,
    seat: usize,
    /// Helpers that exist, and those that sleep.
    helpers: usize,
    asleep: usize,
    panic: Option<Box<dyn Any + Send>>,
}

// SAFETY: the pointer is followed only by helpers that have joined, and the call waits for those.
unsafe impl Send for State {}

struct Team {
    /// Held for as long as a call lasts.
    call: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
    /// Calls so far.
    calls: AtomicUsize,
    /// Helpers at work.
    inside: AtomicUsize,
}

static TEAM: Team = Team {
    call: Mutex::new(()),
    state: Mutex::new(State { job: None, seat: 0, helpers: 0, asleep: 0, panic: None }),
    changed: Condvar::new(),
    calls: AtomicUsize::new(0),
    inside: AtomicUsize::new(0),
};

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `tasks` tasks, each exactly once, on up to `threads` threads. False, and nothing has run, if another call is under way.
pub fn run(tasks: usize, threads: usize, f: &(dyn Fn(usize) + Sync)) -> bool {
    let _call = match TEAM.call.try_lock() {
        Ok(call) => call,
        Err(std::sync::TryLockError::Poisoned(call)) => call.into_inner(),
        Err(std::sync::TryLockError::WouldBlock) => return false,
    };
    let seats = threads.clamp(1, SEATS).min(tasks.max(1));
    // SAFETY: a longer life in name only: all who use it are waited for below.
    let run = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(f) };
    let next = std::array::from_fn(|seat| AtomicUsize::new(tasks * seat.min(seats) / seats));
    let job = Job { run, tasks, seats, next };
    let asleep = {
        let mut state = lock(&TEAM.state);
        while state.helpers + 1 < seats && std::thread::Builder::new().name("kernels".into()).spawn(help).is_ok() {
            state.helpers += 1;
        }
        state.job = Some(&job);
        state.seat = 1;
        TEAM.calls.fetch_add(1, Ordering::Release);
        state.asleep
    };
    if asleep > 0 {
        TEAM.changed.notify_all();
    }
    let mine = catch_unwind(AssertUnwindSafe(|| job.work(0)));
    lock(&TEAM.state).job = None;
    // Who has joined is at its last task.
    let mut looks = 0;
    while TEAM.inside.load(Ordering::Acquire) != 0 {
        looks += 1;
        if looks < 2000 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
    let theirs = lock(&TEAM.state).panic.take();
    if let Err(panic) = mine {
        resume_unwind(panic);
    }
    if let Some(panic) = theirs {
        resume_unwind(panic);
    }
    true
}

/// A helper's life.
fn help() {
    let mut seen = 0;
    loop {
        let since = Instant::now();
        let mut looks = 0u32;
        while TEAM.calls.load(Ordering::Acquire) == seen {
            looks += 1;
            if looks.is_multiple_of(64) && since.elapsed() > AWAKE {
                break;
            }
            std::hint::spin_loop();
        }
        let mut state = lock(&TEAM.state);
        while TEAM.calls.load(Ordering::Relaxed) == seen {
            state.asleep += 1;
            state = TEAM.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
        }
        seen = TEAM.calls.load(Ordering::Relaxed);
        let Some(job) = state.job else { continue };
        // SAFETY: a job in the state is alive, and stays so while `inside` counts this helper.
        let job = unsafe { &*job };
        if state.seat == job.seats {
            continue;
        }
        let seat = state.seat;
        state.seat += 1;
        TEAM.inside.fetch_add(1, Ordering::Relaxed);
        drop(state);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.work(seat))) {
            lock(&TEAM.state).panic.get_or_insert(panic);
        }
        TEAM.inside.fetch_sub(1, Ordering::Release);
    }
}
