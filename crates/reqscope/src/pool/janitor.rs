//! The janitor: a task that advances the clock, sends objects away that are too old or idle for too long, proves the
//! quiet ones, and sees that there are enough. It holds the pool weakly, and goes home when there is nothing to look
//! after.
//!
//! 1. At most one is at work. Each check-out that finds none puts one to work, on its own runtime; with that runtime it
//!    ends.
//! 2. Nothing idle is retired for its age that would leave fewer than `min_idle`, unless there is no slot for another
//!    one besides.
//! 3. It takes a tenth of the idle ones from their users at a time, and at least one.

use std::future::{pending, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::clock::Tick;
use super::inner::{Counters, Inner, Note};
use super::validate::Doubtful;
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::observer::Subject;
use crate::resource::Resource;
use crate::rt::catch;
use crate::rt::runtime::{Runtime, TIME_PASSES};
use crate::rt::time::Deadline;

/// While the backend is down and nobody asks for it, this often a creation looks whether it is back.
const REFILL: Duration = Duration::from_secs(1);

/// Puts one to work on this runtime, if there is one and nobody is at work. In any case the clock is right then.
#[cold]
pub(super) fn start<R: Resource>(pool: &Arc<Inner<R>>) {
    if !TIME_PASSES {
        return;
    }
    pool.clock.advance();
    let Ok(runtime) = Runtime::try_current() else { return };
    if mem::replace(&mut pool.state.lock().upkeep, true) {
        return;
    }
    let janitor = Janitor { pool: Arc::downgrade(pool), refill: Tick::ZERO };
    drop(runtime.spawn(janitor.work()));
}

/// At work. However that ends, the next check-out puts another one to work.
struct Janitor<R: Resource> {
    /// Of no pool, once it goes home.
    pool: Weak<Inner<R>>,
    /// When to fill the pool next, though the backend is down.
    refill: Tick,
}

impl<R: Resource> Janitor<R> {
    async fn work(mut self) {
        // The first tick is over at once.
        let Ok(mut ticks) = catch::call(|| tokio::time::interval(Tick::LENGTH)) else {
            // This runtime has no timers. Nobody else need try on it.
            return pending().await;
        };
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(pool) = self.pool.upgrade() else { return };
            if !pool.look_after(&mut self.refill) {
                // It has signed off, and may have a successor already.
                self.pool = Weak::new();
                return;
            }
        }
    }
}

impl<R: Resource> Drop for Janitor<R> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.state.lock().upkeep = false;
        }
    }
}

impl<R: Resource> Inner<R> {
    /// One round. Whether there will be anything to do in the next one.
    fn look_after(self: &Arc<Self>, refill: &mut Tick) -> bool {
        self.clock.advance();
        let now = self.clock.now();
        self.report_long_uses(now);
        self.replenish(now, refill);
        self.retire_idle(now);
        self.keep_alive(now);
        let mut state = self.state.lock();
        let counts = state.slots.counts();
        let busy = counts.idle + counts.lent + counts.creating + counts.ending + counts.waiting > 0;
        let awaited = self.config.min_idle > 0 && !state.slots.is_closed();
        state.upkeep = busy || awaited;
        state.upkeep
    }

    /// Tells of the uses that have become too long since the last round.
    fn report_long_uses(&self, now: Tick) {
        let Some(most) = self.config.leak_after else { return };
        // What was taken since the last round bears its tick, and must not be too old at once.
        let most = most.max(Tick::LENGTH);
        let mut state = self.state.lock();
        let before = mem::replace(&mut state.inspected, now);
        let became_long = |note: &&Note| (before < note.since.after(most)) && note.since.after(most) <= now;
        let long: Vec<Note> = state.slots.lent().filter(became_long).copied().collect();
        drop(state);
        for Note { origin, since } in long {
            Counters::add(&self.counters.held_too_long, 1);
            self.reaper.accounting().held_too_long(Subject::of::<R>(origin.taken_at), now.since(since));
        }
    }

