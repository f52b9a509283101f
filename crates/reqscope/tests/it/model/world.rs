use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use reqscope::future::{Close, Get};
use reqscope::scope::LazyState;
use reqscope::{Exit, Guard, Lease, Scope, ScopeHandle};
use reqscope_testkit::{HandleState, Probe, ProbeHandle, Verb, Wakes, expect_panic, poll_once, quiet_panic};
use tokio::time::advance;

use super::Step;
use crate::support::{Server, settle};

/// A plain resource, one that settles, and one that settles and reclaims without waiting.
const RESOURCES: usize = 3;
const RECLAIMING: usize = 2;

/// The scope under test, everything obtained from it, and the state of the model.
pub(super) struct World {
    server: Server,
    resources: [Arc<Probe>; RESOURCES],
    request: ScopeHandle,
    scope: Option<Scope>,
    gets: Vec<Pending>,
    guards: Vec<(usize, Guard<Probe>)>,
    /// Each with the best exit that it can have: `Cancelled` for a lease detached after the close.
    leases: Vec<(Exit, Lease<Probe>)>,
    marked: bool,
    /// The predicted exit of each handle. A handle that is not in the map is idle in its cell.
    predicted: BTreeMap<u64, Exit>,
    /// The last handle of each resource, unless it was detached.
    known: [Option<u64>; RESOURCES],
    /// The order in which the close releases the idle handles, as far as they are known.
    order: Vec<u64>,
    /// The handles dropped without a release, because there was no runtime to run it.
    abandoned: BTreeSet<u64>,
}

