//! The attendant: a task that goes along the line and wakes those who have joined since its last round, so that they
//! make a timer for themselves.
//!
//! A crowd is served in microseconds. If each of them read the clock and made a timer, for a timeout that is thousands
//! of times as long, that would be a third of what the whole way costs. So while an attendant is at work, whoever joins
//! the line does neither; who is not served by the next round does both, and has lost so much of its patience as a round
//! takes.
//!
//! 1. At most one is at work, and only on a runtime with threads of its own: one that stands still between two
//!    `block_on` would let those down who wait on another one.
//! 2. It goes home when a round finds that nobody has joined. However it ends, everybody in the line is woken first, or
//!    has been: nobody waits without a timer and without it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::RuntimeFlavor;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::inner::Inner;
use super::janitor;
use crate::resource::Resource;
use crate::rt::catch;
use crate::rt::runtime::{Runtime, TIME_PASSES};
use crate::rt::sync::Ordering;

/// How late a timeout may come in a crowd.
const ROUND: Duration = Duration::from_millis(10);

/// Where patience is shorter than that, everybody makes a timer at once.
const WORTH_IT: Duration = Duration::from_millis(500);

struct Attendant<R: Resource> {
    /// Of no pool, once it goes home.
    pool: Weak<Inner<R>>,
    rounds: Interval,
}

/// Puts one to work, if nobody is and this runtime is one for it.
#[cold]
pub(super) fn start<R: Resource>(pool: &Arc<Inner<R>>) {
    let worth_it = TIME_PASSES && pool.config.acquire_timeout >= WORTH_IT;
    if !worth_it || pool.attended.load(Ordering::Relaxed) {
        return;
    }
    let Some(runtime) = Runtime::try_current().ok().filter(has_threads) else { return };
    let Ok(mut rounds) = catch::call(|| interval_at(Instant::now() + ROUND, ROUND)) else { return };
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = pool.state.lock();
    if pool.attended.swap(true, Ordering::Relaxed) {
        return;
    }
    drop(state);
    drop(runtime.spawn(Attendant { pool: Arc::downgrade(pool), rounds }.work()));
}

fn has_threads(runtime: &Runtime) -> bool {
    runtime.runtime_flavor() != RuntimeFlavor::CurrentThread
}

impl<R: Resource> Attendant<R> {
    async fn work(mut self) {
        loop {
            // Dropped here, with its runtime, it wakes everybody.
            self.rounds.tick().await;
            let Some(pool) = self.pool.upgrade() else { return };
            if !pool.attend() {
                // It has signed off, and may have a successor already.
                self.pool = Weak::new();
                return;
            }
        }
    }
}

impl<R: Resource> Drop for Attendant<R> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut state = pool.state.lock();
        pool.attended.store(false, Ordering::Relaxed);
        let wakers = state.slots.waiters().wakers();
        drop(state);
        catch::wake_all(wakers);
    }
}

impl<R: Resource> Inner<R> {
    /// One round. Whether there will be another one.
    fn attend(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        let newcomers = state.slots.waiters().visit();
        // Relaxed: it changes under the lock only, and is asked there before anybody relies on it.
        self.attended.store(newcomers.is_some(), Ordering::Relaxed);
        let kept = state.upkeep;
        drop(state);
        if !kept {
            // In a crowd nobody else would see that the janitor has gone, and with it the clock.
            janitor::start(self);
        }
        let goes_on = newcomers.is_some();
        catch::wake_all(newcomers.unwrap_or_default());
        goes_on
    }
}
