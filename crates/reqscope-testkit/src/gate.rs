use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use reqscope::Error;

use crate::outcome::{End, Outcome, Scripted};
use crate::panics::quiet_panic;

/// A point where calls wait until the test decides how they end.
///
/// Each call takes one [`Outcome`]: the next one of the script, or the default when the script is empty. The default is
/// `Outcome::ok()` for an [`open`](Gate::open) gate. A [`closed`](Gate::closed) gate has none: its calls wait. An
/// outcome that is added while calls wait goes to the oldest of them, so the same methods serve to write a script
/// beforehand and to let calls through by hand.
///
/// A gate needs no runtime and no clock, except for [`Outcome::after`]. Its clones are the same gate.
///
/// ```
/// use reqscope_testkit::{Gate, poll_once};
/// use std::{pin::pin, task::Poll};
///
/// let gate = Gate::closed();
/// let mut first = pin!(gate.pass());
/// let mut second = pin!(gate.pass());
/// assert!(poll_once(first.as_mut()).is_pending());
/// assert!(poll_once(second.as_mut()).is_pending());
///
/// gate.error();
/// assert!(matches!(poll_once(first), Poll::Ready(Err(_))));
/// assert!(poll_once(second).is_pending());
/// ```
///
/// The methods can be chained:
///
/// ```
/// use reqscope_testkit::{Gate, Outcome};
///
/// let gate = Gate::open();
/// gate.ok().error().slow(3).never().panic().next(Outcome::permanent()).always(Outcome::error());
/// assert_eq!(gate.calls(), 0);
/// ```
#[derive(Clone)]
pub struct Gate {
    state: Arc<Mutex<GateState>>,
}

struct GateState {
    script: VecDeque<Outcome>,
    rest: Option<Outcome>,
    waiting: VecDeque<Waiter>,
    calls: u64,
}

struct Waiter {
    call: u64,
    waker: Waker,
    /// The outcome, until the waiter takes it. A waiter that is dropped passes it on.
    given: Option<Outcome>,
}

impl Gate {
    /// Creates a gate whose calls succeed when the script is empty.
    pub fn open() -> Self {
        Self::with(Some(Outcome::ok()))
    }

    /// Creates a gate whose calls wait when the script is empty.
    pub fn closed() -> Self {
        Self::with(None)
    }

    fn with(rest: Option<Outcome>) -> Self {
        let state = GateState { script: VecDeque::new(), rest, waiting: VecDeque::new(), calls: 0 };
        Gate { state: Arc::new(Mutex::new(state)) }
    }

    /// Gives this outcome to one call: the one that has waited longest, or the next one if no call waits.
    pub fn next(&self, outcome: Outcome) -> &Self {
        let woken = self.state.lock().give(outcome, VecDeque::push_back);
        woken.into_iter().for_each(Waker::wake);
        self
    }

    /// Lets one call succeed.
    pub fn ok(&self) -> &Self {
        self.next(Outcome::ok())
    }

    /// Lets one call fail.
    pub fn error(&self) -> &Self {
        self.next(Outcome::error())
    }

    /// Lets one call succeed after it was pending `polls` times.
    pub fn slow(&self, polls: usize) -> &Self {
        self.next(Outcome::ok().after_polls(polls))
    }

    /// Lets one call hang.
    pub fn never(&self) -> &Self {
        self.next(Outcome::never())
    }

    /// Lets one call panic.
    pub fn panic(&self) -> &Self {
        self.next(Outcome::panic())
    }

    /// Sets the outcome of every call beyond the script, including those that wait.
    pub fn always(&self, outcome: Outcome) -> &Self {
        let woken: Vec<Waker> = {
            let mut state = self.state.lock();
            state.rest = Some(outcome);
            state.waiting.iter().map(|waiter| waiter.waker.clone()).collect()
        };
        woken.into_iter().for_each(Waker::wake);
        self
    }

