//! The state machine under the lazy cell: no async, no clock, no runtime, no resource.
//!
//! `L` is what is lent, `E` the error of an attempt, `K` cancels an attempt.
//!
//! | phase         | `take`        | `deliver` ok  | `deliver` err | `give_back` | `detach`   | `seal`              |
//! |---------------|---------------|---------------|---------------|-------------|------------|---------------------|
//! | `Unused`      | → `Acquiring` | -             | -             | -           | -          | sealed `Unused`     |
//! | `Acquiring`   | waits         | → `Ready`     | → `Unused`    | -           | -          | sealed `Unused`, K  |
//! | `Ready(L)`    | → `Lent`      | -             | -             | -           | -          | sealed `Ready(L)`   |
//! | `Lent`        | waits         | -             | -             | → `Ready`   | → `Unused` | sealed `Unused`     |
//! | sealed        | closed        | refused: late | ignored       | refused     | ignored    | -                   |
//!
//! Invariants:
//!
//! 1. There is at most one `L` at home or on loan; whoever the machine refuses one owns it again.
//! 2. At most one attempt is under way, and only its own number can end it.
//! 3. Every move that a waiter has to hear of wakes **all** of them: one that is not polled holds up nobody.
//! 4. A ticket's place is freed by whoever held it, when it has its answer or is dropped.
//! 5. Nothing foreign (a waker, an `L`, an `E`, a `K`) is cloned, woken or dropped under the lock, save `E::clone`,
//!    which is a count. Beginning an attempt is counted there too: a seal comes after the count, or there is none.

use std::mem;
use std::panic::Location;
use std::task::Waker;

use crate::foreign;
use crate::peek::Peek;
use crate::places::{Places, Ticket};
use crate::sync::Mutex;

pub(crate) type Site = &'static Location<'static>;

pub(crate) struct Cell<L, E, K> {
    state: Mutex<State<L, E, K>>,
}

struct State<L, E, K> {
    phase: Phase<L, K>,
    /// No more loans, ever. What is still `Ready` waits for [`Cell::remove`].
    sealed: bool,
    /// Counts attempts, so that a late word of an earlier one changes nothing (2).
    attempt: u32,
    loans: u32,
    places: Places<E>,
}

enum Phase<L, K> {
    Unused,
    Acquiring(Option<K>),
    Ready(L),
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
pub(crate) enum Found<K> {
    Nothing,
    Acquiring(Option<K>),
    AtHome,
    Lent(Site),
}

impl<L, E: Clone, K> Cell<L, E, K> {
    pub(crate) fn new() -> Self {
        Self::starting(false)
    }

    pub(crate) fn closed() -> Self {
        Self::starting(true)
    }

    fn starting(sealed: bool) -> Self {
        let state = State { phase: Phase::Unused, sealed, attempt: 0, loans: 0, places: Places::new() };
        Cell { state: Mutex::new(state) }
    }

    pub(crate) fn peek(&self) -> Peek {
        let state = self.state.lock();
        match state.phase {
            _ if state.sealed => Peek::Closed,
            Phase::Unused => Peek::Unused,
            Phase::Acquiring(_) => Peek::Acquiring,
            Phase::Ready(_) => Peek::Ready,
            Phase::Lent(_) => Peek::Lent,
        }
    }

    /// The common case, and short: it is at home, and nobody waits.
    #[inline]
    pub(crate) fn take_at_home(&self, site: Site) -> Option<L> {
        let mut state = self.state.lock();
        if state.places.is_empty() { state.lend(site) } else { None }
    }

