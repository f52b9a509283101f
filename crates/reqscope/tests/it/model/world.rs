use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use reqscope::future::{Close, Get};
use reqscope::scope::LazyState;
use reqscope::{Exit, Guard, Lease, Scope, ScopeHandle};
use reqscope_testkit::{HandleState, Probe, ProbeHandle, Verb, Wakes, poll_once};
use tokio::time::advance;

use super::Step;
use crate::support::{Server, settle};

/// Plain, settling, settling and taken back without waiting.
const RESOURCES: usize = 3;
const TAKEN_BACK: usize = 2;

/// The scope under test, all that was got from it, and what the model knows.
pub(super) struct World {
    server: Server,
    resources: [Arc<Probe>; RESOURCES],
    request: ScopeHandle,
    scope: Option<Scope>,
    gets: Vec<Pending>,
    guards: Vec<(usize, Guard<Probe>)>,
    /// With the best exit that each can have: who detaches after the close is too late.
    leases: Vec<(Exit, Lease<Probe>)>,
    marked: bool,
    /// With which exit each handle will have been given back at the end. What is not in here is at home.
    foretold: BTreeMap<u64, Exit>,
    /// The last handle got of each resource, unless it was detached.
    known: [Option<u64>; RESOURCES],
    /// In which order the close gives back those that are at home, as far as they are known.
    order: Vec<u64>,
    /// Those that were let go without a release: no runtime was there to run it.
    cut: BTreeSet<u64>,
}

