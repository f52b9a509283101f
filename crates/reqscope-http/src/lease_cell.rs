//! What the server, the source and the timer of a [`LeaseBody`](crate::LeaseBody) share.
//!
//! 1. The contents are in the cell, or a poll has taken them out. No code of the source, the resource or the server runs
//!    under the lock.
//! 2. The timer takes the contents only while the clock runs, and the clock rests during a poll. So the contents of a
//!    running poll belong to that poll, on whichever thread the timer fires.
//! 3. The contents may own a waker of the cell. [`LeaseCell::close`] and a stall take them out, which ends that circle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};

use reqscope::Exit;
use tokio::runtime::Handle;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::stall::{Clock, Polled, Stall};

/// What a cell owns.
pub(crate) trait Contents: Send + 'static {
    /// Returns how the lease ends if the body stalls now. Calls nothing of the source or the resource.
    fn exit(&self) -> Exit;

    /// Ends everything, because the body has stalled.
    fn cancel(self: Pin<Box<Self>>, stall: Stall);
}

pub(crate) struct LeaseCell<C> {
    state: Mutex<State<C>>,
}

struct State<C> {
    contents: Option<Pin<Box<C>>>,
    clock: Clock,
    /// The task that polled the body last. Taken when the source wakes it: the server's next poll brings another.
    server: Option<Waker>,
    /// The runtime that polled the body last, or else created it. Its timers are used.
    runtime: Option<Handle>,
    timer: Option<Timer>,
    /// Set by the timer, taken by the next poll.
    stall: Option<Stall>,
    this: Weak<dyn Check>,
}

/// The same cell, without the type of its contents.
trait Check: Send + Sync {
    /// Ends the body if it has stalled, else arms the timer again.
    fn check(self: Arc<Self>);
}

impl<C: Contents> LeaseCell<C> {
    /// Creates a cell. On a runtime, the clock starts at once.
    pub(crate) fn new(contents: C) -> Arc<Self> {
        let cell = Arc::new_cyclic(|this: &Weak<Self>| LeaseCell {
            state: Mutex::new(State {
                contents: Some(Box::pin(contents)),
                clock: Clock::new(),
                server: None,
                runtime: Handle::try_current().ok(),
                timer: None,
                stall: None,
                this: Weak::clone(this) as Weak<dyn Check>,
            }),
        });
        let mut state = cell.lock();
        if state.runtime.is_some() {
            let now = Instant::now();
            state.clock.begin_poll(now);
            state.clock.end_poll(now, Polled::Nothing);
            state.arm();
        }
        drop(state);
        cell
    }
}

impl<C> LeaseCell<C> {
    /// Changes the settings of the clock.
    pub(crate) fn set(&self, set: impl FnOnce(&mut Clock)) {
        let mut state = self.lock();
        set(&mut state.clock);
        let unused = state.timer.take();
        state.arm();
        drop(state);
        drop(unused);
    }

    /// Takes the contents for a poll by this task, or for something else. They are `None` after a stall or a close.
    ///
    /// [`end_poll`](LeaseCell::end_poll) must follow, or [`close`](LeaseCell::close) if the poll panics.
    pub(crate) fn begin_poll(&self, server: Option<&Waker>) -> Option<Pin<Box<C>>> {
        let server = server.cloned();
        let runtime = Handle::try_current().ok();
        let mut state = self.lock();
        let contents = state.contents.take()?;
        state.clock.begin_poll(Instant::now());
        let replaced = (server.is_some().then(|| std::mem::replace(&mut state.server, server)), {
            let moved =
                runtime.is_some() && runtime.as_ref().map(Handle::id) != state.runtime.as_ref().map(Handle::id);
            // The old timer could never fire, if its runtime is not driven any more.
            moved.then(|| (std::mem::replace(&mut state.runtime, runtime), state.timer.take()))
        });
        drop(state);
        drop(replaced);
        Some(contents)
    }

    /// Returns the contents to the cell.
    pub(crate) fn end_poll(&self, contents: Pin<Box<C>>, polled: Polled) {
        let mut state = self.lock();
        state.contents = Some(contents);
        let mut unused = None;
        if polled == Polled::End {
            unused = state.timer.take();
            state.clock.end();
        } else {
            // Without a runtime there are no timers, and the next poll may bring one.
            let polled = if state.runtime.is_none() && polled == Polled::Nothing { Polled::Pending } else { polled };
            state.clock.end_poll(Instant::now(), polled);
            state.arm();
        }
        drop(state);
        drop(unused);
    }

