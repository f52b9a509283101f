use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use reqscope::pool::{PoolStatus, Reset};
use reqscope::{Error, Exit, Health, Pool, Pooled, Resource};
use reqscope_testkit::{Outcome, Probe, Scripted, Verb, Wakes, poll_n, poll_once};
use tokio::time::advance;

use super::{MAX_SIZE, Start, Step};
use crate::support::settle;
use crate::watchdog::watch;

/// The number of creations that may run at once.
const CREATIONS: usize = 2;

/// The pool under test, everything obtained from it, and the state of the model.
pub(super) struct World {
    probe: Probe,
    pool: Pool<Probe>,
    gets: Vec<Pending>,
    handles: Vec<Pooled<Probe>>,
    /// The handles in doubt, with their number of validations when the use ended.
    in_doubt: BTreeMap<u64, u64>,
    /// What all handles report.
    health: Health,
    paused: bool,
    /// The number of occupied slots after the last step.
    occupied: usize,
}

type Get = Pin<Box<dyn Future<Output = Result<Pooled<Probe>, Error<Scripted>>> + Send>>;

struct Pending {
    get: Get,
    wakes: Wakes,
    /// The number of wake-ups before its last poll.
    seen: u64,
    /// Whether the pool was closed before it began.
    late: bool,
}

impl Pending {
    fn sleeps(&self) -> bool {
        self.wakes.count() == self.seen
    }
}

impl World {
    pub(super) fn new(start: Start) -> Self {
        watch();
        let probe = if start.reclaims { Probe::new().reclaiming() } else { Probe::new() };
        let pool = Pool::builder()
            .max_size(2)
            .min_idle(usize::from(start.min_idle))
            .max_waiters(2)
            .create_concurrency(CREATIONS)
            .keepalive(start.keepalive.then_some(Duration::from_secs(1)))
            .reset(if start.always_reset { Reset::Always } else { Reset::AfterDoubt })
            .build(probe.clone());
        World {
            probe,
            pool,
            gets: Vec::new(),
            handles: Vec::new(),
            in_doubt: BTreeMap::new(),
            health: Health::Ready,
            paused: false,
            occupied: 0,
        }
    }

    pub(super) async fn step(&mut self, step: &Step) {
        match *step {
            Step::Get => {
                let get = Box::pin(self.pool.get());
                self.poll(Pending { get, wakes: Wakes::new(), seen: 0, late: self.pool.is_closed() }, 1);
            }
            Step::TryGet => {
                let idle = self.pool.status().idle;
                if let Some(handle) = self.pool.try_get() {
                    assert!(idle > 0 && !self.paused && !self.pool.is_closed());
                    self.got(handle);
                }
            }
            Step::Poll(index, polls) => {
                if let Some(pending) = take(&mut self.gets, index) {
                    self.poll(pending, polls);
                }
            }
            Step::DropGet(index) => drop(take(&mut self.gets, index)),
            Step::Put(index) => {
                if let Some(handle) = take(&mut self.handles, index) {
                    self.pool.put(handle);
                }
            }
            Step::Release(index, exit, polls) => {
                if let Some(handle) = take(&mut self.handles, index) {
                    // A release that is never polled drops the handle.
                    let exit_seen = if polls == 0 { Exit::Cancelled } else { exit };
                    if matches!(exit_seen, Exit::Cancelled | Exit::Panicked) {
                        self.doubt(&handle, exit_seen);
                    }
                    // What is left of the release runs in the background.
                    drop(poll_n(polls.into(), pin!(self.pool.release(handle, exit))));
                }
            }
            Step::DropHandle(index) => {
                if let Some(handle) = take(&mut self.handles, index) {
                    self.doubt(&handle, Exit::Cancelled);
                    drop(handle);
                }
            }
            Step::Kill(index) => {
                let count = self.handles.len().max(1);
                if let Some(handle) = self.handles.get_mut(usize::from(index) % count) {
                    handle.kill();
                }
            }
            Step::Health(health) => {
                self.probe.set_health(health);
                self.health = health;
            }
            Step::Script(verb, fate) => {
                self.probe.on(verb).next(fate.outcome());
            }
            Step::Resize(size) => self.pool.resize(size),
            Step::Clear => self.pool.clear(),
            Step::Pause => {
                self.pool.pause();
                self.paused = true;
            }
            Step::Resume => {
                self.pool.resume();
                self.paused = false;
            }
            Step::Close(polls) => drop(poll_n(polls.into(), pin!(self.pool.close(Duration::from_secs(1))))),
            Step::Run => settle().await,
            Step::Pass(millis) => {
                // A task that is not polled before its time is over is given up.
                settle().await;
                advance(Duration::from_millis(millis)).await;
                settle().await;
            }
            Step::Retain(remainder) => {
                let idle = self.pool.status().idle;
                let retired = self.pool.retain(|handle| handle.id() % 3 != u64::from(remainder % 3));
                assert!(retired <= idle, "{retired} of {idle} were released");
            }
            Step::Warm(polls) => drop(poll_n(polls.into(), pin!(self.pool.warm()))),
            Step::Runtime { .. } => unreachable!("the caller handles this step"),
        }
    }

