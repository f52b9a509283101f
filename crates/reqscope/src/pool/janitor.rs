//! The janitor: a task that retires handles that are too old or were idle for too long, validates quiet ones, and creates
//! missing ones. It holds the pool weakly, and ends when there is nothing to do. No promise about a single handle depends
//! on it: a check-out reads the clock itself.
//!
//! 1. At most one janitor does its rounds. A check-out that finds none, or one whose round is overdue, starts another one
//!    on its own runtime, if that has timers; the former one ends at its next round.
//! 2. No idle handle is retired for its age if fewer than `min_idle` would be left, unless there is no free slot for
//!    its replacement.
//! 3. It takes a tenth of the idle handles away from users at a time, and at least one.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::clock::Moment;
use super::create::LostError;
use super::inner::{Counters, Holder, Inner, Keep, PoolState};
use crate::error::{Error, Stage};
use crate::observer::Subject;
use crate::resource::Resource;
use crate::rt::catch;
use crate::rt::runtime::{Runtime, TIME_PASSES};
use crate::rt::time::{self, Deadline};

/// The time between two rounds.
const ROUND: Duration = Duration::from_millis(100);
/// How late a round may be before a check-out starts another janitor: its runtime may not be driven.
const LATE: Duration = Duration::from_secs(1);
/// So many creations that are dropped at once mean that their runtime has ended.
const MOST_DROPPED: u32 = 3;
/// How often the pool tries to fill itself while the backend is down and no caller waits.
const REFILL: Duration = Duration::from_secs(1);

/// Starts a janitor on this runtime, if there is one and the round of the present one is overdue.
#[cold]
pub(super) fn start<R: Resource>(pool: &Arc<Inner<R>>, now: Moment) {
    if !TIME_PASSES {
        return;
    }
    let Ok(runtime) = Runtime::try_current() else { return };
    let state = pool.state.lock();
    let starts = state.janitor_overdue < now && state.timerless != Some(runtime.id());
    drop(state);
    if !starts {
        return;
    }
    let timers = time::has_timers();
    let mut state = pool.state.lock();
    if !timers {
        // The next check-out on another runtime starts it.
        state.timerless = Some(runtime.id());
        return;
    }
    if state.janitor_overdue >= now {
        return;
    }
    state.janitor = state.janitor.wrapping_add(1);
    state.janitor_overdue = now.after(LATE);
    // The paused clock of a former runtime may have run ahead.
    (state.latest, state.scan_at) = (now, Moment::ZERO);
    let janitor = Janitor { pool: Arc::downgrade(pool), number: state.janitor, refill: Moment::ZERO };
    drop(state);
    drop(runtime.spawn(janitor.work()));
}

/// A running janitor.
struct Janitor<R: Resource> {
    /// Empty once it has signed off.
    pool: Weak<Inner<R>>,
    number: u32,
    /// When to try to fill the pool next while the backend is down.
    refill: Moment,
}

impl<R: Resource> Janitor<R> {
    async fn work(mut self) {
        // The first tick is immediate.
        let Ok(mut ticks) = catch::call(|| tokio::time::interval(ROUND)) else { return };
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(pool) = self.pool.upgrade() else { return };
            if !pool.run_round(&mut self) {
                // It has signed off, and may have a successor already.
                self.pool = Weak::new();
                return;
            }
        }
    }
}

impl<R: Resource> Drop for Janitor<R> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut state = pool.state.lock();
        if state.janitor == self.number {
            state.janitor_overdue = Moment::ZERO;
        }
    }
}

impl<R: Resource> PoolState<R> {
    /// Returns when one of the handles reaches a limit of its age next, or a new one could.
    fn next_scan(&self, pool: &Inner<R>, now: Moment) -> Moment {
        let config = &pool.config;
        let after =
            |moment: Moment, limit: Option<Duration>| limit.map_or(Moment::NEVER, |limit| moment.after(limit));
        let limits = [config.idle_timeout, config.keepalive, config.leak_after, config.lifetime(1.0)];
        let new = after(now, limits.into_iter().flatten().min());
        let expires = self.slots.metadata_ref().map(|meta| meta.expires);
        let idle = self
            .slots
            .idle()
            .map(|meta| after(meta.returned, config.idle_timeout).min(after(meta.alive_at(), config.keepalive)));
        let held = self.slots.lent_in(0..self.slots.len()).map(|holder| after(holder.since, config.leak_after));
        let due = expires.chain(idle).chain(held.filter(|due| *due > now)).min().unwrap_or(Moment::NEVER);
        due.max(now.after(ROUND)).min(new)
    }
}

