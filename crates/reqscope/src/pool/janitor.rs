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
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use super::clock::Moment;
use super::create::LostError;
use super::inner::{HandleMeta, Holder, Inner};
use crate::error::{Error, Stage};
use crate::observer::Subject;
use crate::resource::Resource;
use crate::rt::catch;
use crate::rt::runtime::{Runtime, TIME_PASSES};
use crate::rt::time::Deadline;

/// The time between two rounds.
const ROUND: Duration = Duration::from_millis(100);
/// How late a round may be before a check-out starts another janitor: its runtime may not be driven.
const LATE: Duration = Duration::from_secs(1);
/// How often the pool tries to fill itself while the backend is down and no caller waits.
const REFILL: Duration = Duration::from_secs(1);

/// Starts a janitor on this runtime, if there is one and the round of the present one is overdue.
#[cold]
pub(super) fn start<R: Resource>(pool: &Arc<Inner<R>>, now: Moment) {
    let Ok(runtime) = Runtime::try_current() else { return };
    if !TIME_PASSES || pool.state.lock().timerless == Some(runtime.id()) {
        return;
    }
    // Outside of the lock, because it panics on a runtime without timers.
    let ticks = catch::call(|| tokio::time::interval(ROUND));
    let mut state = pool.state.lock();
    let Ok(ticks) = ticks else {
        // The next check-out on another runtime starts it.
        state.timerless = Some(runtime.id());
        return;
    };
    if state.janitor_overdue >= now {
        return;
    }
    state.janitor = state.janitor.wrapping_add(1);
    state.janitor_overdue = now.after(LATE);
    // The paused clock of a former runtime may have run ahead.
    (state.clock.latest, state.scan_at) = (now, Moment::ZERO);
    let janitor = work(Arc::downgrade(pool), state.janitor, ticks);
    drop(state);
    drop(runtime.spawn(janitor));
    // Reports when the janitor has ended with its runtime.
    pool.watch(&runtime, None);
}

