//! The state machine of the lazy cell: no async, no clock, no runtime, no resource.
//!
//! `L` is the value that is lent, `S` its stub, which stays in the cell meanwhile, `E` the error of an attempt, and `K`
//! cancels an attempt.
//!
//! | phase        | `take`        | `deliver` ok  | `fail`, `lose`, `give_up` | `give_back`      | `detach`   | `seal`           |
//! |--------------|---------------|---------------|---------------------------|------------------|------------|------------------|
//! | `Unused`     | → `Trying`    | -             | -                         | -                | -          | -                |
//! | `Trying`     | waits         | → `Idle`      | → `Unused`; not `give_up` | -                | -          | orphaned         |
//! | `Acquiring`  | waits         | → `Idle`      | → `Unused`                | -                | -          | → `Unused`, K    |
//! | `Idle(L, S)` | → `Lent`      | -             | -                         | -                | -          | → `Unused`, L, S |
//! | `Lent(S)`    | waits         | -             | -                         | → `Idle`         | → `Unused` | -                |
//! | marked       | waits         | -             | -                         | → `Ending`, L, S | → `Unused` | no mark          |
//! | `Ending`     | waits         | -             | -                         | -                | -          | -                |
//! | sealed       | closed        | refused: late | ignored                   | refused, S       | S          | -                |
//!
//! An attempt is `Trying` until it has to wait ([`Cell::wait`]): its caller is in the middle of a call, which nothing can
//! cancel, and which ends by itself; [`Cell::lend_out`] then lends it the value. If the cell is sealed meanwhile, the
//! attempt is an orphan until its caller has noticed, and a drain waits for it ([`Cell::adopt`]).
//!
//! A value can end early: `end` takes an idle one (→ `Ending`), or marks one that is lent, so that it ends when it is
//! returned, and waits. The caller is in the list when it sets the mark, because the end passes its result to those
//! that are. `ended` → `Unused`, in a sealed cell too.
//!
//! Invariants:
//!
//! 1. There is at most one `L`, idle or lent, and it has one `S`. If the cell refuses it, the caller owns both.
//! 2. At most one attempt is in progress, and only a call with its number can end it.
//! 3. The cell is *available* when it is unsealed and `Unused` or `Idle`. While it is available and the queue is not
//!    empty, a turn is running: the waiter at the head has been woken, and so have the second and the last. Only the
//!    waiter at the head may proceed, besides a caller that has just let the queue go first.
//! 4. A turn that lasts for too long can be ended by any waiter, which sets the one at the head aside. A waiter that
//!    leaves during a turn passes it on.
//! 5. The end of an attempt and the seal wake all waiters, because from then on each waits for something else, under
//!    another deadline.
//! 6. A waiter removes itself from the list, when it gets its result or is dropped.
//! 7. Nothing foreign (a waker, an `L`, an `E`, a `K`) is cloned, woken or dropped under the lock, except `E::clone`,
//!    which only increments a reference count.

pub(crate) mod state;
pub(crate) mod waiters;

use std::mem;
use std::panic::Location;
use std::task::Waker;

use crate::cell::state::LazyState;
use crate::cell::waiters::{CellWaiters, Join, WaiterId, Wakers};
use crate::exit::Exit;
use crate::rt::catch;
use crate::rt::sync::{Mutex, MutexGuard};

/// The line of code that takes a handle.
pub(crate) type Site = &'static Location<'static>;

pub(crate) struct Cell<L, S, E, K> {
    state: Mutex<CellState<L, S, E, K>>,
}

struct CellState<L, S, E, K> {
    phase: Phase<L, S, K>,
    /// Set by the close, permanently: no more loans.
    sealed: bool,
    /// The number of the last attempt, loan or early end. There is at most one of them at a time, so the late result of
    /// another one is recognized by its number (2).
    number: u32,
    /// The exit with which the value that is lent ends when it is returned.
    mark: Marks,
    waiters: CellWaiters<E>,
}

