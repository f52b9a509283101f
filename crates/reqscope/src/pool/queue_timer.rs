//! The queue timer: a task that keeps the timeouts of a crowd of waiters. In each round it wakes the waiters that have
//! joined the queue since the last one, so that they create timers.
//!
//! Most waiters are served in microseconds. A clock reading and a timer for each of them, for a timeout that is
//! thousands of times as long, would be a third of the cost of a check-out. While a queue timer runs, a waiter that
//! joins does neither. A waiter that is not served until the next round does both, and its timeout is late by up to one
//! round.
//!
//! 1. At most one runs, and only on a multi-thread runtime: a current-thread runtime that is not driven would stop the
//!    timeouts of waiters on other runtimes.
//! 2. It ends when a round finds no new waiter. However it ends, it wakes all waiters: none of them waits without both
//!    a timer and a queue timer.

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

/// How late a timeout may be while many callers wait.
const ROUND: Duration = Duration::from_millis(10);

/// With an acquire timeout below this, every waiter creates a timer at once.
const WORTH_IT: Duration = Duration::from_millis(500);

struct QueueTimer<R: Resource> {
    /// Empty once it has signed off.
    pool: Weak<Inner<R>>,
    rounds: Interval,
}

/// Starts a queue timer, if none runs and this runtime has threads.
#[cold]
pub(super) fn start<R: Resource>(pool: &Arc<Inner<R>>) {
    let worth_it = TIME_PASSES && pool.config.acquire_timeout >= WORTH_IT;
    if !worth_it || pool.has_queue_timer.load(Ordering::Relaxed) {
        return;
    }
    let Some(runtime) = Runtime::try_current().ok().filter(has_threads) else { return };
    let Ok(mut rounds) = catch::call(|| interval_at(Instant::now() + ROUND, ROUND)) else { return };
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = pool.state.lock();
    if pool.has_queue_timer.swap(true, Ordering::Relaxed) {
        return;
    }
    drop(state);
    drop(runtime.spawn(QueueTimer { pool: Arc::downgrade(pool), rounds }.work()));
}

fn has_threads(runtime: &Runtime) -> bool {
    runtime.runtime_flavor() != RuntimeFlavor::CurrentThread
}

impl<R: Resource> QueueTimer<R> {
    async fn work(mut self) {
        loop {
            // Dropped here with its runtime, it wakes all waiters.
            self.rounds.tick().await;
            let Some(pool) = self.pool.upgrade() else { return };
            if !pool.visit_queue() {
                // It has signed off, and may have a successor already.
                self.pool = Weak::new();
                return;
            }
        }
    }
}

impl<R: Resource> Drop for QueueTimer<R> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut state = pool.state.lock();
        pool.has_queue_timer.store(false, Ordering::Relaxed);
        let wakers = state.slots.waiters().wakers();
        drop(state);
        catch::wake_all(wakers);
    }
}

impl<R: Resource> Inner<R> {
    /// Does one round. Returns whether there will be another one.
    fn visit_queue(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        let newcomers = state.slots.waiters().visit();
        // Relaxed: it changes under the lock only, and is checked there before it is relied on.
        self.has_queue_timer.store(newcomers.is_some(), Ordering::Relaxed);
        let kept = state.has_janitor;
        drop(state);
        if !kept {
            // While many callers wait, no check-out would notice that the janitor has ended, and with it the clock.
            janitor::start(self);
        }
        let goes_on = newcomers.is_some();
        catch::wake_all(newcomers.unwrap_or_default());
        goes_on
    }
}