    fn poll(&mut self, mut pending: Pending, polls: u8) {
        for _ in 0..polls {
            let waker = pending.wakes.waker();
            pending.seen = pending.wakes.count();
            if let Poll::Ready(outcome) = pending.get.as_mut().poll(&mut Context::from_waker(&waker)) {
                match outcome {
                    Ok(handle) => {
                        assert!(!pending.late, "lent by a closed pool");
                        self.got(handle);
                    }
                    Err(error) => assert!(self.pool.is_closed() || !error.is_closed(), "{error}"),
                }
                return;
            }
        }
        self.gets.push(pending);
    }

    /// Notes that a use ended in doubt. A clean handle that no panic has left is proof enough.
    fn doubt(&mut self, handle: &Pooled<Probe>, exit: Exit) {
        if self.health == Health::Clean && exit != Exit::Panicked {
            return;
        }
        self.in_doubt.insert(handle.id(), self.probe.record(handle.id()).validated);
    }

    fn got(&mut self, mut handle: Pooled<Probe>) {
        let id = handle.id();
        assert!(self.handles.iter().all(|other| other.id() != id), "lent twice (1)");
        let validated = self.probe.record(id).validated;
        assert!(
            self.in_doubt.remove(&id).is_none_or(|before| validated > before),
            "{id} is in doubt, and was not validated"
        );
        handle.use_once();
        self.handles.push(handle);
    }

    pub(super) fn check(&mut self, step: &Step) {
        let (counts, status) = (self.probe.counts(), self.pool.status());
        assert_eq!((counts.double_released, counts.used_after_release), (0, 0), "{step:?}");
        let state = format!("{step:?}: {status:?}, {counts:?}");
        let PoolStatus { max_size, in_use, idle, creating, ending, waiting, down, .. } = status;
        // A handle that is dead on arrival ends in the slot of its creation. A `get` that is not polled while it
        // validates a handle loses the slot, but has the handle until it is polled.
        let (known, more) = ((in_use + idle + ending) as u64, (creating + self.gets.len()) as u64);
        assert!((known..=known + more).contains(&counts.live()), "miscounted handles: {state}");
        assert!(in_use >= self.handles.len(), "a handle is lent and not counted: {state}");
        let occupied = in_use + idle + creating + ending;
        assert!(occupied <= max_size.max(self.occupied), "too many handles: {state}");
        self.occupied = occupied;
        // Each success allows one more.
        assert!(creating as u64 <= CREATIONS as u64 + status.created, "{state}");
        assert!(waiting <= self.gets.len(), "{state}");

        let closed = self.pool.is_closed();
        let awake = self.gets.iter().filter(|pending| !pending.sleeps()).count();
        assert!(!closed || (idle == 0 && awake >= waiting), "a waiter sleeps in a closed pool: {state}");
        if closed || self.paused {
            return;
        }
        assert!(idle == 0 || waiting == 0, "a caller waits while a handle is idle: {state}");
        let room = occupied < max_size && creating < CREATIONS.min(waiting);
        assert!(!room || down || awake > 0, "a waiter has no creation: {state}");
        let hopeless = down && in_use + creating + ending == 0;
        assert!(!hopeless || awake >= waiting, "a waiter sleeps in an outage: {state}");
    }

    /// Returns every handle, then asserts that the pool still lends as many as its size, and closes clean.
    pub(super) async fn end(mut self) {
        self.gets.clear();
        self.handles.drain(..).for_each(|handle| self.pool.put(handle));
        self.probe.set_health(Health::Ready);
        for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
            self.probe.on(verb).always(Outcome::ok());
        }
        self.pool.resume();
        if !self.pool.is_closed() {
            let mut handles = Vec::new();
            // Scripted failures that are still to come may take a few tries.
            for _ in 0..200 {
                advance(Duration::from_secs(30)).await;
                settle().await;
                if handles.len() == self.pool.status().max_size {
                    break;
                }
                let mut get = Box::pin(self.pool.get());
                for _ in 0..4 {
                    if let Poll::Ready(outcome) = poll_once(get.as_mut()) {
                        handles.extend(outcome);
                        break;
                    }
                    settle().await;
                }
            }
            let status = self.pool.status();
            assert!((1..=MAX_SIZE).contains(&handles.len()), "{status:?}");
            assert_eq!(handles.len(), status.max_size, "a slot is lost: {status:?}");
            handles.into_iter().for_each(|handle| self.pool.put(handle));
        }
        let report = self.pool.close(Duration::from_secs(60)).await;
        assert_eq!(report.live, 0, "{report:?}");
        settle().await;
        let (counts, status) = (self.probe.counts(), self.pool.status());
        assert_eq!(counts.live(), 0, "{counts:?}");
        assert_eq!((status.in_use, status.idle, status.ending, status.waiting), (0, 0, 0, 0), "{status:?}");
        assert_eq!(counts.acquired, counts.released + counts.reclaimed + counts.abandoned, "{counts:?}");
    }
}

/// Removes the element at this index, modulo the length.
fn take<T>(all: &mut Vec<T>, index: u8) -> Option<T> {
    let count = all.len();
    (count > 0).then(|| all.remove(usize::from(index) % count.max(1)))
}
