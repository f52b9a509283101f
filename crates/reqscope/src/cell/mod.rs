//! The state machine of the lazy cell: no async, no clock, no runtime, no resource.
//!
//! `L` is the value that is lent, `S` its stub, which stays in the cell meanwhile, `E` the error of an attempt, and `K`
//! cancels an attempt.
//!
//! | phase         | `take`        | `deliver` ok  | `fail`        | `give_back` | `detach`   | `seal`              |
//! |---------------|---------------|---------------|---------------|-------------|------------|---------------------|
//! | `Unused`      | → `Acquiring` | -             | -             | -           | -          | -                   |
//! | `Acquiring`   | waits         | → `Idle`      | → `Unused`    | -           | -          | → `Unused`, K       |
//! | `Idle(L, S)`  | → `Lent`      | -             | -             | -           | -          | → `Unused`, L, S    |
//! | `Lent(S)`     | waits         | -             | -             | → `Idle`    | → `Unused` | -                   |
//! | sealed        | closed        | refused: late | ignored       | refused, S  | S          | -                   |
//!
//! Invariants:
//!
//! 1. There is at most one `L`, idle or lent, and it has one `S`. If the cell refuses it, the caller owns both.
//! 2. At most one attempt is in progress, and only a call with its number can end it.
//! 3. Every transition after which a waiter can proceed wakes **all** waiters, so one that is not polled does not block
//!    the others.
//! 4. A waiter removes itself from the list, when it gets its result or is dropped.
//! 5. Nothing foreign (a waker, an `L`, an `E`, a `K`) is cloned, woken or dropped under the lock, except `E::clone`,
//!    which only increments a reference count. The beginning of an attempt is counted under the lock too, so that a
//!    seal that finds the attempt comes after the count.

pub(crate) mod state;
pub(crate) mod waiters;

use std::convert::Infallible;
use std::mem;
use std::panic::Location;
use std::task::Waker;

use crate::cell::state::LazyState;
use crate::cell::waiters::{CellWaiters, WaiterId};
use crate::rt::catch;
use crate::rt::sync::Mutex;

/// The line of code that takes a handle.
pub(crate) type Site = &'static Location<'static>;

pub(crate) struct Cell<L, S, E, K> {
    state: Mutex<CellState<L, S, E, K>>,
}

struct CellState<L, S, E, K> {
    phase: Phase<L, S, K>,
    /// Set by the close, permanently: no more loans.
    sealed: bool,
    /// The number of the last attempt, so that a late result of an earlier one is ignored (2).
    attempt: u32,
    loans: u32,
    waiters: CellWaiters<E>,
}

/// The phase of a cell, as in the table above.
pub(crate) enum Phase<L, S, K> {
    Unused,
    Acquiring(Option<K>),
    Held(HandleState<L>, S),
}

/// Where the value of a cell is.
pub(crate) enum HandleState<L> {
    Idle(L),
    Lent(Loan),
}

/// One loan of the value. The number tells two loans apart that the same line of code took.
#[derive(Clone, Copy)]
pub(crate) struct Loan {
    pub(crate) since: Site,
    pub(crate) number: u32,
}

/// The result of [`Cell::take`].
pub(crate) enum Take<L, E, C> {
    /// The value, now lent to the caller.
    Lent(L),
    /// The caller begins the attempt with this number, and keeps the second field, which counts it, until it has ended.
    Begin(u32, C),
    /// The caller is registered as a waiter: an attempt is in progress, or another task holds the value, in which case
    /// this is its loan.
    Wait(Option<Loan>),
    /// The value is idle, but others have waited for longer: the caller is registered and has woken itself.
    Yield,
    /// The attempt for which the caller waited has failed.
    Failed(E),
    Closed,
}

/// What keeps the value of a cell from being borrowed at once.
pub(crate) enum Obstacle {
    /// It is lent to the loan that this line of code took.
    Lent(Site),
    Acquiring,
    Closed,
}

/// The result of [`Cell::seal`].
pub(crate) enum Found<L, S, K> {
    /// The value is lent, and its stub stays in the cell until it is returned.
    Lent(Site),
    /// Any other phase, whose contents the caller owns now.
    Over(Phase<L, S, K>),
}

impl<L, S, E: Clone, K> Cell<L, S, E, K> {
    pub(crate) fn new() -> Self {
        Self::starting(false)
    }

    pub(crate) fn closed() -> Self {
        Self::starting(true)
    }