struct Pending {
    resource: usize,
    get: Pin<Box<Get<Probe>>>,
    wakes: Wakes,
    /// How often it had been woken when it was last polled.
    heard: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let server = Server::new();
        let all = [
            server.probe.sibling(),
            server.probe.sibling().settling(),
            server.probe.sibling().settling().reclaiming(),
        ];
        let scope = server.scopes.open();
        World {
            server,
            resources: all.map(Arc::new),
            request: scope.handle().clone(),
            scope: Some(scope),
            gets: Vec::new(),
            guards: Vec::new(),
            leases: Vec::new(),
            marked: false,
            foretold: BTreeMap::new(),
            known: [None; RESOURCES],
            order: Vec::new(),
            cut: BTreeSet::new(),
        }
    }

    pub(super) async fn step(&mut self, step: &Step) {
        match *step {
            Step::Get(resource) => self.get(which(resource)),
            Step::TryGet(resource) => {
                let resource = which(resource);
                if let Some(guard) = self.request.lazy(&self.resources[resource]).try_get() {
                    self.got(resource, guard);
                }
            }
            Step::Poll(index, polls) => {
                if let Some(pending) = take(&mut self.gets, index) {
                    self.poll(pending, polls);
                }
            }
            Step::DropGet(index) => drop(take(&mut self.gets, index)),
            Step::Use(index) => {
                let count = self.guards.len().max(1);
                if let Some((_, guard)) = self.guards.get_mut(usize::from(index) % count) {
                    guard.use_once();
                }
            }
            Step::DropGuard(index) => drop(take(&mut self.guards, index)),
            Step::KillGuard(index) => {
                if let Some((_, mut guard)) = take(&mut self.guards, index) {
                    guard.kill();
                    self.mark();
                }
            }
            Step::UnwindGuard(index) => {
                if let Some((_, guard)) = take(&mut self.guards, index) {
                    if self.scope.is_none() {
                        self.foretold.insert(guard.id(), Exit::Panicked);
                    }
                    self.mark();
                    let unwound = catch_unwind(AssertUnwindSafe(|| {
                        let _held = guard;
                        resume_unwind(Box::new("its holder panicked"));
                    }));
                    assert!(unwound.is_err());
                }
            }
            Step::Detach(index) => {
                if let Some((resource, guard)) = take(&mut self.guards, index) {
                    self.known[resource] = None;
                    self.foretold.insert(guard.id(), Exit::Cancelled);
                    let at_best = if self.scope.is_some() { Exit::Completed } else { Exit::Cancelled };
                    self.leases.push((at_best, Guard::detach(guard)));
                }
            }
            Step::EndLease(index, exit) => {
                if let Some((at_best, lease)) = take(&mut self.leases, index) {
                    self.foretold.insert(lease.id(), exit.unwrap_or(Exit::Cancelled).worst(at_best));
                    match exit {
                        Some(exit) => drop(Lease::end(lease, exit)),
                        None => drop(lease),
                    }
                }
            }
            Step::MarkFailed => {
                self.request.mark_failed();
                self.mark();
            }
            Step::Script { resource, acquire, outcome } => {
                let verb = if acquire { Verb::Acquire } else { Verb::Release };
                self.resources[which(resource)].on(verb).next(outcome.outcome());
            }
            Step::Ready(resource) => self.resources[which(resource)].make_ready(1),
            Step::Run => settle().await,
            Step::Seconds(seconds) => {
                advance(Duration::from_secs(seconds)).await;
                settle().await;
            }
            Step::Close(told, polls) => self.close(told, polls).await,
            Step::DropScope => {
                if self.scope.is_some() {
                    self.foretell(Exit::Cancelled);
                    drop(self.scope.take());
                }
            }
            Step::Runtime => unreachable!("the world lives in a runtime, and does not know of its end"),
        }
    }

    fn get(&mut self, resource: usize) {
        let get = Box::pin(self.request.lazy(&self.resources[resource]).get());
        self.poll(Pending { resource, get, wakes: Wakes::new(), heard: 0 }, 1);
    }

    fn poll(&mut self, mut pending: Pending, polls: u8) {
        let home = self.request.lazy(&self.resources[pending.resource]).state() == LazyState::Ready;
        for _ in 0..polls {
            let waker = pending.wakes.waker();
            pending.heard = pending.wakes.count();
            if let Poll::Ready(outcome) = pending.get.as_mut().poll(&mut Context::from_waker(&waker)) {
                match outcome {
                    Ok(guard) => self.got(pending.resource, guard),
                    // After the close it may still hear how its own attempt had ended.
                    Err(error) => assert!(self.scope.is_none() || !error.is_closed()),
                }
                return;
            }
        }
        assert!(!home || polls < 2, "it is at home, and two polls did not get it");
        self.gets.push(pending);
    }

    fn got(&mut self, resource: usize, guard: Guard<Probe>) {
        assert!(self.scope.is_some(), "nobody gets anything after the close");
        let held = self.guards.iter().any(|(other, _)| *other == resource);
        assert!(!held, "lent to two");
        self.known[resource] = Some(guard.id());
        self.guards.push((resource, guard));
    }

    fn mark(&mut self) {
        self.marked |= self.scope.is_some();
    }

    fn peek(&self, resource: usize) -> LazyState {
        self.request.lazy(&self.resources[resource]).state()
    }

    /// What becomes of every handle there is, if the scope is told this now. The answer is the verdict, and whether
    /// something stands in the way of settling.
    fn foretell(&mut self, told: Exit) -> (Exit, bool) {
        let away = |resource| matches!(self.peek(resource), LazyState::Lent | LazyState::Acquiring);
        let missing = told.is_completed() && (1..RESOURCES).any(away);
        let failed = missing || self.marked;
        let verdict = if failed { told.worst(Exit::Failed) } else { told };
        let settling_at_home = (1..RESOURCES).any(|resource| self.peek(resource) == LazyState::Ready);

        let lent: Vec<u64> = self.guards.iter().map(|(_, guard)| guard.id()).collect();
        for id in 0..self.server.probe.counts().acquired {
            let exit = if lent.contains(&id) { Exit::Cancelled } else { verdict };
            self.foretold.entry(id).or_insert(exit);
        }
        // Settling ones first, each kind in reverse (L10). Where none settles, one that is taken back without waiting
        // overtakes the others, which begin with their task.
        let settles = verdict.is_completed();
        let mut at_home: Vec<(bool, u64)> = (0..RESOURCES)
            .filter(|resource| self.peek(*resource) == LazyState::Ready && (settles || *resource != TAKEN_BACK))
            .filter_map(|resource| Some((settles && resource > 0, self.known[resource]?)))
            .collect();
        at_home.sort();
        self.order = at_home.into_iter().rev().map(|(_, id)| id).collect();
        (verdict, missing || (told.is_completed() && !verdict.is_completed() && settling_at_home))
    }

    async fn close(&mut self, told: Exit, polls: Option<u8>) {
        let Some(scope) = self.scope.take() else { return };
        self.scope = Some(scope);
        let (verdict, problem) = self.foretell(told);
        let before = self.server.stats();
        let Some(scope) = self.scope.take() else { return };
        let mut close: Pin<Box<Close>> = Box::pin(scope.close(told));
        assert!(self.request.is_closed());
        let outcome = match polls {
            None => close.await,
            Some(polls) => {
                for _ in 0..polls {
                    if poll_once(close.as_mut()).is_ready() {
                        return;
                    }
                }
                return;
            }
        };
        let after = self.server.stats();
        let unwell = after.release_failed > before.release_failed || after.abandoned > before.abandoned;
        match outcome {
            Ok(()) => assert!(!problem, "the client hears of a success"),
            Err(error) => {
                assert!(problem || (unwell && verdict.is_completed()), "{error}");
                assert_eq!((error.requested(), error.verdict()), (told, verdict));
            }
        }
    }

    pub(super) fn check(&mut self, step: &Step) {
        self.server.balanced();
        for (resource, _) in &self.guards {
            let seen = self.peek(*resource);
            assert_eq!(seen, if self.scope.is_some() { LazyState::Lent } else { LazyState::Closed }, "{step:?}");
        }
        for handle in self.held() {
            assert_eq!(self.server.probe.record(handle.id()).exits, [], "{step:?}: released under its holder");
        }
        for pending in &self.gets {
            let asleep = pending.wakes.count() == pending.heard;
            let waits = matches!(self.peek(pending.resource), LazyState::Lent | LazyState::Acquiring);
            assert!(waits || !asleep, "{step:?}: a waiter sleeps that could go on");
        }
    }

    /// Without a runtime every handle is held by somebody, at home, or gone.
    pub(super) fn check_that_nothing_runs(&mut self, step: &Step) {
        let held: BTreeSet<u64> = self.held().map(|handle| handle.id()).collect();
        let at_home = (0..RESOURCES).filter(|resource| self.peek(*resource) == LazyState::Ready).count();
        let probe = &self.server.probe;
        assert_eq!(probe.counts().live(), (held.len() + at_home) as u64, "{step:?}: left to run");
        assert_eq!(probe.counts().acquiring, 0, "{step:?}: left to be acquired");
        for id in 0..probe.counts().acquired {
            let record = probe.record(id);
            if record.state == HandleState::Abandoned && record.exits.is_empty() {
                self.cut.insert(id);
            }
        }
    }

    fn held(&self) -> impl Iterator<Item = &ProbeHandle> {
        self.guards.iter().map(|(_, guard)| &**guard).chain(self.leases.iter().map(|(_, lease)| &**lease))
    }

    /// Lets go of everything, and compares what happened with what was foretold.
    pub(super) async fn end(mut self) {
        self.step(&Step::DropScope).await;
        self.gets.clear();
        self.guards.clear();
        self.leases.clear();
        settle().await; // a cancelled acquisition holds no handle, so the drain does not wait for it
        self.server.at_the_end().await;
        let told = self.server.order();
        self.order.retain(|id| !self.cut.contains(id));
        let order: Vec<u64> = told.into_iter().filter(|id| self.order.contains(id)).collect();
        assert_eq!(order, self.order, "the order in which they were given back");
        let probe = &self.server.probe;
        assert_eq!(probe.counts().acquiring, 0, "something is still being acquired for nobody");
        for id in 0..probe.counts().acquired {
            // What arrived after the close was seen by nobody.
            let foretold = self.foretold.get(&id).copied().unwrap_or(Exit::Cancelled);
            let told: &[Exit] = if self.cut.contains(&id) { &[] } else { &[foretold] };
            assert_eq!(probe.record(id).exits, told, "handle {id}");
        }
    }
}

fn which(resource: u8) -> usize {
    usize::from(resource) % RESOURCES
}

/// The one at this index, modulo what there is.
fn take<T>(all: &mut Vec<T>, index: u8) -> Option<T> {
    let count = all.len();
    (count > 0).then(|| all.remove(usize::from(index) % count.max(1)))
}
