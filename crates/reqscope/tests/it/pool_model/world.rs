use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use reqscope::future::PoolGet;
use reqscope::pool::{PoolStatus, Reset};
use reqscope::{Exit, Health, Pool, Pooled, Resource};
use reqscope_testkit::{Outcome, Probe, Verb, Wakes, poll_n, poll_once};
use tokio::time::advance;

use super::{MOST, Start, Step};
use crate::support::settle;
use crate::watchdog::watch;

/// How many creations may run at once.
const CREATIONS: usize = 2;

/// The pool under test, all that was got from it, and what must be remembered of it.
pub(super) struct World {
    probe: Probe,
    pool: Pool<Probe>,
    gets: Vec<Pending>,
    objects: Vec<Pooled<Probe>>,
    /// How often each object in doubt had been proved when its use ended.
    doubt: BTreeMap<u64, u64>,
    paused: bool,
    taken: usize,
}

struct Pending {
    get: Pin<Box<PoolGet<Probe>>>,
    wakes: Wakes,
    /// How often it had been woken when it was last polled.
    heard: u64,
    /// Whether the pool had been closed before.
    late: bool,
}

impl Pending {
    fn sleeps(&self) -> bool {
        self.wakes.count() == self.heard
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
            .reset(if start.always_reset { Reset::Always } else { Reset::AfterDoubt })
            .build(probe.clone());
        World { probe, pool, gets: Vec::new(), objects: Vec::new(), doubt: BTreeMap::new(), paused: false, taken: 0 }
    }

    pub(super) async fn step(&mut self, step: &Step) {
        match *step {
            Step::Get => {
                let get = Box::pin(self.pool.get());
                self.poll(Pending { get, wakes: Wakes::new(), heard: 0, late: self.pool.is_closed() }, 1);
            }
            Step::TryGet => {
                let idle = self.pool.status().idle;
                if let Some(object) = self.pool.try_get() {
                    assert!(idle > 0 && !self.paused && !self.pool.is_closed());
                    self.got(object);
                }
            }
            Step::Poll(index, polls) => {
                if let Some(pending) = take(&mut self.gets, index) {
                    self.poll(pending, polls);
                }
            }
            Step::DropGet(index) => drop(take(&mut self.gets, index)),
            Step::Put(index) => {
                if let Some(object) = take(&mut self.objects, index) {
                    self.pool.put(object);
                }
            }
            Step::Release(index, exit, polls) => {
                if let Some(object) = take(&mut self.objects, index) {
                    if polls == 0 || matches!(exit, Exit::Cancelled | Exit::Panicked) {
                        self.doubt(&object);
                    }
                    // What is left of it goes to the background.
                    drop(poll_n(polls.into(), pin!(self.pool.release(object, exit))));
                }
            }
            Step::DropObject(index) => {
                if let Some(object) = take(&mut self.objects, index) {
                    self.doubt(&object);
                    drop(object);
                }
            }
            Step::Kill(index) => {
                let count = self.objects.len().max(1);
                if let Some(object) = self.objects.get_mut(usize::from(index) % count) {
                    object.kill();
                }
            }
            Step::Health(health) => self.probe.set_health(health),
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
                advance(Duration::from_millis(millis)).await;
                settle().await;
            }
            Step::Runtime { .. } => unreachable!("the world does not know of its end"),
        }
    }

    fn poll(&mut self, mut pending: Pending, polls: u8) {
        for _ in 0..polls {
            let waker = pending.wakes.waker();
            pending.heard = pending.wakes.count();
            if let Poll::Ready(outcome) = pending.get.as_mut().poll(&mut Context::from_waker(&waker)) {
                match outcome {
                    Ok(object) => {
                        assert!(!pending.late, "got from a closed pool");
                        self.got(object);
                    }
                    Err(error) => assert!(self.pool.is_closed() || !error.is_closed(), "{error}"),
                }
                return;
            }
        }
        self.gets.push(pending);
    }

    fn doubt(&mut self, object: &Pooled<Probe>) {
        self.doubt.insert(object.id(), self.probe.record(object.id()).validated);
    }

    fn got(&mut self, mut object: Pooled<Probe>) {
        let id = object.id();
        assert!(self.objects.iter().all(|other| other.id() != id), "lent to two (1)");
        let proved = self.probe.record(id).validated;
        assert!(
            self.doubt.remove(&id).is_none_or(|before| proved > before),
            "{id} is in doubt, and nobody proved it"
        );
        object.use_once();
        self.objects.push(object);
    }

    pub(super) fn check(&mut self, step: &Step) {
        let (counts, status) = (self.probe.counts(), self.pool.status());
        assert_eq!((counts.double_released, counts.used_after_release), (0, 0), "{step:?}");
        let told = format!("{step:?}: {status:?}, {counts:?}");
        let PoolStatus { max_size, in_use, idle, creating, ending, waiting, down, .. } = status;
        // What is dead on arrival ends in the slot of its creation.
        let known = (in_use + idle + ending) as u64;
        assert!((known..=known + creating as u64).contains(&counts.live()), "lost, or made up: {told}");
        assert!(in_use >= self.objects.len(), "somebody has what nobody knows of: {told}");
        let taken = in_use + idle + creating + ending;
        assert!(taken <= max_size.max(self.taken), "more than there may be: {told}");
        self.taken = taken;
        assert!(creating <= CREATIONS, "{told}");
        assert!(waiting <= self.gets.len(), "{told}");

        let closed = self.pool.is_closed();
        let awake = self.gets.iter().filter(|pending| !pending.sleeps()).count();
        assert!(!closed || (idle == 0 && awake >= waiting), "somebody sleeps in a closed pool: {told}");
        if closed || self.paused {
            return;
        }
        assert!(idle == 0 || waiting == 0, "somebody waits beside what is idle: {told}");
        let room = taken < max_size && creating < CREATIONS.min(waiting);
        assert!(!room || down || awake > 0, "nobody makes what somebody waits for: {told}");
        let hopeless = down && in_use + creating + ending == 0;
        assert!(!hopeless || awake >= waiting, "somebody waits for nothing: {told}");
    }

    /// Lets go of everything. Whatever was done to it, the pool lends as many as it says; then nothing is left.
    pub(super) async fn end(mut self) {
        self.gets.clear();
        self.objects.drain(..).for_each(|object| self.pool.put(object));
        self.probe.set_health(Health::Ready);
        for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
            self.probe.on(verb).always(Outcome::ok());
        }
        self.pool.resume();
        if !self.pool.is_closed() {
            let mut objects = Vec::new();
            // The failures that were ordered and have not come yet are not the pool's.
            for _ in 0..200 {
                advance(Duration::from_secs(30)).await;
                settle().await;
                if objects.len() == self.pool.status().max_size {
                    break;
                }
                let mut get = Box::pin(self.pool.get());
                for _ in 0..4 {
                    if let Poll::Ready(outcome) = poll_once(get.as_mut()) {
                        objects.extend(outcome);
                        break;
                    }
                    settle().await;
                }
            }
            let status = self.pool.status();
            assert!((1..=MOST).contains(&objects.len()), "{status:?}");
            assert_eq!(objects.len(), status.max_size, "a slot is lost: {status:?}");
            objects.into_iter().for_each(|object| self.pool.put(object));
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

/// The one at this index, modulo what there is.
fn take<T>(all: &mut Vec<T>, index: u8) -> Option<T> {
    let count = all.len();
    (count > 0).then(|| all.remove(usize::from(index) % count.max(1)))
}