    fn starting(sealed: bool) -> Self {
        let state = CellState { phase: Phase::Unused, sealed, attempt: 0, loans: 0, waiters: CellWaiters::new() };
        Cell { state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> LazyState {
        let state = self.state.lock();
        match state.phase {
            _ if state.sealed => LazyState::Closed,
            Phase::Unused => LazyState::Unused,
            Phase::Acquiring(_) => LazyState::Acquiring,
            Phase::Held(HandleState::Idle(_), _) => LazyState::Ready,
            Phase::Held(HandleState::Lent(_), _) => LazyState::Lent,
        }
    }

    /// Borrows the value or begins an attempt, if neither needs to wait. Returns `None` if it has to wait, or if there
    /// are waiters and the caller may not `overtake` them.
    #[inline]
    pub(crate) fn try_take<C>(&self, overtake: bool, site: Site, count: impl FnOnce() -> C) -> Option<Take<L, E, C>> {
        let mut state = self.state.lock();
        if overtake || state.waiters.is_empty() { state.take(site, count) } else { None }
    }

    /// Returns why [`try_take`](Cell::try_take) returns `None` to a caller that overtakes. It may differ from what that
    /// caller has met; it is `None` if another call would succeed.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        let state = self.state.lock();
        match &state.phase {
            _ if state.sealed => Some(Obstacle::Closed),
            Phase::Unused | Phase::Held(HandleState::Idle(_), _) => None,
            Phase::Acquiring(_) => Some(Obstacle::Acquiring),
            Phase::Held(HandleState::Lent(loan), _) => Some(Obstacle::Lent(loan.since)),
        }
    }

    /// Borrows the value, begins an attempt, or registers the caller as a waiter. `count` is called under the lock if
    /// an attempt begins.
    pub(crate) fn take<C>(
        &self,
        waiter: &mut WaiterId,
        site: Site,
        waker: &Waker,
        count: impl Fn() -> C,
    ) -> Take<L, E, C> {
        let mut spare = None;
        loop {
            let mut state = self.state.lock();
            let first = !waiter.is_registered();
            if let Some(error) = state.waiters.take_error(waiter) {
                let removed = state.waiters.remove(waiter);
                drop(state);
                drop(removed);
                return Take::Failed(error);
            }
            let others_wait = first && !state.waiters.is_empty();
            let step = match &state.phase {
                _ if state.sealed => Take::Closed,
                Phase::Held(HandleState::Idle(_), _) if others_wait => Take::Yield,
                Phase::Held(HandleState::Lent(loan), _) => Take::Wait(Some(*loan)),
                _ => state.take(site, &count).unwrap_or(Take::Wait(None)),
            };
            if let Take::Wait(_) | Take::Yield = step {
                // Cloning a waker runs user code: unlock, clone it, and start again.
                if state.waiters.needs_waker(waiter, waker) && spare.is_none() {
                    drop(state);
                    spare = Some(waker.clone());
                    continue;
                }
                let old = state.waiters.register(waiter, spare.take());
                drop(state);
                drop(old);
                if let Take::Yield = step {
                    waker.wake_by_ref();
                }
                return step;
            }
            let removed = state.waiters.remove(waiter);
            drop(state);
            // The step may be a loan, which a panic would lose.
            catch::drop_quietly(removed);
            return step;
        }
    }

    /// Registers the caller that began an attempt as a waiter for it. Called before the attempt can end in another
    /// task, or else the caller would miss its error and begin another attempt (L7).
    pub(crate) fn enqueue(&self, waiter: &mut WaiterId, waker: &Waker) {
        let waker = waker.clone();
        let old = self.state.lock().waiters.register(waiter, Some(waker));
        drop(old);
    }

    /// Stores how to cancel an attempt. Returns it if the attempt has ended; the caller then cancels it.
    pub(crate) fn set_cancel(&self, attempt: u32, cancel: K) -> Option<K> {
        let mut state = self.state.lock();
        match state.attempt(attempt) {
            // Called once for each attempt, so this is `None`.
            Some(none) => none.replace(cancel),
            None => Some(cancel),
        }
    }

    /// Ends an attempt with success, and lends its value to the caller that began it.
    ///
    /// # Errors
    ///
    /// Returns the stub if the cell has been sealed: the handle is late.
    #[inline]
    pub(crate) fn lend_out(&self, attempt: u32, stub: S, since: Site) -> Result<(), S> {
        // This also wakes waiters that came in meanwhile: none can proceed, but a wait for a guard has a deadline of
        // its own.
        self.advance(|state| {
            let Some(cancel) = state.attempt(attempt).map(Option::take) else { return Err(stub) };
            state.loans = state.loans.wrapping_add(1);
            state.phase = Phase::Held(HandleState::Lent(Loan { since, number: state.loans }), stub);
            Ok(cancel)
        })?;
        Ok(())
    }

    /// Ends an attempt with success; the waiter that is polled first gets the value.
    ///
    /// # Errors
    ///
    /// Returns the value and its stub if the cell has been sealed: the handle is late.
    pub(crate) fn deliver(&self, attempt: u32, lent: L, stub: S) -> Result<(), (L, S)> {
        self.advance(|state| {
            let Some(cancel) = state.attempt(attempt).map(Option::take) else { return Err((lent, stub)) };
            state.phase = Phase::Held(HandleState::Idle(lent), stub);
            Ok(cancel)
        })?;
        Ok(())
    }

    /// Ends an attempt with an error, which all its waiters get; the next `take` begins another attempt (L7). Returns
    /// `false` if the attempt had already ended, with the cell.
    pub(crate) fn fail(&self, attempt: u32, error: &E) -> bool {
        self.end_attempt(attempt, Some(error))
    }

    /// Ends an attempt without a result; a waiter begins another one.
    pub(crate) fn retract(&self, attempt: u32) {
        self.end_attempt(attempt, None);
    }

    fn end_attempt(&self, attempt: u32, error: Option<&E>) -> bool {
        let ended = self.advance(|state| {
            let Some(cancel) = state.attempt(attempt).map(Option::take) else { return Err(()) };
            if let Some(error) = error {
                state.waiters.fail_all(|| error.clone());
            }
            state.phase = Phase::Unused;
            Ok(cancel)
        });
        ended.is_ok()
    }

    /// Returns a loan to the cell.
    ///
    /// # Errors
    ///
    /// Returns the value and its stub if the cell has been sealed: the caller releases it (L8).
    #[inline]
    pub(crate) fn give_back(&self, lent: L) -> Result<(), (L, S)> {
        self.advance(|state| match &mut state.phase {
            Phase::Held(held, _) if !state.sealed => Ok(mem::replace(held, HandleState::Idle(lent))),
            _ => Err((lent, state.stub())),
        })?;
        Ok(())
    }

    /// Ends a loan whose value is not returned to the cell. Returns the stub, and `false` if the cell has been sealed.
    pub(crate) fn detach(&self) -> (S, bool) {
        let Ok(detached) = self.advance(|state| Ok::<_, Infallible>((state.stub(), !state.sealed)));
        detached
    }

    /// Ends all lending. The caller owns an idle value, and may [put it back](Cell::keep_idle).
    #[inline]
    pub(crate) fn seal(&self) -> Found<L, S, K> {
        let mut state = self.state.lock();
        state.sealed = true;
        let found = match &state.phase {
            Phase::Held(HandleState::Lent(loan), _) => Found::Lent(loan.since),
            _ => Found::Over(mem::replace(&mut state.phase, Phase::Unused)),
        };
        if !state.waiters.is_empty() {
            let wakers = state.waiters.take_wakers();
            drop(state);
            catch::wake_all(wakers);
        }
        found
    }

    /// Puts the idle value that the seal found back, for [`Cell::take_idle`].
    pub(crate) fn keep_idle(&self, lent: L, stub: S) {
        self.state.lock().phase = Phase::Held(HandleState::Idle(lent), stub);
    }

    /// Takes the value that was put back.
    pub(crate) fn take_idle(&self) -> Option<(L, S)> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Held(HandleState::Idle(_), _)) {
            return None;
        }
        match mem::replace(&mut state.phase, Phase::Unused) {
            Phase::Held(HandleState::Idle(lent), stub) => Some((lent, stub)),
            _ => None,
        }
    }

    /// Removes a waiter. All waiters are woken together, so it has no wake-up to pass on (3).
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut WaiterId) {
        if waiter.is_registered() {
            let removed = self.state.lock().waiters.remove(waiter);
            catch::drop_quietly(removed);
        }
    }

    /// Moves to a phase in which waiters can proceed, and wakes them (3). The caller drops what the step returns (5).
    #[inline]
    fn advance<T, F>(&self, step: impl FnOnce(&mut CellState<L, S, E, K>) -> Result<T, F>) -> Result<T, F> {
        let mut state = self.state.lock();
        let out = step(&mut state)?;
        if state.waiters.is_empty() {
            return Ok(out);
        }
        let wakers = state.waiters.take_wakers();
        drop(state);
        catch::wake_all(wakers);
        Ok(out)
    }
}

