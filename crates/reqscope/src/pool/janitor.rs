//! The janitor: a task that retires handles that are too old or were idle for too long, validates quiet ones, and creates
//! missing ones. It holds the pool weakly, and ends when there is nothing to do. No promise about a single handle depends
//! on it: a check-out reads the clock itself.
//!
//! 1. At most one janitor does its rounds. A check-out that finds none, or one whose round is overdue, starts another one
//!    on its own runtime, if that has timers; the former one ends at its next round.
//! 2. No idle handle is retired for its age if fewer than `min_idle` would be left, unless there is no free slot for
//!    its replacement.
//! 3. It takes a tenth of the idle handles away from users at a time, and at least one.

use std::mem;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::inner::{GRACE, HandleMeta, Inner};
use super::slots::Work;
use crate::observer::Subject;
use crate::resource::Resource;
use crate::rt::clock::Moment;
use crate::rt::runtime::{Runtime, TIME_PASSES};
use crate::rt::time;

/// The time between two rounds.
const ROUND: Duration = Duration::from_millis(100);
/// The time between two looks at all handles, for each slot. In a pool of more than 10,000 it is longer than a round.
const PER_SLOT: Duration = Duration::from_micros(10);
/// How late a round may be before a check-out starts another janitor: its runtime may not be driven.
const LATE: Duration = Duration::from_secs(1);
/// How often the pool tries to fill itself while the backend is down and no caller waits.
const REFILL: Duration = Duration::from_secs(1);

/// Starts a janitor on this runtime, if there is one and the round of the present one is overdue.
#[cold]
pub(super) fn start<R: Resource>(pool: &Arc<Inner<R>>) {
    let Ok(runtime) = Runtime::try_current() else { return };
    if !TIME_PASSES || pool.state.lock().timerless == Some(runtime.id()) {
        return;
    }
    let has_timers = time::has_timers();
    let mut state = pool.state.lock();
    let now = state.clock.now();
    if !has_timers {
        // The next check-out on another runtime starts it.
        state.timerless = Some(runtime.id());
    } else if state.janitor_overdue < now {
        let overdue = now.after(LATE);
        state.janitor_overdue = overdue;
        // The paused clock of a former runtime may have run ahead.
        state.scanned = state.scanned.min(now);
        let home = state.homes.add(&runtime);
        drop(state);
        drop(runtime.spawn(work(Arc::downgrade(pool), overdue)));
        // Reports when the janitor has ended with its runtime.
        pool.watch(&runtime, home);
    }
}

/// Does the rounds, of which the first one is due at once.
async fn work<R: Resource>(pool: Weak<Inner<R>>, mut overdue: Moment) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.run_round(overdue)) {
        overdue = next;
        tokio::time::sleep(ROUND).await;
    }
}

impl<R: Resource> Inner<R> {
    /// Does one round of the janitor that has set this time, unless another one has replaced it or there is nothing to do.
    /// Returns when the next round is overdue.
    fn run_round(self: &Arc<Self>, overdue: Moment) -> Option<Moment> {
        let mut state = self.state.lock();
        let (now, occupied, waiting) = (state.clock.now(), state.slots.occupied(), state.slots.waiters.waiting());
        if ![overdue, Moment::ZERO].contains(&state.janitor_overdue) {
            return None;
        }
        let rests = state.slots.is_closed() || self.config.min_idle == 0;
        if rests && occupied == 0 && waiting == 0 {
            state.janitor_overdue = Moment::ZERO;
            return None;
        }
        let next = now.after(LATE);
        state.janitor_overdue = next;
        state.slots.give_up(now, GRACE);
        let scans = state.scanned.after(PER_SLOT.saturating_mul(u32::try_from(occupied).unwrap_or(u32::MAX))) <= now;
        let just_failed = state.breaker.last_failure().is_some_and(|(_, at)| at.elapsed() < REFILL);
        let waits = state.breaker.is_open() && waiting == 0 && just_failed;
        drop(state);
        let outgoing = if scans { self.scan(now) } else { 0 };
        if !waits {
            self.start_creations_for(self.config.min_idle.saturating_add(outgoing), None);
        }
        Some(next)
    }

    /// Looks at all handles: retires idle ones that are too old or were idle for too long, validates those that were quiet
    /// for too long, and reports uses that have become too long since the last time. Returns the number of those that are
    /// too old and idle until they are replaced.
    fn scan(self: &Arc<Self>, now: Moment) -> usize {
        let config = &self.config;
        let mut state = self.state.lock();
        let (before, gauges) = (mem::replace(&mut state.scanned, now), state.slots.gauges());
        // Handles that were validated are at the end, as if they had been used.
        state.slots.sort_idle(|meta| meta.since);
        let mut spare = 0..gauges.idle.saturating_sub(config.min_idle.min(gauges.max_size));
        // In a full pool, one handle at a time is retired before its replacement is created.
        let full = state.slots.occupied() >= gauges.max_size;
        let mut exchanged = 0..usize::from(full && gauges.creating + gauges.ending == 0);
        let mut outgoing = 0;
        let out = state.slots.claim(Work::Ending, |_, meta| {
            let (expired, unused) = (meta.expires <= now, meta.since.after(config.idle_timeout) <= now);
            let retires = (expired || unused) && spare.next().is_some() || expired && exchanged.next().is_some();
            outgoing += usize::from(expired && !retires);
            retires
        });
        drop(state);
        self.retire_all(out);
        let quiet = |meta: &HandleMeta<R>| meta.since.max(meta.proved).after(config.keepalive) <= now;
        self.validate_idle(gauges.idle.div_ceil(10), quiet);
        let too_long = |since: Moment| since.after(config.leak_after);
        let long = self.holders(|since| before < too_long(since) && too_long(since) <= now);
        self.state.lock().so_far.held_too_long += long.len() as u64;
        for (holder, held) in long {
            self.reaper.accounting().held_too_long(Subject::of::<R>(holder.origin.taken_at, &holder.details), held);
        }
        outgoing
    }
}
