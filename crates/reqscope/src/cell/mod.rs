//! The state machine under the lazy cell: no async, no clock, no runtime, no resource.
//!
//! `L` is what is lent, `S` its stub, which stays here meanwhile, `E` the error of an attempt, `K` cancels one.
//!
//! | phase         | `take`        | `deliver` ok  | `fail`        | `give_back` | `detach`   | `seal`              |
//! |---------------|---------------|---------------|---------------|-------------|------------|---------------------|
//! | `Unused`      | → `Acquiring` | -             | -             | -           | -          | -                   |
//! | `Acquiring`   | waits         | → `Home`      | → `Unused`    | -           | -          | → `Unused`, K       |
//! | `Home(L, S)`  | → `Lent`      | -             | -             | -           | -          | → `Unused`, L, S    |
//! | `Lent(S)`     | waits         | -             | -             | → `Home`    | → `Unused` | -                   |
//! | sealed        | closed        | refused: late | ignored       | refused, S  | S          | -                   |
//!
//! Invariants:
//!
//! 1. There is at most one `L` at home or on loan, and it has one `S`; whoever the machine refuses one owns both.
//! 2. At most one attempt is under way, and only its own number can end it.
//! 3. Every move that a waiter has to hear of wakes **all** of them: one that is not polled holds up nobody.
//! 4. A ticket's place is freed by whoever held it, when it has its answer or is dropped.
//! 5. Nothing foreign (a waker, an `L`, an `E`, a `K`) is cloned, woken or dropped under the lock, save `E::clone`,
//!    which is a count. Beginning an attempt is counted there too: a seal comes after the count, or there is none.

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

pub(crate) type Site = &'static Location<'static>;

pub(crate) struct Cell<L, S, E, K> {
    state: Mutex<CellState<L, S, E, K>>,
}

struct CellState<L, S, E, K> {
    phase: Phase<L, S, K>,
    /// No more loans, ever.
    sealed: bool,
    /// Counts attempts, so that a late word of an earlier one changes nothing (2).
    attempt: u32,
    loans: u32,
    waiters: CellWaiters<E>,
}

pub(crate) enum Phase<L, S, K> {
    Unused,
    Acquiring(Option<K>),
    Held(HandleState<L>, S),
}

pub(crate) enum HandleState<L> {
    Idle(L),
    Lent(Loan),
}

/// Who has it: one loan is not the next, though the same line of the program takes both.
#[derive(Clone, Copy)]
pub(crate) struct Loan {
    pub(crate) since: Site,
    pub(crate) number: u32,
}

/// The answer to [`Cell::take`].
pub(crate) enum Take<L, E, C> {
    /// On loan to the caller now.
    Lent(L),
    /// The caller is to acquire, under this number, and keeps what counts the attempt until it is over.
    Begin(u32, C),
    /// Registered; an attempt is under way, or somebody else holds it.
    Wait(Option<Loan>),
    /// It is at home, but others have waited for longer: to be polled again at once.
    Yield,
    /// The attempt that the caller waited for failed.
    Failed(E),
    Closed,
}

/// What [`Cell::seal`] found.
pub(crate) enum Found<L, S, K> {
    /// It is out. Its stub waits here for it.
    Lent(Site),
    /// Anything else, which is the caller's now.
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

    /// What needs no waiting: it is at home, or nobody has asked yet. `None`: that is not so, or else others were
    /// here before, unless the caller is to `pass` them.
    #[inline]
    pub(crate) fn try_take<C>(&self, pass: bool, site: Site, count: impl FnOnce() -> C) -> Option<Take<L, E, C>> {
        let mut state = self.state.lock();
        if pass || state.waiters.is_empty() { state.take(site, count) } else { None }
    }