/// Does the rounds, of which the first one is due at once.
async fn work<R: Resource>(pool: Weak<Inner<R>>, number: u32, mut ticks: Interval) {
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match pool.upgrade() {
            Some(pool) if pool.run_round(number) => {}
            _ => return,
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Does one round. Returns whether there will be another one.
    fn run_round(self: &Arc<Self>, number: u32) -> bool {
        let mut state = self.state.lock();
        let now = state.clock.now();
        if state.janitor != number {
            return false;
        }
        state.janitor_overdue = now.after(LATE);
        state.give_up_overdue(now);
        let scans = state.scan_at <= now;
        let idly = state.breaker.is_open() && state.slots.counts().waiting == 0;
        let just_failed = state.breaker.last_failure().is_some_and(|(_, at)| at.elapsed() < REFILL);
        drop(state);
        let outgoing = if scans { self.scan(now) } else { 0 };
        if !(idly && just_failed) {
            self.start_creations_for(self.config.min_idle.saturating_add(outgoing), None);
        }
        let mut state = self.state.lock();
        let awaited = self.config.min_idle > 0 && !state.slots.is_closed();
        let goes_on = awaited || state.slots.occupied() > 0 || state.slots.counts().waiting > 0;
        if !goes_on {
            state.janitor_overdue = Moment::ZERO;
        }
        goes_on
    }

    /// Looks at all handles: reports uses that have become too long since the last time, retires idle handles that are
    /// too old or were idle for too long, and validates those that were quiet for too long. Returns the number of those
    /// that are too old and idle until they are replaced.
    fn scan(self: &Arc<Self>, now: Moment) -> usize {
        let config = &self.config;
        let long_at = |meta: &HandleMeta<R>| meta.since.after(config.leak_after);
        let unused_at = |meta: &HandleMeta<R>| meta.since.after(config.idle_timeout);
        let quiet_at = |meta: &HandleMeta<R>| meta.since.max(meta.proved).after(config.keepalive);
        let mut state = self.state.lock();
        let (before, counts) = (mem::replace(&mut state.scanned, now), state.slots.counts());
        let lent = state.slots.lent_in(0..usize::MAX);
        let long = lent.filter(|(_, meta)| before < long_at(meta) && long_at(meta) <= now);
        let long: Vec<_> = long.map(|(holder, meta)| (holder.clone(), meta.since)).collect();

        // Handles that were validated are at the end, as if they had been used.
        state.slots.sort_idle(|meta| meta.since);
        let mut spare = 0..counts.idle.saturating_sub(config.min_idle.min(counts.max));
        // In a full pool, one handle at a time is retired before its replacement is created.
        let full = state.slots.occupied() >= counts.max;
        let mut exchanged = 0..usize::from(full && counts.creating + counts.ending == 0);
        let out = state.slots.remove_idle(usize::MAX, |meta| {
            let expired = meta.expires <= now;
            let retires = (expired || unused_at(meta) <= now) && spare.next().is_some();
            retires || expired && exchanged.next().is_some()
        });
        let outgoing = state.slots.idle().filter(|meta| meta.expires <= now).count();

        // The next time is when a handle reaches a limit, or a new one could.
        let expires = state.slots.metadata().map(|meta| meta.expires).min();
        let idle = state.slots.idle().map(|meta| unused_at(meta).min(quiet_at(meta))).min();
        let held = state.slots.lent_in(0..usize::MAX).map(|(_, meta)| long_at(meta)).filter(|at| *at > now).min();
        let due = [expires, idle, held].into_iter().flatten().min().unwrap_or(Moment::NEVER);
        let limits = [config.idle_timeout, config.keepalive, config.leak_after, config.lifetime(1.0)];
        let new = now.after(limits.into_iter().flatten().min());
        state.held_too_long += long.len() as u64;
        state.scan_at = due.max(now.after(ROUND)).min(new);
        drop(state);
        self.retire_all(out);
        for (Holder { origin, details }, since) in long {
            self.reaper.accounting().held_too_long(Subject::of::<R>(origin.taken_at, &details), now.since(since));
        }
        self.validate_idle(counts.idle.div_ceil(10), |meta| quiet_at(meta) <= now);
        outgoing
    }

    /// Waits until `min_idle` handles are idle, and at least one, or as many as there can be.
    pub(super) async fn warm(self: Arc<Self>) -> Result<(), Error<R::Cause>> {
        let mut deadline = Deadline::after(self.config.acquire_timeout);
        let lost = LostError::<R>::default();
        let now = self.state.lock().clock.now();
        start(&self, now);
        loop {
            // Enabled before the check, so that no change after it is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            lost.lock().take().map_or(Ok(()), Err)?;
            self.start_creations_for(self.config.min_idle.max(1), Some(&lost));
            if self.is_warm()? {
                return Ok(());
            }
            // The deadline first: on a runtime that has ended, each creation is dropped at once, and only the deadline
            // fails. Dropping this future leaves the creations to the pool.
            poll_fn(|cx| match deadline.poll_missed(Stage::Acquiring, cx) {
                Poll::Ready(missed) => Poll::Ready(Err(missed)),
                Poll::Pending => changed.as_mut().poll(cx).map(Ok),
            })
            .await?;
        }
    }

    /// Returns whether no handle is missing that the pool could create.
    ///
    /// # Errors
    ///
    /// The cause, if the pool is closed or the backend is down.
    fn is_warm(&self) -> Result<bool, Error<R::Cause>> {
        let state = self.state.lock();
        let counts = state.slots.counts();
        if state.slots.is_closed() {
            return Err(self.closed());
        }
        match state.breaker.last_failure() {
            _ if counts.creating > 0 => Ok(false),
            Some((cause, _)) if state.breaker.is_open() => Err(cause.clone().into_unavailable()),
            _ => {
                let ready = counts.paused || counts.idle + counts.validating >= self.config.min_idle.max(1);
                Ok(ready || state.slots.occupied() >= counts.max)
            }
        }
    }
}
