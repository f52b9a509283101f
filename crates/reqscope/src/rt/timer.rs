//! Timers of tokio. Most waits end long before their deadlines, and entering tokio's wheel of timers and leaving it again
//! takes longer than many of them. So an ended wait leaves its timer set, and the next wait of its thread takes it.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::rt::catch::{self, Quiet};
use crate::rt::runtime::{Runtime, RuntimeId, Sleep, TIME_PASSES, coop, sleep_until};
use crate::rt::sync::{Mutex, thread_local};

/// A timer for one wait after the other. Dropping it leaves it to the next wait of this thread.
///
/// Dropped quietly, because it holds a waker.
pub(crate) struct Timer(Option<Quiet<Pin<Box<Set>>>>);

pin_project! {
    /// A timer of tokio that is set, and what belongs to it: in one allocation, because many waits may
    /// end at the same time.
    struct Set {
        #[pin]
        sleep: Sleep,
        // Its waker, once it was left. Until then, that is the one of the wait.
        relay: Option<Arc<Relay>>,
        runtime: RuntimeId,
    }
}

/// Wakes the task whose wait has the timer now, if there is one.
#[derive(Default)]
struct Relay(Mutex<Option<Waker>>);

thread_local! {
    static LEFT: RefCell<Vec<Quiet<Pin<Box<Set>>>>> = const { RefCell::new(Vec::new()) };
}

/// How many timers a thread keeps. Few are enough: a task that has waited runs, and the next one to wait takes its timer.
const MOST_LEFT: usize = 16;

const NOT_DROPPED: &str = "only `drop` takes the timer";

impl Timer {
    /// Returns a timer of this runtime, which is set to that time or an earlier one.
    ///
    /// # Errors
    ///
    /// What is missing. tokio panics if the runtime or its timers are missing, and has no way to check first.
    pub(crate) fn set(at: Instant) -> Result<Self, &'static str> {
        let Ok(runtime) = Runtime::try_current() else { return Err("not polled inside a tokio runtime") };
        while let Some(left) = LEFT.try_with(|left| left.borrow_mut().pop()).ok().flatten() {
            // All timers of a runtime that has ended have fired.
            if left.runtime == runtime.id() && !left.sleep.is_elapsed() {
                let mut timer = Timer(Some(left));
                timer.advance(at);
                return Ok(timer);
            }
        }
        let set = || Box::pin(Set { sleep: sleep_until(at), relay: None, runtime: runtime.id() });
        let set = catch_unwind(AssertUnwindSafe(set))
            .map_err(|_| "this tokio runtime has no timers: build it with `enable_time` or `enable_all`")?;
        Ok(Timer(Some(Quiet::new(set))))
    }

    /// Returns whether the caller is on the runtime of the timer. A task that has moved to another one must not rely on
    /// the timers of the one before, which may have ended, or stand still although it has not.
    pub(crate) fn is_from_here(&self) -> bool {
        let runtime = self.0.as_ref().expect(NOT_DROPPED).runtime;
        Runtime::try_current().map_or(true, |current| current.id() == runtime)
    }

    /// Sets the timer to that time, if it is set to a later one. Its task is polled, or polls it, before it waits.
    pub(crate) fn advance(&mut self, at: Instant) {
        let sleep = self.0.as_mut().expect(NOT_DROPPED).as_mut().project().sleep;
        if at < sleep.deadline() {
            sleep.reset(at);
        }
    }

    /// Waits until that time. A timer that was set to an earlier one is set again when that has passed.
    ///
    /// # Errors
    ///
    /// If the runtime is shutting down.
    pub(crate) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Result<Poll<()>, &'static str> {
        let set = self.0.as_mut().expect(NOT_DROPPED);
        if let Some(relay) = &set.relay {
            let waker = cx.waker().clone();
            let old = relay.0.lock().replace(waker);
            catch::drop_quietly(old);
            if !set.sleep.is_elapsed() {
                return Ok(Poll::Pending);
            }
        }
        let polled = set.as_mut().poll(cx)?;
        if polled.is_ready() && set.sleep.deadline() < at {
            set.as_mut().project().sleep.reset(at);
            return set.as_mut().poll(cx);
        }
        Ok(polled)
    }
}

