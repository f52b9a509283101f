//! The janitor: a task that advances the clock, sends objects away that are too old or idle for too long, and sees
//! that there are enough. It holds the pool weakly, and goes home when there is nothing to look after.

use std::sync::{Arc, Weak};

use super::clock::Tick;
use super::inner::Inner;
use crate::Exit;
use crate::resource::Resource;
use crate::runtime::{Runtime, TIME_PASSES};

/// Puts one to work on this runtime, if there is one.
#[cold]
pub(super) fn start<R: Resource>(pool: &Arc<Inner<R>>) {
    let Ok(runtime) = Runtime::try_current() else { return };
    if !TIME_PASSES {
        return;
    }
    if std::mem::replace(&mut pool.state.lock().upkeep, true) {
        return;
    }
    pool.clock.advance();
    let janitor = Janitor(Arc::downgrade(pool));
    drop(runtime.spawn(async move {
        // The first tick is over at once.
        let mut ticks = tokio::time::interval(Tick::LENGTH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(pool) = janitor.0.upgrade() else { return };
            if !pool.look_after() {
                return;
            }
        }
    }));
}

/// At work. However it ends, the next check-out puts another one to work.
struct Janitor<R: Resource>(Weak<Inner<R>>);

impl<R: Resource> Drop for Janitor<R> {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.state.lock().upkeep = false;
        }
    }
}

impl<R: Resource> Inner<R> {
    /// One round. Whether there will be anything to do in the next one.
    fn look_after(self: &Arc<Self>) -> bool {
        self.clock.advance();
        let now = self.clock.now();
        let mut state = self.state.lock();
        let counts = state.slots.counts();
        let mut idle = counts.idle;
        let old = state.slots.weed(usize::MAX, |stub| {
            let unused = idle > self.config.min_idle
                && self.config.idle_timeout.is_some_and(|most| now.since(stub.returned) >= most);
            let goes = unused || stub.expires <= now;
            idle -= usize::from(goes);
            goes
        });
        drop(state);
        for (slot, handle, stub) in old {
            self.retire(slot, handle, stub, Exit::Completed);
        }
        self.feed();
        counts.idle + counts.lent + counts.creating + counts.ending + counts.waiting > 0 || self.config.min_idle > 0
    }
}