impl<L, S, E, K> CellState<L, S, E, K> {
    /// Lends the idle value or begins an attempt, if the phase allows it.
    #[inline]
    fn take<C>(&mut self, since: Site, count: impl FnOnce() -> C) -> Option<Take<L, E, C>> {
        match &mut self.phase {
            _ if self.sealed => None,
            Phase::Unused => {
                self.attempt = self.attempt.wrapping_add(1);
                self.phase = Phase::Acquiring(None);
                Some(Take::Begin(self.attempt, count()))
            }
            Phase::Held(held @ HandleState::Idle(_), _) => {
                self.loans = self.loans.wrapping_add(1);
                let loan = HandleState::Lent(Loan { since, number: self.loans });
                match mem::replace(held, loan) {
                    HandleState::Idle(lent) => Some(Take::Lent(lent)),
                    HandleState::Lent(_) => None,
                }
            }
            _ => None,
        }
    }

    /// Ends a loan, and returns its stub.
    fn stub(&mut self) -> S {
        match mem::replace(&mut self.phase, Phase::Unused) {
            Phase::Held(_, stub) => stub,
            _ => unreachable!("a lent value has its stub in the cell"),
        }
    }

    /// Returns how to cancel the attempt with this number, if it is still in progress.
    fn attempt(&mut self, number: u32) -> Option<&mut Option<K>> {
        match &mut self.phase {
            Phase::Acquiring(cancel) if self.attempt == number => Some(cancel),
            _ => None,
        }
    }
}