struct Pending {
    resource: usize,
    get: Pin<Box<Get<Probe>>>,
    wakes: Wakes,
    /// The number of wake-ups before its last poll.
    seen: u64,
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
            predicted: BTreeMap::new(),
            known: [None; RESOURCES],
            order: Vec::new(),
            abandoned: BTreeSet::new(),
        }
    }

    pub(super) async fn step(&mut self, step: &Step) {
        match *step {
            Step::Get(resource) => self.get(which(resource)),
            Step::TryGet(resource) => {
                let resource = which(resource);
                if let Ok(guard) = self.request.lazy(&self.resources[resource]).try_get() {
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
                        self.predicted.insert(guard.id(), Exit::Panicked);
                    }
                    self.mark();
                    expect_panic(move || {
                        let _held = guard;
                        quiet_panic("the guard's holder panicked")
                    });
                }
            }
            Step::Detach(index) => {
                if let Some((resource, guard)) = take(&mut self.guards, index) {
                    self.known[resource] = None;
                    self.predicted.insert(guard.id(), Exit::Cancelled);
                    let at_best = if self.scope.is_some() { Exit::Completed } else { Exit::Cancelled };
                    self.leases.push((at_best, Guard::detach(guard)));
                }
            }
            Step::EndLease(index, exit) => {
                if let Some((at_best, lease)) = take(&mut self.leases, index) {
                    self.predicted.insert(lease.id(), exit.unwrap_or(Exit::Cancelled).worst(at_best));
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
            Step::Close(exit, polls) => self.close(exit, polls).await,
            Step::DropScope => {
                if self.scope.is_some() {
                    self.predict(Exit::Cancelled);
                    drop(self.scope.take());
                }
            }
            Step::Runtime => unreachable!("the caller handles this step"),
        }
    }

    fn get(&mut self, resource: usize) {
        let get = Box::pin(self.request.lazy(&self.resources[resource]).get());
        self.poll(Pending { resource, get, wakes: Wakes::new(), seen: 0 }, 1);
    }

    fn poll(&mut self, mut pending: Pending, polls: u8) {
        let idle = self.request.lazy(&self.resources[pending.resource]).state() == LazyState::Ready;
        for _ in 0..polls {
            let waker = pending.wakes.waker();
            pending.seen = pending.wakes.count();
            if let Poll::Ready(outcome) = pending.get.as_mut().poll(&mut Context::from_waker(&waker)) {
                match outcome {
                    Ok(guard) => self.got(pending.resource, guard),
                    // After the close it may still return the error of its own attempt.
                    Err(error) => assert!(self.scope.is_none() || !error.is_closed()),
                }
                return;
            }
        }
        let alone = !self.gets.iter().any(|other| other.resource == pending.resource);
        assert!(!idle || !alone || polls < 2, "two polls did not return the idle handle");
        self.gets.push(pending);
    }

    fn got(&mut self, resource: usize, guard: Guard<Probe>) {
        assert!(self.scope.is_some(), "lent after the close");
        let held = self.guards.iter().any(|(other, _)| *other == resource);
        assert!(!held, "lent twice");
        self.known[resource] = Some(guard.id());
        self.guards.push((resource, guard));
    }

    fn mark(&mut self) {
        self.marked |= self.scope.is_some();
    }

    fn peek(&self, resource: usize) -> LazyState {
        self.request.lazy(&self.resources[resource]).state()
    }

    /// Predicts the exit of every existing handle if the scope is closed with `passed` now. Returns the verdict, and
    /// whether a settling handle is in the way of a success.
    fn predict(&mut self, passed: Exit) -> (Exit, bool) {
        let away = |resource| matches!(self.peek(resource), LazyState::Lent | LazyState::Acquiring);
        let missing = passed.is_completed() && (1..RESOURCES).any(away);
        let failed = missing || self.marked;
        let verdict = if failed { passed.worst(Exit::Failed) } else { passed };
        let settling_idle = (1..RESOURCES).any(|resource| self.peek(resource) == LazyState::Ready);

        let lent: Vec<u64> = self.guards.iter().map(|(_, guard)| guard.id()).collect();
        for id in 0..self.server.probe.counts().acquired {
            let exit = if lent.contains(&id) { Exit::Cancelled } else { verdict };
            self.predicted.entry(id).or_insert(exit);
        }
        // Settling handles first, each group in reverse order (L10). If none settles, a handle that is reclaimed
        // overtakes the others, whose releases begin with their task.
        let settles = verdict.is_completed();
        let mut idle: Vec<(bool, u64)> = (0..RESOURCES)
            .filter(|resource| self.peek(*resource) == LazyState::Ready && (settles || *resource != RECLAIMING))
            .filter_map(|resource| Some((settles && resource > 0, self.known[resource]?)))
            .collect();
        idle.sort();
        self.order = idle.into_iter().rev().map(|(_, id)| id).collect();
        (verdict, missing || (passed.is_completed() && !verdict.is_completed() && settling_idle))
    }

    async fn close(&mut self, exit: Exit, polls: Option<u8>) {
        if self.scope.is_none() {
            return;
        }
        let (verdict, problem) = self.predict(exit);
        let before = self.server.stats();
        let Some(scope) = self.scope.take() else { return };
        let mut close: Pin<Box<Close>> = Box::pin(scope.close(exit));
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
            Ok(()) => assert!(!problem, "the close returned Ok"),
            Err(error) => {
                assert!(problem || (unwell && verdict.is_completed()), "{error}");
                assert_eq!((error.requested(), error.verdict()), (exit, verdict));
            }
        }
    }

    pub(super) fn check(&mut self, step: &Step) {
        self.server.assert_balanced();
        for (resource, _) in &self.guards {
            let seen = self.peek(*resource);
            assert_eq!(seen, if self.scope.is_some() { LazyState::Lent } else { LazyState::Closed }, "{step:?}");
        }
        for handle in self.held() {
            assert_eq!(self.server.probe.record(handle.id()).exits, [], "{step:?}: released under its holder");
        }
        for resource in 0..RESOURCES {
            let waiters = self.gets.iter().filter(|get| get.resource == resource);
            let asleep: Vec<bool> = waiters.map(|get| get.wakes.count() == get.seen).collect();
            let wrong = match self.peek(resource) {
                LazyState::Lent | LazyState::Acquiring => false,
                LazyState::Closed => asleep.contains(&true),
                // One of them has its turn.
                _ => !asleep.is_empty() && !asleep.contains(&false),
            };
            assert!(!wrong, "{step:?}: a waiter sleeps that could go on");
        }
    }

    /// Asserts that every handle is held, idle or gone, as it must be without a runtime.
    pub(super) fn check_that_nothing_runs(&mut self, step: &Step) {
        let held: BTreeSet<u64> = self.held().map(|handle| handle.id()).collect();
        let idle = (0..RESOURCES).filter(|resource| self.peek(*resource) == LazyState::Ready).count();
        let probe = &self.server.probe;
        assert_eq!(probe.counts().live(), (held.len() + idle) as u64, "{step:?}: a release is left to run");
        assert_eq!(probe.counts().acquiring, 0, "{step:?}: an acquisition is left to run");
        for id in 0..probe.counts().acquired {
            let record = probe.record(id);
            if record.state == HandleState::Abandoned && record.exits.is_empty() {
                self.abandoned.insert(id);
            }
        }
    }

    fn held(&self) -> impl Iterator<Item = &ProbeHandle> {
        self.guards.iter().map(|(_, guard)| &**guard).chain(self.leases.iter().map(|(_, lease)| &**lease))
    }

    /// Drops everything, and compares what happened with the prediction.
    pub(super) async fn end(mut self) {
        self.step(&Step::DropScope).await;
        self.gets.clear();
        self.guards.clear();
        self.leases.clear();
        settle().await; // The drain does not wait for a cancelled acquisition, which has no handle.
        self.server.finish().await;
        let released = self.server.order();
        self.order.retain(|id| !self.abandoned.contains(id));
        let order: Vec<u64> = released.into_iter().filter(|id| self.order.contains(id)).collect();
        assert_eq!(order, self.order, "the order of the releases");
        let probe = &self.server.probe;
        assert_eq!(probe.counts().acquiring, 0, "an acquisition without a caller goes on");
        for id in 0..probe.counts().acquired {
            // A handle without a prediction arrived after the close, and was never lent.
            let predicted = self.predicted.get(&id).copied().unwrap_or(Exit::Cancelled);
            let exits: &[Exit] = if self.abandoned.contains(&id) { &[] } else { &[predicted] };
            assert_eq!(probe.record(id).exits, exits, "handle {id}");
        }
    }
}

fn which(resource: u8) -> usize {
    usize::from(resource) % RESOURCES
}

/// Removes the element at this index, modulo the length.
fn take<T>(all: &mut Vec<T>, index: u8) -> Option<T> {
    let count = all.len();
    (count > 0).then(|| all.remove(usize::from(index) % count.max(1)))
}