    /// Returns how the body stalled, once.
    pub(crate) fn take_stall(&self) -> Option<Stall> {
        self.lock().stall.take()
    }

    /// Empties the cell, and returns what the timer has not taken.
    pub(crate) fn close(&self) -> Option<Pin<Box<C>>> {
        let mut state = self.lock();
        state.clock.end();
        let rest = (state.contents.take(), state.timer.take(), state.server.take());
        drop(state);
        rest.0
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> State<C> {
    /// Arms the timer, if the clock runs and the timer does not.
    fn arm(&mut self) {
        let (Some(at), Some(runtime)) = (self.clock.deadline(), &self.runtime) else { return };
        let timer = self.timer.get_or_insert_with(|| Timer {
            sleep: None,
            armed: false,
            alarm: Waker::from(Arc::new(Alarm { cell: Weak::clone(&self.this), runtime: runtime.clone() })),
        });
        timer.arm(at, runtime);
    }
}

impl<C: Contents> Check for LeaseCell<C> {
    fn check(self: Arc<Self>) {
        let mut state = self.lock();
        if let Some(timer) = &mut state.timer {
            timer.armed = false;
        }
        // By rule 2 the contents are in the cell if the clock runs.
        let exit = state.contents.as_ref().map_or(Exit::Cancelled, |contents| contents.exit());
        let Some(stall) = state.clock.stall(Instant::now(), exit) else { return state.arm() };
        state.stall = Some(stall);
        let (contents, unused) = (state.contents.take(), state.timer.take());
        drop(state);
        drop(unused);
        if let Some(contents) = contents {
            contents.cancel(stall);
        }
    }
}

/// The waker that the source of the body gets.
impl<C: Contents> Wake for LeaseCell<C> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.lock();
        if let Some(runtime) = state.runtime.clone() {
            // A source may wake from a thread of its own, but the clock and the timers are those of the runtime. A
            // thread that is about to end cannot enter it; its wake is forwarded all the same.
            let entered = match Handle::try_current() {
                Ok(current) if current.id() == runtime.id() => None,
                Err(error) if error.is_thread_local_destroyed() => return state.forward(),
                _ => Some(runtime.enter()),
            };
            if state.clock.wake(Instant::now) {
                state.arm();
            }
            drop(entered);
        }
        state.forward();
    }
}

/// Unlocks the cell, and then wakes the server.
trait Forward {
    fn forward(self);
}

impl<C> Forward for MutexGuard<'_, State<C>> {
    fn forward(mut self) {
        let server = self.server.take();
        drop(self);
        if let Some(server) = server {
            server.wake();
        }
    }
}

struct Timer {
    /// `None` before the first use, and if the runtime has no timers or is shutting down.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether it will call the alarm.
    armed: bool,
    alarm: Waker,
}

impl Timer {
    fn arm(&mut self, at: Instant, runtime: &Handle) {
        if self.armed {
            return; // early or on time
        }
        self.armed = true;
        // tokio panics if the runtime has no timers or is shutting down, and has no way to ask first. There is then no
        // limit. It stays `armed`, so that the panic hook reports it once.
        let sleep = self.sleep.take();
        let armed = catch_unwind(AssertUnwindSafe(|| {
            let _entered = runtime.enter();
            let mut sleep = match sleep {
                Some(mut sleep) => {
                    sleep.as_mut().reset(at);
                    sleep
                }
                None => Box::pin(sleep_until(at)),
            };
            // Unconstrained, because a poll without budget would not register the alarm. If the deadline has passed
            // meanwhile, the alarm must be called by us.
            let polled = Pin::new(&mut unconstrained(sleep.as_mut())).poll(&mut Context::from_waker(&self.alarm));
            if polled.is_ready() {
                self.alarm.wake_by_ref();
            }
            sleep
        }));
        self.sleep = armed.ok();
    }
}

/// The waker of the timer. It runs in tokio's driver, or under the lock if the deadline has passed already, so it leaves
/// the work to a task.
struct Alarm {
    cell: Weak<dyn Check>,
    runtime: Handle,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let cell = Weak::clone(&self.cell);
        drop(self.runtime.spawn(async move {
            if let Some(cell) = cell.upgrade() {
                cell.check();
            }
        }));
    }
}