/// How many callers want a lent value to end with each exit when it is returned.
#[derive(Default)]
struct Marks {
    completed: u16,
    failed: u16,
}

impl Marks {
    fn is_set(&self) -> bool {
        (self.completed | self.failed) != 0
    }

    fn of(&mut self, exit: Exit) -> &mut u16 {
        if exit.is_completed() { &mut self.completed } else { &mut self.failed }
    }

    fn add(&mut self, exit: Exit) {
        let count = self.of(exit);
        *count = count.saturating_add(1);
    }

    fn remove(&mut self, exit: Exit) {
        let count = self.of(exit);
        // One that has reached its maximum no longer knows how many there are, and stays.
        if *count != u16::MAX {
            *count = count.saturating_sub(1);
        }
    }

    /// Removes all, and returns the worst exit.
    fn take(&mut self) -> Option<Exit> {
        match mem::take(self) {
            Marks { failed: 1.., .. } => Some(Exit::Failed),
            Marks { completed: 1.., .. } => Some(Exit::Completed),
            Marks { .. } => None,
        }
    }
}

/// The phase of a cell, as in the table above.
pub(crate) enum Phase<L, S, K> {
    Unused,
    Trying,
    Acquiring(Option<K>),
    Held(HandleState<L>, S),
    /// The value is being released early, with this exit or a worse one. Each end has a number, like an attempt.
    Ending(Exit),
}

/// Where the value of a cell is.
pub(crate) enum HandleState<L> {
    Idle(L),
    /// Lent to this line of code.
    Lent(Site),
}

/// One loan of the value. The number tells two loans apart that the same line of code took.
#[derive(Clone, Copy)]
pub(crate) struct Loan {
    pub(crate) since: Site,
    pub(crate) number: u32,
}

/// The result of [`Cell::take`].
pub(crate) enum Take<L, E> {
    /// The value, now lent to the caller.
    Lent(L),
    /// The caller begins the attempt with this number.
    Begin(u32),
    /// The caller is registered as a waiter.
    Wait(WaitFor),
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
    Ending,
    Closed,
}

/// What a waiter waits for.
#[derive(Clone, Copy)]
pub(crate) enum WaitFor {
    /// The end of the attempt with this number.
    Attempt(u32),
    /// The end of this loan. To a caller in the queue, its number is how many waiters have left the head of the queue.
    Loan(Loan),
    /// The waiter at the head, which has been woken for the turn with this number.
    Turn(u32),
    /// The early end with this number.
    End(u32),
}

/// The result of [`Cell::end`].
pub(crate) enum End<L, S, E> {
    /// The caller releases this value, and then calls [`Cell::ended`].
    Begin(Ending<L, S>),
    /// The caller is registered as a waiter.
    Wait(WaitFor),
    /// The end that the caller waited for is over, with this exit.
    Ended(Exit),
    Failed(E),
    /// There is no value that could end.
    Unused,
    Closed,
}

/// A value that ends early.
pub(crate) struct Ending<L, S> {
    pub(crate) lent: L,
    pub(crate) stub: S,
    pub(crate) exit: Exit,
    pub(crate) number: u32,
}

/// A returned value that does not stay in the cell, for the caller to release.
pub(crate) enum Returned<L, S> {
    /// The cell has been sealed (L8).
    Refused(L, S),
    Ends(Ending<L, S>),
}

impl PartialEq for WaitFor {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (WaitFor::Attempt(one), WaitFor::Attempt(other))
            | (WaitFor::Turn(one), WaitFor::Turn(other))
            | (WaitFor::End(one), WaitFor::End(other)) => one == other,
            (WaitFor::Loan(one), WaitFor::Loan(other)) => one.number == other.number,
            _ => false,
        }
    }
}