    /// Borrows what is inside, begins an attempt, or waits.
    /// `count` counts an attempt that begins.
    pub(crate) fn take<C>(
        &self,
        ticket: &mut Ticket,
        site: Site,
        waker: &Waker,
        count: impl Fn() -> C,
    ) -> Take<L, E, C> {
        let mut spare = None;
        loop {
            let mut state = self.state.lock();
            let first = !ticket.has_place();
            if let Some(error) = state.places.answer(ticket) {
                let left = state.places.leave(ticket);
                drop(state);
                drop(left);
                return Take::Failed(error);
            }
            let others_wait = first && !state.places.is_empty();
            let step = match &state.phase {
                _ if state.sealed => Take::Closed,
                Phase::Unused => Take::Begin(state.begin(), count()),
                Phase::Ready(_) if others_wait => Take::Yield,
                Phase::Ready(_) => Take::Lent(state.lend(site).expect("it is at home, under this very lock")),
                Phase::Acquiring(_) => Take::Wait(None),
                Phase::Lent(loan) => Take::Wait(Some(*loan)),
            };
            if let Take::Wait(_) | Take::Yield = step {
                // Cloning a waker is foreign code: done outside of the lock, and then everything is asked anew.
                if state.places.needs_waker(ticket, waker) && spare.is_none() {
                    drop(state);
                    spare = Some(waker.clone());
                    continue;
                }
                let old = state.places.register(ticket, spare.take());
                drop(state);
                drop(old);
                if let Take::Yield = step {
                    waker.wake_by_ref();
                }
                return step;
            }
            let left = state.places.leave(ticket);
            drop(state);
            drop(left);
            return step;
        }
    }