impl<R: Resource> Inner<R> {
    /// Does one round. Returns whether there will be another one.
    fn run_round(self: &Arc<Self>, janitor: &mut Janitor<R>) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.janitor != janitor.number {
            return false;
        }
        state.janitor_overdue = now.after(LATE);
        state.latest = state.latest.max(now);
        state.give_up_overdue(now);
        let scans = state.scan_at <= now;
        let outgoing = if scans { state.slots.idle().filter(|meta| meta.expires <= now).count() } else { 0 };
        let before = state.scanned;
        if scans {
            state.scanned = now;
        }
        drop(state);
        self.replenish(now, outgoing, &mut janitor.refill);
        let mut validates = false;
        if scans {
            self.report_long_uses(before, now);
            self.retire_idle(now);
            validates = self.keep_alive(now);
        }
        let mut state = self.state.lock();
        if scans {
            // Handles that were just validated are at the end, as if they had been used, until the next scan.
            state.scan_at = if validates { now.after(ROUND) } else { state.next_scan(self, now) };
        }
        let counts = state.slots.counts();
        let busy = counts.idle + counts.lent + counts.waiting + counts.creating + counts.validating + counts.ending;
        let awaited = self.config.min_idle > 0 && !state.slots.is_closed();
        if busy == 0 && !awaited {
            state.janitor_overdue = Moment::ZERO;
            return false;
        }
        true
    }

    /// Reports the uses that have become too long since the last time.
    fn report_long_uses(&self, before: Moment, now: Moment) {
        let Some(most) = self.config.leak_after else { return };
        let mut long = Vec::new();
        self.for_each_holder(|holder| {
            let due = holder.since.after(most);
            if before < due && due <= now {
                long.push(holder.clone());
            }
        });
        for Holder { origin, details, since } in long {
            Counters::add(&self.counters.held_too_long, 1);
            self.reaper.accounting().held_too_long(Subject::of::<R>(origin.taken_at, &details), now.since(since));
        }
    }

    /// Begins the creations that are wanted: for waiters, for `min_idle`, and as replacements of old handles.
    fn replenish(self: &Arc<Self>, now: Moment, outgoing: usize, refill: &mut Moment) {
        let state = self.state.lock();
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
    fn retire_idle(self: &Arc<Self>, now: Moment) {
        let mut state = self.state.lock();
        let counts = state.slots.counts();
        let taken = counts.idle + counts.lent + counts.creating + counts.validating + counts.ending;
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

    /// Validates idle handles that were quiet for too long. Returns whether there are any.
    fn keep_alive(self: &Arc<Self>, now: Moment) -> bool {
        let Some(interval) = self.config.keepalive else { return false };
        let mut state = self.state.lock();
        state.slots.sort_idle(|meta| meta.returned);
        let most = state.slots.counts().idle.div_ceil(10);
        drop(state);
        self.validate_idle(most, |meta| now.since(meta.alive_at()) >= interval) > 0
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
            let claimed = self.state.lock().slots.claim_if_idle(slot);
            let Some((claim, handle, meta)) = claimed else { continue };
            // A panic of the predicate rejects the handle.
            let keeps = catch::call(|| keep(&handle)).unwrap_or(false);
            self.put_claimed(claim, handle, meta, if keeps { Keep::Idle } else { Keep::No });
            retired += usize::from(!keeps);
        }
        retired
    }

    /// Waits until `min_idle` handles are idle, and at least one, or as many as there can be.
    pub(super) async fn warm(self: &Arc<Self>) -> Result<(), Error<R::Cause>> {
        let mut deadline = Deadline::after(self.config.acquire_timeout);
        let lost = LostError::<R>::default();
        let mut dropped = 0;
        loop {
            // Enabled before the check, so that no change after it is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if Runtime::try_current().is_err() {
                return Err(Error::runtime("warming a pool needs a tokio runtime"));
            }
            start(self, self.clock.now());
            let error = lost.lock().take();
            if let Some(error) = error {
                return Err(error);
            }
            self.start_creations_for(self.config.min_idle.max(1), Some(&lost));
            if let Some(outcome) = self.is_warm() {
                return outcome;
            }
            if self.state.lock().slots.counts().creating == 0 {
                // A runtime that has ended drops each creation at once.
                dropped += 1;
                if dropped > MOST_DROPPED {
                    return Err(Error::runtime("this tokio runtime is shutting down"));
                }
            }
            // Dropping this future leaves the creations to the pool.
            poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => deadline.poll_missed(Stage::Acquiring, cx).map(Err),
            })
            .await?;
        }
    }

    /// Returns `None` if handles are missing, and the backend is not known to be down.
    fn is_warm(&self) -> Option<Result<(), Error<R::Cause>>> {
        let state = self.state.lock();
        if state.slots.is_closed() {
            return Some(Err(self.closed()));
        }
        let counts = state.slots.counts();
        if counts.creating > 0 {
            return None;
        }
        if let Some((cause, _)) = state.breaker.last_failure().filter(|_| state.breaker.is_open()) {
            return Some(Err(cause.clone().into_unavailable()));
        }
        let taken = counts.lent + counts.idle + counts.validating + counts.ending;
        let ready = counts.idle + counts.validating;
        (counts.paused || taken >= counts.max || ready >= self.config.min_idle.max(1)).then_some(Ok(()))
    }
}