/// The result of [`Cell::seal`].
pub(crate) enum Found<L, S, K> {
    /// The value is lent, and its stub stays in the cell until it is returned.
    Lent(Site),
    /// The caller that began the attempt is in the middle of a call, and finds the seal after it.
    Trying,
    /// The value is being released early, with this exit or a worse one, which ends by itself.
    Ending(Exit),
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
        let state = CellState {
            phase: Phase::Unused,
            sealed,
            number: 0,
            mark: Marks::default(),
            waiters: CellWaiters::new(),
        };
        Cell { state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> LazyState {
        let state = self.state.lock();
        match state.phase {
            _ if state.sealed => LazyState::Closed,
            Phase::Unused => LazyState::Unused,
            Phase::Trying | Phase::Acquiring(_) => LazyState::Acquiring,
            Phase::Held(HandleState::Idle(_), _) => LazyState::Ready,
            Phase::Held(HandleState::Lent(_), _) => LazyState::Lent,
            Phase::Ending(_) => LazyState::Ending,
        }
    }

    /// Borrows the value or begins an attempt, if neither needs to wait. Returns `None` if it has to wait, or if there
    /// are waiters and the caller may not `overtake` them.
    #[inline]
    pub(crate) fn try_take(&self, overtake: bool, site: Site) -> Option<Take<L, E>> {
        let mut state = self.state.lock();
        if overtake || state.waiters.is_empty() { state.take(site) } else { None }
    }

    /// Returns why [`try_take`](Cell::try_take) returns `None` to a caller that overtakes. It may differ from what that
    /// caller has met; it is `None` if another call would succeed.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        let state = self.state.lock();
        match &state.phase {
            _ if state.sealed => Some(Obstacle::Closed),
            Phase::Unused | Phase::Held(HandleState::Idle(_), _) => None,
            Phase::Trying | Phase::Acquiring(_) => Some(Obstacle::Acquiring),
            Phase::Ending(_) => Some(Obstacle::Ending),
            Phase::Held(HandleState::Lent(since), _) => Some(Obstacle::Lent(since)),
        }
    }

    /// Borrows the value, begins an attempt, or registers the caller as a waiter.
    pub(crate) fn take(&self, waiter: &mut WaiterId, site: Site, waker: &Waker) -> Take<L, E> {
        let mut spare = None;
        loop {
            let mut state = self.state.lock();
            let step = match state.waiters.take_error(waiter) {
                Some(error) => Take::Failed(error),
                None => state.take_in_turn(waiter, site),
            };
            let join = match step {
                Take::Wait(_) => Join::Last,
                Take::Yield => Join::Yielding,
                _ => {
                    // Nothing to pass on: the cell is not available any more, or the waiter was not in the queue.
                    let left = state.waiters.remove(waiter);
                    drop(state);
                    // The step may be a loan, which a panic would lose.
                    catch::drop_quietly(left);
                    return step;
                }
            };
            // Cloning a waker runs user code: unlock, clone it, and start again.
            if state.waiters.needs_waker(waiter, waker) && spare.is_none() {
                drop(state);
                spare = Some(waker.clone());
                continue;
            }
            let old = state.waiters.register(waiter, spare.take(), join);
            drop(state);
            drop(old);
            if let Take::Yield = step {
                waker.wake_by_ref();
            }
            return step;
        }
    }

    /// Registers the caller that began an attempt as a waiter for it, at the head of the queue. Called before the
    /// attempt can end in another task, or else the caller would miss its error and begin another attempt (L7).
    pub(crate) fn enqueue(&self, waiter: &mut WaiterId, waker: &Waker, attempt: u32) {
        let waker = waker.clone();
        let old = self.state.lock().waiters.register(waiter, Some(waker), Join::Beginner(attempt));
        drop(old);
    }

    /// Ends a turn whose waiter has not been polled for too long: sets it aside, and wakes the next one. Does nothing
    /// if that turn has ended.
    pub(crate) fn overtake(&self, turn: u32) {
        let mut state = self.state.lock();
        if state.is_available() && state.waiters.set_aside(turn) {
            let wakers = state.waiters.next_turn();
            drop(state);
            wakers.wake();
        }
    }