    /// Begins what is wanted: for those who wait, to have enough idle ones, and in the place of those that go next.
    fn replenish(self: &Arc<Self>, now: Tick, refill: &mut Tick) {
        let state = self.state.lock();
        let outgoing = state.slots.idle().filter(|stub| stub.expires <= now).count();
        let idly = state.breaker.is_open() && state.slots.counts().waiting == 0;
        drop(state);
        if idly {
            if now < *refill {
                return;
            }
            *refill = now.after(REFILL);
        }
        self.feed_up_to(self.config.min_idle.saturating_add(outgoing));
    }

    /// Sends away what is too old, and what nobody has used for too long.
    fn retire_idle(self: &Arc<Self>, now: Tick) {
        let mut state = self.state.lock();
        let counts = state.slots.counts();
        let taken = counts.idle + counts.lent + counts.creating + counts.ending;
        let least = self.config.min_idle.min(counts.max);
        let mut spare = counts.idle.saturating_sub(least);
        // Where the one that comes cannot stand beside the one that goes, one at a time goes first.
        let mut exchanged = usize::from(taken >= counts.max && counts.creating + counts.ending == 0);
        let mut out = state
            .slots
            .weed(usize::MAX, |stub| stub.expires <= now && (take_one(&mut spare) || take_one(&mut exchanged)));
        if let Some(most) = self.config.idle_timeout {
            out.extend(state.slots.weed(usize::MAX, |stub| now.since(stub.returned) >= most && take_one(&mut spare)));
        }
        drop(state);
        self.retire_all(out);
    }

    /// Has those proved that were quiet for too long.
    fn keep_alive(self: &Arc<Self>, now: Tick) {
        let Some(interval) = self.config.keepalive else { return };
        let mut state = self.state.lock();
        // Those that came back from their proof lie on top, as if they had been used.
        state.slots.sort_idle(|stub| stub.returned);
        let most = state.slots.counts().idle.div_ceil(10);
        let quiet = state.slots.take_some(most, Note::own(), |stub| now.since(stub.alive_at()) >= interval);
        drop(state);
        for (slot, handle) in quiet {
            Doubtful::idle(Arc::clone(self), slot, handle).hand_over();
        }
    }
}

fn take_one(of: &mut usize) -> bool {
    let any = *of > 0;
    *of -= usize::from(any);
    any
}

impl<R: Resource> Inner<R> {
    /// Ends what is idle and does not please. How many that were.
    pub(super) fn retain(self: &Arc<Self>, mut pleases: impl FnMut(&R::Handle) -> bool) -> usize {
        let slots = self.state.lock().slots.idle_slots();
        let mut retired = 0;
        // One at a time: the others can be had meanwhile. Each goes back on top, so that all lie as before in the end.
        for slot in slots {
            let taken = self.state.lock().slots.take_this(slot, Note::own());
            let Some(handle) = taken else { continue };
            // A predicate that panics has seen nothing good.
            if catch::call(|| pleases(&handle)).unwrap_or(false) {
                self.put_unused(slot, handle);
            } else {
                let stub = self.state.lock().slots.end(slot);
                self.retire(slot, handle, stub, Exit::Completed);
                retired += 1;
            }
        }
        retired
    }

    /// Waits until as many are idle as are to be, or as there can be.
    pub(super) async fn warm(self: &Arc<Self>) -> Result<(), Error<R::Cause>> {
        let mut deadline = Deadline::after(self.config.acquire_timeout);
        loop {
            // Before the look: what happens after it is heard.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if Runtime::try_current().is_err() {
                return Err(Error::runtime("a pool that is to be warmed needs a tokio runtime"));
            }
            start(self);
            self.feed();
            if let Some(outcome) = self.is_warm() {
                return outcome;
            }
            // Dropped here, it leaves the creations to the pool.
            poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => deadline.poll_missed(Stage::Acquiring, cx).map(Err),
            })
            .await?;
        }
    }

    /// `None` while something is being created.
    fn is_warm(&self) -> Option<Result<(), Error<R::Cause>>> {
        let state = self.state.lock();
        if state.slots.is_closed() {
            return Some(Err(Error::closed()));
        }
        if state.slots.counts().creating > 0 {
            return None;
        }
        let cause = state.breaker.last_failure().filter(|_| state.breaker.is_open());
        Some(cause.map_or(Ok(()), |(cause, _)| Err(cause.clone().into_unavailable())))
    }
}