    /// Lets calls beyond the script wait from now on.
    ///
    /// ```
    /// use reqscope_testkit::{Gate, Outcome, poll_once};
    /// use std::pin::pin;
    ///
    /// let gate = Gate::open();
    /// gate.close();
    /// let mut call = pin!(gate.pass());
    /// assert!(poll_once(call.as_mut()).is_pending());
    /// assert_eq!((gate.calls(), gate.waiting()), (1, 1));
    ///
    /// gate.always(Outcome::ok()); // open again
    /// assert!(poll_once(call).is_ready());
    /// ```
    pub fn close(&self) -> &Self {
        self.state.lock().rest = None;
        self
    }

    /// Returns how many calls have reached the gate. A call counts from its first poll.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Returns how many calls wait for an outcome now.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.iter().filter(|waiter| waiter.given.is_none()).count()
    }

    /// Passes the gate, with the outcome that the test has chosen.
    ///
    /// # Errors
    ///
    /// Returns an error with the cause [`Scripted`] if the outcome is an error.
    ///
    /// # Panics
    ///
    /// Panics if the outcome is a panic.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped while it waits leaves the queue. An outcome that was given to the call but not taken goes
    /// to the next call. An outcome that the call has begun to carry out is used up.
    pub async fn pass(&self) -> Result<(), Error<Scripted>> {
        match self.end().await {
            End::Ok => Ok(()),
            End::Error => Err(Error::failed(Scripted)),
            End::Permanent => Err(Error::permanent(Scripted)),
            End::Panic => quiet_panic("scripted panic"),
            End::Never => unreachable!("the wait of an outcome that never ends does not return"),
        }
    }

    /// Waits like `pass`, and lets the caller fail or panic.
    pub(crate) async fn end(&self) -> End {
        let outcome = Turn { gate: self, call: None }.await;
        outcome.wait().await
    }
}

impl GateState {
    /// Gives the outcome to the oldest waiter, or `put`s it into the script. The caller wakes after it has unlocked.
    fn give(&mut self, outcome: Outcome, put: fn(&mut VecDeque<Outcome>, Outcome)) -> Option<Waker> {
        match self.waiting.iter_mut().find(|waiter| waiter.given.is_none()) {
            Some(waiter) => {
                waiter.given = Some(outcome);
                Some(waiter.waker.clone())
            }
            None => {
                put(&mut self.script, outcome);
                None
            }
        }
    }

    fn place(&self, call: u64) -> usize {
        self.waiting.iter().position(|waiter| waiter.call == call).expect("only the waiter itself removes its entry")
    }
}

/// Waits for the outcome of one call.
struct Turn<'a> {
    gate: &'a Gate,
    /// The number of this call while it is in the queue.
    call: Option<u64>,
}

impl Future for Turn<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let gate = self.gate;
        let waker = cx.waker().clone();
        let mut state = gate.state.lock();
        let Some(call) = self.call else {
            state.calls += 1;
            if let Some(outcome) = state.script.pop_front().or_else(|| state.rest.clone()) {
                return Poll::Ready(outcome);
            }
            let call = state.calls;
            state.waiting.push_back(Waiter { call, waker, given: None });
            self.call = Some(call);
            return Poll::Pending;
        };
        let place = state.place(call);
        if let Some(outcome) = state.waiting[place].given.take().or_else(|| state.rest.clone()) {
            let left = state.waiting.remove(place);
            drop(state);
            drop(left); // its waker runs user code, so it is dropped outside the lock (L19)
            self.call = None;
            return Poll::Ready(outcome);
        }
        let stale = std::mem::replace(&mut state.waiting[place].waker, waker);
        drop(state);
        drop(stale);
        Poll::Pending
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(call) = self.call else { return };
        let (left, woken) = {
            let mut state = self.gate.state.lock();
            let place = state.place(call);
            let mut left = state.waiting.remove(place);
            // An outcome that was not taken goes to the next waiter, or back to the head of the script.
            let unseen = left.as_mut().and_then(|waiter| waiter.given.take());
            let woken = unseen.and_then(|outcome| state.give(outcome, VecDeque::push_front));
            (left, woken)
        };
        drop(left);
        woken.into_iter().for_each(Waker::wake);
    }
}