    /// Lets an attempt that has to wait go on. Returns `false` if the cell has been sealed.
    pub(crate) fn wait(&self, attempt: u32) -> bool {
        let mut state = self.state.lock();
        let goes_on = state.is_trying(attempt) && !state.sealed;
        if goes_on {
            state.phase = Phase::Acquiring(None);
        }
        goes_on
    }

    /// Returns whether an attempt that the cell refused to end was orphaned by the seal, which has counted it. Its caller
    /// ends that count.
    #[cold]
    pub(crate) fn adopt(&self, attempt: u32) -> bool {
        let mut state = self.state.lock();
        let is_orphan = state.is_trying(attempt) && state.sealed;
        if is_orphan {
            state.phase = Phase::Unused;
        }
        is_orphan
    }

    /// Stores how to cancel an attempt. Returns it if the attempt has ended; the caller then cancels it.
    pub(crate) fn set_cancel(&self, attempt: u32, cancel: K) -> Option<K> {
        let mut state = self.state.lock();
        let state = &mut *state;
        match &mut state.phase {
            // Called once for each attempt, so this is `None`.
            Phase::Acquiring(none) if state.number == attempt => none.replace(cancel),
            _ => Some(cancel),
        }
    }

    /// Ends an attempt with success, and lends its value to the caller that began it.
    ///
    /// # Errors
    ///
    /// Returns the stub if the cell has been sealed: the handle is late.
    #[inline(always)]
    pub(crate) fn lend_out(&self, attempt: u32, stub: S, since: Site) -> Result<(), S> {
        let step = move |state: &mut CellState<L, S, E, K>| {
            let Ok(cancel) = state.end_attempt(attempt) else { return Err(stub) };
            state.phase = Phase::Held(HandleState::Lent(since), stub);
            Ok(cancel)
        };
        self.advance(CellWaiters::all, step)?;
        Ok(())
    }

    /// Ends an attempt with success; the waiter at the head gets the value.
    ///
    /// # Errors
    ///
    /// Returns the value and its stub if the cell has been sealed: the handle is late.
    pub(crate) fn deliver(&self, attempt: u32, lent: L, stub: S) -> Result<(), (L, S)> {
        self.advance(CellWaiters::all, |state| {
            let Ok(cancel) = state.end_attempt(attempt) else { return Err((lent, stub)) };
            state.phase = Phase::Held(HandleState::Idle(lent), stub);
            Ok(cancel)
        })?;
        Ok(())
    }

    /// Ends an attempt with an error, which all its waiters get; the next `take` begins another attempt (L7). Returns
    /// `false` if the attempt had already ended.
    pub(crate) fn fail(&self, attempt: u32, error: &E) -> bool {
        self.advance(|waiters| waiters.fail_all(|| error.clone()), |state| state.end_attempt(attempt)).is_ok()
    }

    /// Ends an attempt with an error that concerns only the caller that began it; the next waiter begins another one.
    /// Returns `false` if the attempt had already ended.
    pub(crate) fn lose(&self, attempt: u32, error: &E) -> bool {
        let wake = |waiters: &mut CellWaiters<E>| waiters.fail_beginner(attempt, || error.clone());
        self.advance(wake, |state| state.end_attempt(attempt)).is_ok()
    }

    /// Ends an attempt without a result; the next waiter begins another one. Returns how to cancel the attempt, for
    /// the caller to do so.
    pub(crate) fn give_up(&self, attempt: u32) -> Result<Option<K>, NotGivenUp> {
        self.advance(CellWaiters::all, |state| match &state.phase {
            Phase::Trying if state.number == attempt && !state.sealed => Err(NotGivenUp::Trying),
            _ => state.end_attempt(attempt).map_err(|AlreadyEnded| NotGivenUp::AlreadyEnded),
        })
    }

