use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use reqscope::pool::{PoolStatus, Reset};
use reqscope::{Error, Exit, Health, Pool, Pooled, Resource};
use reqscope_testkit::{HandleState, Outcome, Probe, Scripted, Verb, Wakes, poll_n, poll_once};
use tokio::time::advance;

use super::{MAX_SIZE, Start, Step};
use crate::support::settle;
use crate::watchdog::watch;

/// The number of creations that may run at once.
const CREATIONS: usize = 2;
/// The timeout of a validation, which is shorter than that of a release.
const OVERDUE: Duration = Duration::from_secs(2);

/// The pool under test, everything obtained from it, and the state of the model.
pub(super) struct World {
    probe: Probe,
    pool: Pool<Probe>,
    gets: Vec<Pending>,
    handles: Vec<Pooled<Probe>>,
    /// The handles in doubt, with their number of validations when the use ended.
    in_doubt: BTreeMap<u64, u64>,
    /// The handles that left the pool: a predicate over the idle ones rejected them, or they were discarded or detached.
    gone: BTreeSet<u64>,
    /// The handles that were detached, until they are released.
    detached: Vec<u64>,
    /// The last call of `warm`, if it waits.
    warming: Option<Warming>,
    always_reset: bool,
    /// What all handles report that are not dead.
    health: Health,
    paused: bool,
    /// How far the clock was advanced.
    passed: Duration,
    /// The number of occupied slots after the last step.
    occupied: usize,
}

type Get = Pin<Box<dyn Future<Output = Result<Pooled<Probe>, Error<Scripted>>> + Send>>;

/// Whether the pool is warm.
type Warming = Pin<Box<dyn Future<Output = bool>>>;

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
            gone: BTreeSet::new(),
            detached: Vec::new(),
            warming: None,
            always_reset: start.always_reset,
            health: Health::Ready,
            paused: false,
            passed: Duration::ZERO,
            occupied: 0,
        }
    }

    pub(super) async fn step(&mut self, step: &Step) {
        match *step {
            Step::Get => self.get(Box::pin(self.pool.get())),
            Step::GetTimeout(millis) => self.get(Box::pin(self.pool.get_timeout(Duration::from_millis(millis)))),
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
                    self.ended(&handle, Exit::Completed);
                    self.pool.put(handle);
                }
            }
            Step::Release(index, exit, polls) => {
                if let Some(handle) = take(&mut self.handles, index) {
                    // A release that is never polled drops the handle.
                    self.ended(&handle, if polls == 0 { Exit::Cancelled } else { exit });
                    // What is left of the release runs in the background.
                    drop(poll_n(polls.into(), pin!(self.pool.release(handle, exit))));
                }
            }
            Step::DropHandle(index) => {
                if let Some(handle) = take(&mut self.handles, index) {
                    self.ended(&handle, Exit::Cancelled);
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
            Step::Run => {
                settle().await;
                self.warm_on(true);
            }
            Step::Pass(millis) => {
                let time = Duration::from_millis(millis);
                self.passed += time;
                advance(time).await;
                settle().await;
                self.warm_on(true);
            }
            Step::Retain { odd, panics } => self.retain(odd, panics),
            Step::Warm => {
                let warming = self.pool.warm();
                // An error says why the pool is not warm.
                self.warming = Some(Box::pin(async move { warming.await.is_ok() }));
                self.warm_on(false);
            }
            Step::Discard(index) => {
                if let Some(handle) = take(&mut self.handles, index) {
                    self.gone.insert(handle.id());
                    self.pool.discard(handle);
                }
            }
            Step::Detach(index) => {
                if let Some(handle) = take(&mut self.handles, index) {
                    let (id, in_use) = (handle.id(), self.pool.status().in_use);
                    self.gone.insert(id);
                    self.detached.push(id);
                    drop(Pooled::detach(handle));
                    assert_eq!(self.pool.status().in_use, in_use - 1, "its slot is not free");
                }
            }
            Step::ReplaceAll(millis) => self.pool.replace_all(Duration::from_millis(millis)),
            Step::Runtime { .. } => unreachable!("the caller handles this step"),
        }
    }

    /// Polls a new `get` once.
    fn get(&mut self, get: Get) {
        self.poll(Pending { get, wakes: Wakes::new(), seen: 0, late: self.pool.is_closed() }, 1);
    }

    fn retain(&mut self, odd: bool, panics: bool) {
        let (idle, mut shown, mut rejected) = (self.pool.status().idle, BTreeSet::new(), BTreeSet::new());
        let removed = self.pool.retain(|handle| {
            let (id, first) = (handle.id(), shown.is_empty());
            assert!(shown.insert(id), "{id} is shown twice");
            let keep = (id % 2 == 1) == odd;
            if !keep || (panics && first) {
                rejected.insert(id);
            }
            if panics && first {
                // Without the hook of a panic.
                resume_unwind(Box::new("a predicate that panics"));
            }
            keep
        });
        assert_eq!((removed, shown.len()), (rejected.len(), idle), "{shown:?}");
        assert!(self.handles.iter().all(|handle| !shown.contains(&handle.id())), "a handle in use is shown");
        self.gone.append(&mut rejected);
    }

    /// Polls the last call of `warm`, if it waits. `driven` says that there is a runtime for what it begins.
    fn warm_on(&mut self, driven: bool) {
        let Some(mut warming) = self.warming.take() else { return };
        match poll_once(warming.as_mut()) {
            Poll::Pending => self.warming = Some(warming),
            Poll::Ready(warm) => {
                let status = self.pool.status();
                let handles = status.in_use + status.idle + status.ending;
                assert!(!warm || !driven || self.paused || handles > 0, "warm without a handle: {status:?}");
                assert!(!warm || !self.pool.is_closed(), "a closed pool is warm");
            }
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

    /// Notes whether the end of a use leaves its handle in doubt.
    fn ended(&mut self, handle: &Pooled<Probe>, exit: Exit) {
        let proved = match self.health {
            // Proof enough, except after a panic.
            Health::Clean => exit != Exit::Panicked,
            Health::Ready => matches!(exit, Exit::Completed | Exit::Failed),
            _ => false,
        };
        if self.always_reset || !proved {
            self.in_doubt.insert(handle.id(), self.probe.record(handle.id()).validated);
        }
    }

    fn got(&mut self, mut handle: Pooled<Probe>) {
        let id = handle.id();
        assert!(self.handles.iter().all(|other| other.id() != id), "lent twice (1)");
        assert!(!self.gone.contains(&id), "{id} has left the pool, and is lent");
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
        let probe = &self.probe;
        self.detached.retain(|id| probe.record(*id).state == HandleState::Live);
        let known = (in_use + idle + ending + self.detached.len()) as u64;
        assert!(known <= counts.live(), "a handle is counted that is gone: {state}");
        // A handle that is dead on arrival ends in the slot of its creation. One whose validation or release is overdue
        // has lost its slot, and ends with that.
        let all = known + creating as u64;
        assert!(self.passed >= OVERDUE || counts.live() <= all, "a handle is not counted: {state}");
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
        self.warming = None;
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
