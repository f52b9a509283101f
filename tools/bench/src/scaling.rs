//! Times two threads that open and drop scopes of one `Scopes`, beside two threads that count in counters of their own
//! and do as much local work. All take turns in each round, so that the load of the machine affects all of them.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use reqscope::Scopes;
use reqscope_records::bench::ScalingRun;

/// How often each thread repeats its operation in a turn.
const TIMES: u32 = 100_000;

/// A counter in cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Counter(AtomicU64);

/// Measures so many rounds, and prints them.
pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let scopes = Scopes::new();
    let counters = [Counter::default(), Counter::default()];
    let open = |_| drop(black_box(scopes.open()));
    let mut run = ScalingRun::default();
    for _ in 0..rounds {
        // As much work as one thread alone needs for a scope, in this round.
        let alone = turn([0], &open);
        let steps = work_of(alone);
        let count = |thread: usize| {
            counters[thread].0.fetch_add(1, Ordering::Relaxed);
            work(steps);
            counters[thread].0.fetch_add(1, Ordering::Relaxed);
        };
        run.alone.push(alone.as_secs_f64() * 1e9);
        let both = [turn([0, 1], &open), turn([0, 1], &count), turn([0, 1], &count)];
        run.turns.push(both.map(|took| took.as_secs_f64() * 1e9));
    }
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

/// Returns how long one operation took while all these threads repeated it.
fn turn<const THREADS: usize>(threads: [usize; THREADS], operation: &(impl Fn(usize) + Sync)) -> Duration {
    let start = Barrier::new(THREADS);
    let one = |number: usize| {
        start.wait();
        let began = Instant::now();
        for _ in 0..TIMES {
            operation(number);
        }
        began.elapsed()
    };
    let sum: Duration = thread::scope(|scope| {
        let threads = threads.map(|number| {
            scope.spawn({
                let one = &one;
                move || one(number)
            })
        });
        threads.into_iter().map(|thread| thread.join().expect("an operation does not panic")).sum()
    });
    sum / (TIMES * THREADS as u32)
}

/// Work that touches no memory.
fn work(steps: u64) {
    for step in 0..steps {
        black_box(step);
    }
}

/// Returns how many steps of work one thread does in this time.
fn work_of(time: Duration) -> u64 {
    const STEPS: u64 = 1_000_000;
    let began = Instant::now();
    work(STEPS);
    let step = began.elapsed().as_secs_f64() / STEPS as f64;
    (time.as_secs_f64() / step) as u64
}