    /// Returns a loan to the cell.
    ///
    /// # Errors
    ///
    /// Returns the value and its stub if the cell has been sealed, or if the value ends early.
    #[inline]
    pub(crate) fn give_back(&self, lent: L) -> Result<(), Returned<L, S>> {
        self.advance(CellWaiters::next_turn, |state| match &mut state.phase {
            Phase::Held(held, _) if !state.sealed && !state.mark.is_set() => {
                Ok(mem::replace(held, HandleState::Idle(lent)))
            }
            _ => Err(state.end_loan(lent)),
        })?;
        Ok(())
    }

    /// Ends a loan whose value is not returned to the cell. Returns the stub, and `false` if the cell has been sealed.
    /// `refusal` is the error for callers that wait for an early end.
    pub(crate) fn detach(&self, refusal: impl FnOnce() -> E) -> (S, bool) {
        let mut state = self.state.lock();
        let (stub, open, mark) = (state.stub(), !state.sealed, state.mark.take());
        let mut wakers = state.waiters.next_turn();
        let refusal = mark.map(|_| refusal());
        if let Some(refusal) = &refusal {
            wakers = wakers.and(state.waiters.end(Err(refusal)));
        }
        drop(state);
        wakers.wake();
        (stub, open)
    }

    /// Takes the value out of the cell to end early, or waits: until it is returned, or for its end, if that has begun.
    /// It marks a value that is lent, once: a caller that is dropped leaves its mark.
    pub(crate) fn end(&self, waiter: &mut WaiterId, waker: &Waker, exit: Exit, marked: &mut bool) -> End<L, S, E> {
        let mut spare = None;
        loop {
            let mut state = self.state.lock();
            let step = match (state.waiters.take_error(waiter), state.waiters.exit(waiter)) {
                (Some(error), _) => End::Failed(error),
                (None, Some(exit)) => End::Ended(exit),
                (None, None) => state.end(exit),
            };
            if !matches!(step, End::Wait(_)) {
                let left = state.waiters.remove(waiter);
                drop(state);
                catch::drop_quietly(left);
                return step;
            }
            // Cloning a waker runs user code: unlock, clone it, and start again.
            if state.waiters.needs_waker(waiter, waker) && spare.is_none() {
                drop(state);
                spare = Some(waker.clone());
                continue;
            }
            // Not before this: the end of a marked value passes its result to the callers in the list.
            if matches!(step, End::Wait(WaitFor::Loan(_))) && !mem::replace(marked, true) {
                state.mark.add(exit);
            }
            let old = state.waiters.register(waiter, spare.take(), Join::Ender);
            drop(state);
            drop(old);
            return step;
        }
    }

    /// Registers the caller that has begun an end as a waiter for it. Called before the end can be over in another task.
    pub(crate) fn wait_for_end(&self, waiter: &mut WaiterId, waker: &Waker) {
        let waker = waker.clone();
        let old = self.state.lock().waiters.register(waiter, Some(waker), Join::Ender);
        drop(old);
    }

    /// Returns the exit of this end, if it is not over.
    pub(crate) fn ending_as(&self, number: u32) -> Option<Exit> {
        let state = self.state.lock();
        match state.phase {
            Phase::Ending(exit) if state.number == number => Some(exit),
            _ => None,
        }
    }

    /// Returns the number of the end that is not over.
    pub(crate) fn ending(&self) -> Option<u32> {
        let state = self.state.lock();
        matches!(state.phase, Phase::Ending(_)).then_some(state.number)
    }