    /// The same without waiting; `None` where `take` would wait or has an error to tell.
    pub(crate) fn try_take<C>(&self, site: Site, count: impl Fn() -> C) -> Option<Take<L, E, C>> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Unused if !state.sealed => Some(Take::Begin(state.begin(), count())),
            _ => state.lend(site).map(Take::Lent),
        }
    }

    /// Gives whoever began an attempt a place among those who wait for it. Done before the attempt can end elsewhere:
    /// else its beginner would not hear of the error, and begin another one (L7).
    pub(crate) fn enlist(&self, ticket: &mut Ticket, waker: &Waker) {
        let waker = waker.clone();
        let old = self.state.lock().places.register(ticket, Some(waker));
        drop(old);
    }

    /// Tells how to cancel an attempt. `Some`: it is over already, or must be cancelled by the caller.
    pub(crate) fn running(&self, attempt: u32, cancel: K) -> Option<K> {
        let mut state = self.state.lock();
        if state.is_current(attempt) {
            // Nothing was there before: an attempt is told once.
            state.phase = Phase::Acquiring(Some(cancel));
            return None;
        }
        Some(cancel)
    }

    /// The attempt succeeded, and its own beginner keeps the result, on loan. `false`: the cell was sealed meanwhile,
    /// so that the result is late.
    pub(crate) fn lend_out(&self, attempt: u32, site: Site) -> bool {
        // Whoever came in meanwhile is woken too: nobody can go on, but a wait for a guard has a deadline of its own.
        let lent = self.move_on(|state| {
            if !state.is_current(attempt) {
                return Err(());
            }
            let loan = state.loan(site);
            Ok(mem::replace(&mut state.phase, loan))
        });
        lent.is_ok()
    }

    /// The attempt succeeded; whoever is polled first gets the result.
    ///
    /// # Errors
    ///
    /// `L` itself, if the cell was sealed meanwhile: it is late.
    pub(crate) fn deliver(&self, attempt: u32, lent: L) -> Result<(), L> {
        self.move_on(|state| {
            if !state.is_current(attempt) {
                return Err(lent);
            }
            Ok(mem::replace(&mut state.phase, Phase::Ready(lent)))
        })
    }

    /// The attempt failed: everybody who waits for it gets the error, and the next `take` begins anew (L7).
    /// `false`: it had ended before, with the cell.
    pub(crate) fn fail(&self, attempt: u32, error: &E) -> bool {
        self.unbegin(attempt, Some(error))
    }

    /// The attempt came to nothing, without an error: whoever waits begins another one.
    pub(crate) fn retract(&self, attempt: u32) {
        self.unbegin(attempt, None);
    }

    fn unbegin(&self, attempt: u32, error: Option<&E>) -> bool {
        let ended = self.move_on(|state| {
            if !state.is_current(attempt) {
                return Err(());
            }
            if let Some(error) = error {
                state.places.answer_all(|| error.clone());
            }
            Ok(mem::replace(&mut state.phase, Phase::Unused))
        });
        ended.is_ok()
    }

    /// A loan comes home.
    ///
    /// # Errors
    ///
    /// `L` itself, if the cell was sealed meanwhile: the caller ends it (L8).
    pub(crate) fn give_back(&self, lent: L) -> Result<(), L> {
        self.move_on(|state| match state.phase {
            Phase::Lent(_) => Ok(mem::replace(&mut state.phase, Phase::Ready(lent))),
            _ => Err(lent),
        })
    }

    /// A loan will not come home: the next `take` begins anew. `false`: the cell was sealed meanwhile.
    pub(crate) fn detach(&self) -> bool {
        let detached = self.move_on(|state| match state.phase {
            Phase::Lent(_) => Ok(mem::replace(&mut state.phase, Phase::Unused)),
            _ => Err(()),
        });
        detached.is_ok()
    }

    /// Ends all lending. What is at home stays there for [`Cell::remove`].
    pub(crate) fn seal(&self) -> Found<K> {
        let mut state = self.state.lock();
        state.sealed = true;
        let found = match &mut state.phase {
            Phase::Unused => Found::Nothing,
            Phase::Acquiring(cancel) => Found::Acquiring(cancel.take()),
            Phase::Ready(_) => Found::AtHome,
            Phase::Lent(loan) => Found::Lent(loan.since),
        };
        if !matches!(found, Found::AtHome) {
            // Of what was there nothing is left that a drop would have to look after.
            state.phase = Phase::Unused;
        }
        if !state.places.is_empty() {
            let wakers = state.places.wakers();
            drop(state);
            foreign::wake_all(wakers);
        }
        found
    }

    /// Looks at what the seal found at home.
    pub(crate) fn with_sealed<T>(&self, look: impl FnOnce(&L) -> T) -> Option<T> {
        // Taken out for the look: it calls foreign code, and nobody else wants it after the seal.
        let sealed = self.remove()?;
        let seen = look(&sealed);
        self.state.lock().phase = Phase::Ready(sealed);
        Some(seen)
    }

    /// Takes out what the seal found at home.
    pub(crate) fn remove(&self) -> Option<L> {
        let mut state = self.state.lock();
        if !state.sealed {
            return None;
        }
        match mem::replace(&mut state.phase, Phase::Unused) {
            Phase::Ready(lent) => Some(lent),
            _ => None,
        }
    }

    /// A waiter goes away. All were woken together, so there is no wake-up that it would have to pass on (3).
    pub(crate) fn leave(&self, ticket: &mut Ticket) {
        if ticket.has_place() {
            let left = self.state.lock().places.leave(ticket);
            drop(left);
        }
    }

    /// Moves to a phase in which waiters can go on, and wakes them (3).
    #[inline]
    fn move_on<T>(&self, step: impl FnOnce(&mut State<L, E, K>) -> Result<Phase<L, K>, T>) -> Result<(), T> {
        let mut state = self.state.lock();
        let old = step(&mut state)?;
        if state.places.is_empty() {
            drop(state);
            drop(old);
            return Ok(());
        }
        let wakers = state.places.wakers();
        drop(state);
        drop(old);
        foreign::wake_all(wakers);
        Ok(())
    }
}

impl<L, E, K> State<L, E, K> {
    fn begin(&mut self) -> u32 {
        self.attempt = self.attempt.wrapping_add(1);
        self.phase = Phase::Acquiring(None);
        self.attempt
    }

    fn loan(&mut self, since: Site) -> Phase<L, K> {
        self.loans = self.loans.wrapping_add(1);
        Phase::Lent(Loan { since, number: self.loans })
    }

    /// What is at home goes out.
    #[inline]
    fn lend(&mut self, site: Site) -> Option<L> {
        if self.sealed || !matches!(self.phase, Phase::Ready(_)) {
            return None;
        }
        let loan = self.loan(site);
        match mem::replace(&mut self.phase, loan) {
            Phase::Ready(lent) => Some(lent),
            other => {
                self.phase = other;
                None
            }
        }
    }

    fn is_current(&self, attempt: u32) -> bool {
        self.attempt == attempt && matches!(self.phase, Phase::Acquiring(_))
    }
}
