//! The janitor: a task that advances the clock, retires handles that are too old or were idle for too long, validates
//! quiet ones, and creates missing ones. It holds the pool weakly, and ends when there is nothing to do.
//!
//! 1. At most one janitor runs. A check-out that finds none starts one on its own runtime, if that has timers. The
//!    janitor ends with that runtime.
//! 2. No idle handle is retired for its age if fewer than `min_idle` would be left, unless there is no free slot for
//!    its replacement.
//! 3. It takes a tenth of the idle handles away from users at a time, and at least one.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::clock::Tick;
use super::create::LostError;
use super::inner::{Counters, Holder, Inner};
use super::validate::Unvalidated;
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::Caller;
use crate::observer::Subject;
use crate::resource::Resource;
use crate::rt::catch;
use crate::rt::runtime::{Runtime, TIME_PASSES};
use crate::rt::time::{self, Deadline};

/// How often the pool tries to fill itself while the backend is down and no caller waits.
const REFILL: Duration = Duration::from_secs(1);

/// Starts a janitor on this runtime, if there is one and no janitor runs. Sets the clock in any case.
#[cold]
pub(super) fn start<R: Resource>(pool: &Arc<Inner<R>>) {
    if !TIME_PASSES {
        return;
    }
    pool.clock.advance();
    let Ok(runtime) = Runtime::try_current() else { return };
    let state = pool.state.lock();
    let starts = !state.has_janitor && state.timerless != Some(runtime.id());
    drop(state);
    if !starts {
        return;
    }
    if !time::has_timers() {
        // The next check-out on another runtime starts it.
        pool.state.lock().timerless = Some(runtime.id());
        return;
    }
    if mem::replace(&mut pool.state.lock().has_janitor, true) {
        return;
    }
    let janitor = Janitor { pool: Arc::downgrade(pool), refill: Tick::ZERO };
    drop(runtime.spawn(janitor.work()));
}

/// A running janitor. However it ends, the next check-out starts another one.
struct Janitor<R: Resource> {
    /// Empty once it has signed off.
    pool: Weak<Inner<R>>,
    /// When to try to fill the pool next while the backend is down.
    refill: Tick,
}