    /// Borrows what is inside, begins an attempt, or waits.
    /// `count` counts an attempt that begins.
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
            if let Some(error) = state.waiters.answer(waiter) {
                let left = state.waiters.leave(waiter);
                drop(state);
                drop(left);
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
                // Cloning a waker is foreign code: done outside of the lock, and then everything is asked anew.
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
            let left = state.waiters.leave(waiter);
            drop(state);
            drop(left);
            return step;
        }
    }

    /// Gives whoever began an attempt a place among those who wait for it. Done before the attempt can end elsewhere:
    /// else its beginner would not hear of the error, and begin another one (L7).
    pub(crate) fn enqueue(&self, waiter: &mut WaiterId, waker: &Waker) {
        let waker = waker.clone();
        let old = self.state.lock().waiters.register(waiter, Some(waker));
        drop(old);
    }

    /// Tells how to cancel an attempt. `Some`: it is over already, or must be cancelled by the caller.
    pub(crate) fn set_cancel(&self, attempt: u32, cancel: K) -> Option<K> {
        let mut state = self.state.lock();
        match state.attempt(attempt) {
            // Nothing was there before: an attempt is told once.
            Some(none) => none.replace(cancel),
            None => Some(cancel),
        }
    }

    /// The attempt succeeded, and its own beginner keeps `L`, on loan.
    ///
    /// # Errors
    ///
    /// The stub, if the cell was sealed meanwhile: the result is late.
    #[inline]
    pub(crate) fn lend_out(&self, attempt: u32, stub: S, since: Site) -> Result<(), S> {
        // Whoever came in meanwhile is woken too: nobody can go on, but a wait for a guard has a deadline of its own.
        self.advance(|state| {
            let Some(cancel) = state.attempt(attempt).map(Option::take) else { return Err(stub) };
            state.loans = state.loans.wrapping_add(1);
            state.phase = Phase::Held(HandleState::Lent(Loan { since, number: state.loans }), stub);
            Ok(cancel)
        })?;
        Ok(())
    }

    /// The attempt succeeded; whoever is polled first gets the result.
    ///
    /// # Errors
    ///
    /// The result itself, if the cell was sealed meanwhile: it is late.
    pub(crate) fn deliver(&self, attempt: u32, lent: L, stub: S) -> Result<(), (L, S)> {
        self.advance(|state| {
            let Some(cancel) = state.attempt(attempt).map(Option::take) else { return Err((lent, stub)) };
            state.phase = Phase::Held(HandleState::Idle(lent), stub);
            Ok(cancel)
        })?;
        Ok(())
    }

    /// The attempt failed: everybody who waits for it gets the error, and the next `take` begins anew (L7).
    /// `false`: it had ended before, with the cell.
    pub(crate) fn fail(&self, attempt: u32, error: &E) -> bool {
        self.end_attempt(attempt, Some(error))
    }

    /// The attempt came to nothing, without an error: whoever waits begins another one.
    pub(crate) fn retract(&self, attempt: u32) {
        self.end_attempt(attempt, None);
    }

    fn end_attempt(&self, attempt: u32, error: Option<&E>) -> bool {
        let ended = self.advance(|state| {
            let Some(cancel) = state.attempt(attempt).map(Option::take) else { return Err(()) };
            if let Some(error) = error {
                state.waiters.answer_all(|| error.clone());
            }
            state.phase = Phase::Unused;
            Ok(cancel)
        });
        ended.is_ok()
    }

    /// A loan comes home.
    ///
    /// # Errors
    ///
    /// `L` itself and its stub, if the cell was sealed meanwhile: the caller ends it (L8).
    #[inline]
    pub(crate) fn give_back(&self, lent: L) -> Result<(), (L, S)> {
        self.advance(|state| match &mut state.phase {
            Phase::Held(place, _) if !state.sealed => Ok(mem::replace(place, HandleState::Idle(lent))),
            _ => Err((lent, state.stub())),
        })?;
        Ok(())
    }

    /// A loan will not come home: its stub, and whether the next `take` begins anew. If not, the cell was sealed
    /// meanwhile.
    pub(crate) fn detach(&self) -> (S, bool) {
        let Ok(detached) = self.advance(|state| Ok::<_, Infallible>((state.stub(), !state.sealed)));
        detached
    }

    /// Ends all lending. What was at home is the caller's, who may [`keep`](Cell::keep_idle) it here.
    #[inline]
    pub(crate) fn seal(&self) -> Found<L, S, K> {
        let mut state = self.state.lock();
        state.sealed = true;
        let found = match &state.phase {
            Phase::Held(HandleState::Lent(loan), _) => Found::Lent(loan.since),
            _ => Found::Over(mem::replace(&mut state.phase, Phase::Unused)),
        };
        if !state.waiters.is_empty() {
            let wakers = state.waiters.wakers();
            drop(state);
            catch::wake_all(wakers);
        }
        found
    }

    /// Puts what the seal found at home back, for [`Cell::take_idle`].
    pub(crate) fn keep_idle(&self, lent: L, stub: S) {
        self.state.lock().phase = Phase::Held(HandleState::Idle(lent), stub);
    }

    /// Takes out what was kept.
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

    /// A waiter goes away. All were woken together, so there is no wake-up that it would have to pass on (3).
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut WaiterId) {
        if waiter.is_registered() {
            let left = self.state.lock().waiters.leave(waiter);
            drop(left);
        }
    }

    /// Moves to a phase in which waiters can go on, and wakes them (3). What the step takes out is dropped, if it is,
    /// by the caller (5).
    #[inline]
    fn advance<T, F>(&self, step: impl FnOnce(&mut CellState<L, S, E, K>) -> Result<T, F>) -> Result<T, F> {
        let mut state = self.state.lock();
        let out = step(&mut state)?;
        if state.waiters.is_empty() {
            return Ok(out);
        }
        let wakers = state.waiters.wakers();
        drop(state);
        catch::wake_all(wakers);
        Ok(out)
    }
}

impl<L, S, E, K> CellState<L, S, E, K> {
    /// What can be done without waiting: lend what is at home, or begin to acquire.
    #[inline]
    fn take<C>(&mut self, since: Site, count: impl FnOnce() -> C) -> Option<Take<L, E, C>> {
        match &mut self.phase {
            _ if self.sealed => None,
            Phase::Unused => {
                self.attempt = self.attempt.wrapping_add(1);
                self.phase = Phase::Acquiring(None);
                Some(Take::Begin(self.attempt, count()))
            }
            Phase::Held(place @ HandleState::Idle(_), _) => {
                self.loans = self.loans.wrapping_add(1);
                let loan = HandleState::Lent(Loan { since, number: self.loans });
                match mem::replace(place, loan) {
                    HandleState::Idle(lent) => Some(Take::Lent(lent)),
                    HandleState::Lent(_) => None,
                }
            }
            _ => None,
        }
    }

    /// The stub of a loan that ends.
    fn stub(&mut self) -> S {
        match mem::replace(&mut self.phase, Phase::Unused) {
            Phase::Held(_, stub) => stub,
            _ => unreachable!("what is lent has its stub here"),
        }
    }

    /// The attempt with this number, if it is still under way: how to cancel it.
    fn attempt(&mut self, number: u32) -> Option<&mut Option<K>> {
        match &mut self.phase {
            Phase::Acquiring(cancel) if self.attempt == number => Some(cancel),
            _ => None,
        }
    }
}