    /// Makes the cell unused after an early end, and passes the result to all that wait for it. Does nothing if the end
    /// has been given up.
    pub(crate) fn ended(&self, number: u32, outcome: Result<Exit, &E>) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Ending(_)) && state.number == number {
            state.phase = Phase::Unused;
            let wakers = state.waiters.end(outcome);
            drop(state);
            wakers.wake();
        }
    }

    /// Removes the mark of a caller that stops waiting for the value to be returned, and its waiter. The marks of others
    /// stay. Returns `false` if the value has ended meanwhile: its end is the result of this caller, too.
    pub(crate) fn unmark(&self, waiter: &mut WaiterId, exit: Exit) -> bool {
        let mut state = self.state.lock();
        let is_lent = matches!(state.phase, Phase::Held(HandleState::Lent(_), _));
        if !is_lent || state.waiters.has_result(waiter) {
            return false;
        }
        state.mark.remove(exit);
        let left = state.waiters.remove(waiter);
        drop(state);
        catch::drop_quietly(left);
        true
    }

    /// Ends all lending. The caller owns an idle value, and may [put it back](Cell::keep_idle). `count` is called under
    /// the lock, for an attempt that becomes an orphan.
    #[inline]
    pub(crate) fn seal(&self, count: impl FnOnce()) -> Found<L, S, K> {
        let mut state = self.state.lock();
        state.sealed = true;
        let found = match &state.phase {
            Phase::Trying => {
                count();
                Found::Trying
            }
            Phase::Held(HandleState::Lent(since), _) => Found::Lent(since),
            Phase::Ending(exit) => Found::Ending(*exit),
            _ => Found::Over(mem::replace(&mut state.phase, Phase::Unused)),
        };
        if state.waiters.have_registered() {
            // Those that have marked the value, too: it does not end early any more.
            state.mark.take();
            let all = state.waiters.enders().and(state.waiters.all());
            drop(state);
            all.wake();
        }
        found
    }

    /// Puts the idle value that the seal found back, for [`Cell::take_idle`].
    pub(crate) fn keep_idle(&self, lent: L, stub: S) {
        self.state.lock().phase = Phase::Held(HandleState::Idle(lent), stub);
    }

    /// Reads the stub, if there is a value.
    pub(crate) fn stub<T>(&self, read: impl FnOnce(&S) -> T) -> Option<T> {
        match &self.state.lock().phase {
            Phase::Held(_, stub) => Some(read(stub)),
            _ => None,
        }
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

    /// Removes a waiter, which passes its turn on.
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut WaiterId) {
        if waiter.is_registered() {
            self.remove(waiter);
        }
    }

    #[cold]
    fn remove(&self, waiter: &mut WaiterId) {
        let mut state = self.state.lock();
        let left = state.waiters.remove(waiter);
        // The next waiter may have become the head, the second or the last.
        let wakers = if state.is_available() { state.waiters.same_turn() } else { Wakers::default() };
        drop(state);
        catch::drop_quietly(left);
        wakers.wake();
    }

    /// Moves to another phase, and wakes the waiters that `wake` selects (3, 5). The caller drops what the step returns
    /// (7).
    #[inline(always)]
    fn advance<T, F>(
        &self,
        wake: impl FnOnce(&mut CellWaiters<E>) -> Wakers,
        step: impl FnOnce(&mut CellState<L, S, E, K>) -> Result<T, F>,
    ) -> Result<T, F> {
        let mut state = self.state.lock();
        let out = step(&mut state)?;
        if !state.waiters.is_empty() {
            Self::wake(state, wake);
        }
        Ok(out)
    }

    #[cold]
    fn wake(mut state: MutexGuard<'_, CellState<L, S, E, K>>, wake: impl FnOnce(&mut CellWaiters<E>) -> Wakers) {
        let wakers = wake(&mut state.waiters);
        drop(state);
        wakers.wake();
    }
}

/// The attempt had already ended.
pub(crate) struct AlreadyEnded;

/// Why an attempt was not given up.
pub(crate) enum NotGivenUp {
    AlreadyEnded,
    /// Its caller is in the middle of a call that must not block, and that another attempt would call as well.
    Trying,
}

impl<L, S, E, K> CellState<L, S, E, K> {
    fn is_available(&self) -> bool {
        !self.sealed && matches!(self.phase, Phase::Unused | Phase::Held(HandleState::Idle(_), _))
    }