impl Set {
    /// Polls the timer, with the relay if there is one.
    ///
    /// Outside of the budget of tokio's cooperation: an operation that uses up the budget in each poll would leave none
    /// for its deadline, which would never pass.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<Poll<()>, &'static str> {
        let set = self.project();
        let waker = set.relay.as_ref().map(|relay| Waker::from(Arc::clone(relay)));
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(cx.waker()));
        catch_unwind(AssertUnwindSafe(|| pin!(coop::unconstrained(set.sleep)).poll(&mut cx)))
            .map_err(|_| "this tokio runtime is shutting down")
    }

    /// Passes the wake-up on to no task. Returns whether another wait can have the timer.
    fn leave(mut self: Pin<&mut Self>) -> bool {
        if let Some(relay) = &self.relay {
            let old = relay.0.lock().take();
            catch::drop_quietly(old);
            return true;
        }
        *self.as_mut().project().relay = Some(Arc::default());
        matches!(self.poll(&mut Context::from_waker(Waker::noop())), Ok(Poll::Pending))
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        let waker = self.0.lock().take();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut set = self.0.take().expect(NOT_DROPPED);
        // In a model, no timer fires, and none is left. One that has fired may be of a runtime that has ended, and panics
        // when it is polled.
        let has_room = TIME_PASSES && LEFT.try_with(|left| left.borrow().len() < MOST_LEFT).unwrap_or(false);
        if has_room && !set.sleep.is_elapsed() && set.as_mut().leave() {
            let _ends_with_its_thread = LEFT.try_with(|left| left.borrow_mut().push(set));
        }
    }
}

#[cfg(all(test, not(reqscope_loom)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::runtime::Builder;
    use tokio::time::advance;

    use super::*;

    const TIMERS: &str = "the runtime has timers";

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn left() -> usize {
        LEFT.with_borrow(Vec::len)
    }

    /// Waits so many seconds, as far as the first poll.
    fn wait(seconds: u64, waker: &Arc<Wakes>) -> Timer {
        let at = Instant::now() + Duration::from_secs(seconds);
        let mut timer = Timer::set(at).expect(TIMERS);
        assert!(
            timer.poll(at, &mut Context::from_waker(&Waker::from(Arc::clone(waker)))).expect(TIMERS).is_pending()
        );
        timer
    }

    fn runtime() -> tokio::runtime::Runtime {
        Builder::new_current_thread().enable_time().start_paused(true).build().expect(TIMERS)
    }

    #[test]
    fn wait_takes_the_timer_that_another_one_has_left() {
        runtime().block_on(async {
            drop(wait(1, &Arc::default()));
            assert_eq!(left(), 1);
            let second = wait(1, &Arc::default());
            assert_eq!(left(), 0);
            // Only a timer that was left has a relay.
            assert!(second.0.as_ref().is_some_and(|set| set.relay.is_some()), "a timer of its own");
        });
    }

    /// A task on its runtime polls it, and so may a caller outside of any runtime.
    #[test]
    fn timer_is_from_here_except_on_another_runtime() {
        let (home, other) = (runtime(), runtime());
        let timer = home.block_on(async { wait(1, &Arc::default()) });
        assert!(timer.is_from_here(), "outside of a runtime");
        assert!(home.block_on(async { timer.is_from_here() }), "on its own");
        assert!(!other.block_on(async { timer.is_from_here() }), "on another one");
    }

    #[test]
    fn timer_that_is_left_holds_no_waker() {
        runtime().block_on(async {
            let waker = Arc::default();
            // With the timer of tokio alone, and with the relay.
            drop(wait(1, &waker));
            drop(wait(1, &waker));
            assert_eq!((left(), Arc::strong_count(&waker)), (1, 1));
        });
    }

    #[test]
    fn timer_left_by_a_shorter_wait_wakes_at_the_later_time() {
        runtime().block_on(async {
            drop(wait(1, &Arc::default()));
            let (waker, at) = (Arc::default(), Instant::now() + Duration::from_secs(3));
            let mut timer = wait(3, &waker);
            advance(Duration::from_secs(2)).await;
            let mut poll =
                || timer.poll(at, &mut Context::from_waker(&Waker::from(Arc::clone(&waker)))).expect(TIMERS);
            assert!(poll().is_pending());
            let early = waker.0.load(Ordering::Relaxed);
            advance(Duration::from_secs(1)).await;
            assert_eq!((waker.0.load(Ordering::Relaxed), poll()), (early + 1, Poll::Ready(())));
        });
    }

    #[test]
    fn timer_left_by_a_longer_wait_wakes_in_time() {
        runtime().block_on(async {
            drop(wait(9, &Arc::default()));
            let waker = Arc::default();
            let _timer = wait(1, &waker);
            advance(Duration::from_secs(2)).await;
            assert_eq!(waker.0.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn timer_left_on_another_runtime_is_not_taken() {
        let other = runtime();
        other.block_on(async { drop(wait(1, &Arc::default())) });
        runtime().block_on(async {
            let waker = Arc::default();
            let _timer = wait(1, &waker);
            advance(Duration::from_secs(2)).await;
            assert_eq!((left(), waker.0.load(Ordering::Relaxed)), (0, 1));
        });
    }

    #[test]
    fn timer_that_has_fired_is_not_left() {
        runtime().block_on(async {
            let timer = wait(1, &Arc::default());
            advance(Duration::from_secs(2)).await;
            drop(timer);
            assert_eq!(left(), 0);
        });
    }

    #[test]
    fn thread_keeps_few_timers() {
        runtime().block_on(async {
            let timers: Vec<_> = (0..2 * MOST_LEFT).map(|_| wait(1, &Arc::default())).collect();
            drop(timers);
            assert_eq!(left(), MOST_LEFT);
        });
    }
}