impl<R: Resource> Janitor<R> {
    async fn work(mut self) {
        // The first tick is immediate.
        let Ok(mut ticks) = catch::call(|| tokio::time::interval(Tick::LENGTH)) else { return };
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(pool) = self.pool.upgrade() else { return };
            if !pool.run_round(&mut self.refill) {
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
            pool.state.lock().has_janitor = false;
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Does one round. Returns whether there will be anything to do in the next one.
    fn run_round(self: &Arc<Self>, refill: &mut Tick) -> bool {
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
        state.has_janitor = busy || awaited;
        state.has_janitor
    }

    /// Reports the uses that have become too long since the last round.
    fn report_long_uses(&self, now: Tick) {
        let Some(most) = self.config.leak_after else { return };
        // A use has the tick of the round before it began, and must not count as too long at once.
        let most = most.max(Tick::LENGTH);
        let mut state = self.state.lock();
        let before = mem::replace(&mut state.inspected, now);
        let became_long = |holder: &&Holder| (before < holder.since.after(most)) && holder.since.after(most) <= now;
        let long: Vec<Holder> = state.slots.lent().filter(became_long).cloned().collect();
        drop(state);
        for Holder { origin, details, since } in long {
            Counters::add(&self.counters.held_too_long, 1);
            self.reaper.accounting().held_too_long(Subject::of::<R>(origin.taken_at, &details), now.since(since));
        }
    }

    /// Begins the creations that are wanted: for waiters, for `min_idle`, and as replacements of old handles.
    fn replenish(self: &Arc<Self>, now: Tick, refill: &mut Tick) {
        let state = self.state.lock();
        let outgoing = state.slots.idle().filter(|meta| meta.expires <= now).count();
        let idly = state.breaker.is_open() && state.slots.counts().waiting == 0;
        drop(state);
        if idly {
            if now < *refill {
                return;
            }
            *refill = now.after(REFILL);
        }
        self.start_creations_for(self.config.min_idle.saturating_add(outgoing), None);
    }

    /// Retires idle handles that are too old, or were idle for too long.
    fn retire_idle(self: &Arc<Self>, now: Tick) {
        let mut state = self.state.lock();
        let counts = state.slots.counts();
        let taken = counts.idle + counts.lent + counts.creating + counts.ending;
        let least = self.config.min_idle.min(counts.max);
        let mut spare = counts.idle.saturating_sub(least);
        // In a full pool, one handle at a time is retired before its replacement is created.
        let mut exchanged = usize::from(taken >= counts.max && counts.creating + counts.ending == 0);
        let mut out = state.slots.remove_idle(usize::MAX, |meta| {
            meta.expires <= now && (take_one(&mut spare) || take_one(&mut exchanged))
        });
        if let Some(most) = self.config.idle_timeout {
            out.extend(
                state.slots.remove_idle(usize::MAX, |meta| now.since(meta.returned) >= most && take_one(&mut spare)),
            );
        }
        drop(state);
        self.retire_all(out);
    }

    /// Validates idle handles that were quiet for too long.
    fn keep_alive(self: &Arc<Self>, now: Tick) {
        let Some(interval) = self.config.keepalive else { return };
        let mut state = self.state.lock();
        // Handles that were just validated are at the end, as if they had been used.
        state.slots.sort_idle(|meta| meta.returned);
        let most = state.slots.counts().idle.div_ceil(10);
        let quiet = state.slots.take_idle(most, self.own_holder(), |meta| now.since(meta.alive_at()) >= interval);
        drop(state);
        // In tasks of their own: one that blocks must not stop the janitor.
        for (slot, handle) in quiet {
            Unvalidated::idle(Arc::clone(self), slot, handle).validate_in_background(Caller::Drop);
        }
    }
}

fn take_one(of: &mut usize) -> bool {
    let any = *of > 0;
    *of -= usize::from(any);
    any
}

impl<R: Resource> Inner<R> {
    /// Retires the idle handles that `keep` rejects, and returns their number.
    pub(super) fn retain(self: &Arc<Self>, mut keep: impl FnMut(&R::Handle) -> bool) -> usize {
        let slots = self.state.lock().slots.idle_slots();
        let mut retired = 0;
        // One at a time, so that the others can be taken meanwhile. Each goes back to the end, so the order stays the
        // same.
        for slot in slots {
            let taken = self.state.lock().slots.take_slot(slot, self.own_holder());
            let Some(handle) = taken else { continue };
            // A panic of the predicate rejects the handle.
            if catch::call(|| keep(&handle)).unwrap_or(false) {
                self.put_back_unused(slot, handle);
            } else {
                let meta = self.state.lock().slots.end(slot);
                self.retire(slot, handle, meta, Exit::Completed);
                retired += 1;
            }
        }
        retired
    }

    /// Waits until `min_idle` handles are idle, or as many as there can be.
    pub(super) async fn warm(self: &Arc<Self>) -> Result<(), Error<R::Cause>> {
        let mut deadline = Deadline::after(self.config.acquire_timeout);
        let lost = LostError::<R>::default();
        loop {
            // Enabled before the check, so that no change after it is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if Runtime::try_current().is_err() {
                return Err(Error::runtime("warming a pool needs a tokio runtime"));
            }
            start(self);
            let error = lost.lock().take();
            if let Some(error) = error {
                return Err(error);
            }
            self.start_creations_for(self.config.min_idle, Some(&lost));
            if let Some(outcome) = self.is_warm() {
                return outcome;
            }
            // Dropping this future leaves the creations to the pool.
            poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => deadline.poll_missed(Stage::Acquiring, cx).map(Err),
            })
            .await?;
        }
    }

    /// Returns `None` while a creation runs.
    fn is_warm(&self) -> Option<Result<(), Error<R::Cause>>> {
        let state = self.state.lock();
        if state.slots.is_closed() {
            return Some(Err(self.closed()));
        }
        if state.slots.counts().creating > 0 {
            return None;
        }
        let cause = state.breaker.last_failure().filter(|_| state.breaker.is_open());
        Some(cause.map_or(Ok(()), |(cause, _)| Err(cause.clone().into_unavailable())))
    }
}