    /// Decides what a caller may do that is registered as `waiter` or not yet.
    fn take_in_turn(&mut self, waiter: &WaiterId, site: Site) -> Take<L, E> {
        let idle = match &self.phase {
            _ if self.sealed => return Take::Closed,
            Phase::Trying | Phase::Acquiring(_) => return Take::Wait(WaitFor::Attempt(self.number)),
            // The queue is what it waits for: if only the loan changes, it was overtaken, and its deadline stays.
            Phase::Held(HandleState::Lent(since), _) => {
                return Take::Wait(WaitFor::Loan(Loan { since, number: self.waiters.served() }));
            }
            Phase::Ending(_) => return Take::Wait(WaitFor::End(self.number)),
            Phase::Held(HandleState::Idle(_), _) => true,
            Phase::Unused => false,
        };
        let newcomer = !waiter.is_registered();
        // A newcomer that begins an attempt takes nothing that a waiter could have had already.
        if self.waiters.is_next(waiter) || newcomer && !idle {
            if let Some(taken) = self.take(site) {
                return taken;
            }
        }
        if newcomer { Take::Yield } else { Take::Wait(WaitFor::Turn(self.waiters.turn())) }
    }

    /// Ends this attempt, and returns how to cancel it.
    #[inline]
    fn end_attempt(&mut self, attempt: u32) -> Result<Option<K>, AlreadyEnded> {
        let cancel = match &mut self.phase {
            _ if self.number != attempt || self.sealed => return Err(AlreadyEnded),
            Phase::Trying => None,
            Phase::Acquiring(cancel) => cancel.take(),
            _ => return Err(AlreadyEnded),
        };
        self.phase = Phase::Unused;
        Ok(cancel)
    }

    /// Lends the idle value or begins an attempt, if the phase allows it.
    #[inline]
    fn take(&mut self, since: Site) -> Option<Take<L, E>> {
        match &mut self.phase {
            _ if self.sealed => None,
            Phase::Unused => {
                self.number = self.number.wrapping_add(1);
                self.phase = Phase::Trying;
                Some(Take::Begin(self.number))
            }
            Phase::Held(held @ HandleState::Idle(_), _) => {
                self.number = self.number.wrapping_add(1);
                match mem::replace(held, HandleState::Lent(since)) {
                    HandleState::Idle(lent) => Some(Take::Lent(lent)),
                    HandleState::Lent(_) => None,
                }
            }
            _ => None,
        }
    }

    /// Decides what a caller does that wants the value to end with `exit`.
    fn end(&mut self, exit: Exit) -> End<L, S, E> {
        match &self.phase {
            Phase::Ending(_) => End::Wait(WaitFor::End(self.number)),
            _ if self.sealed => End::Closed,
            Phase::Unused | Phase::Trying | Phase::Acquiring(_) => End::Unused,
            Phase::Held(HandleState::Lent(since), _) => End::Wait(WaitFor::Loan(Loan { since, number: self.number })),
            Phase::Held(HandleState::Idle(_), _) => match mem::replace(&mut self.phase, Phase::Ending(exit)) {
                Phase::Held(HandleState::Idle(lent), stub) => End::Begin(self.begin_end(lent, stub, exit)),
                _ => unreachable!("it is idle"),
            },
        }
    }

    /// Ends a loan whose value does not become idle.
    #[cold]
    fn end_loan(&mut self, lent: L) -> Returned<L, S> {
        let stub = self.stub();
        match self.mark.take() {
            Some(exit) if !self.sealed => {
                self.phase = Phase::Ending(exit);
                Returned::Ends(self.begin_end(lent, stub, exit))
            }
            _ => Returned::Refused(lent, stub),
        }
    }

    fn begin_end(&mut self, lent: L, stub: S, exit: Exit) -> Ending<L, S> {
        self.number = self.number.wrapping_add(1);
        Ending { lent, stub, exit, number: self.number }
    }

    /// Ends a loan, and returns its stub.
    fn stub(&mut self) -> S {
        match mem::replace(&mut self.phase, Phase::Unused) {
            Phase::Held(_, stub) => stub,
            _ => unreachable!("a lent value has its stub in the cell"),
        }
    }

    fn is_trying(&self, attempt: u32) -> bool {
        matches!(self.phase, Phase::Trying) && self.number == attempt
    }
}
