//! Turns of an operation and of the floor that it is compared with, in each round, so that the load of the machine
//! affects both. The floor has two turns, whose difference is noise.

use std::time::Instant;

use reqscope_records::bench::Turns;

/// Plays so many rounds, after one that warms up. Each of the two runs one turn, and returns its figure.
pub(crate) fn play(rounds: usize, mut floor: impl FnMut() -> f64, mut ours: impl FnMut() -> f64) -> Turns {
    let mut turns = Turns::default();
    for round in 0..=rounds {
        let (first, ours, again) = (floor(), ours(), floor());
        if round > 0 {
            turns.push([ours, first, again]);
        }
    }
    turns
}

/// Returns how many nanoseconds each of so many operations takes.
pub(crate) async fn each(times: usize, operations: impl AsyncFnOnce()) -> f64 {
    let began = Instant::now();
    operations().await;
    began.elapsed().as_secs_f64() * 1e9 / times as f64
}
