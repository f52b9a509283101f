//! L15: a drop does not block and does not panic, on any thread, with or without a runtime.
//!
//! Everything is dropped on a thread of its own, outside of any runtime, and the drop is timed. One quick drop out of
//! many is enough: on a busy machine some drops are slow, but a drop that blocks is slow each time.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use reqscope::{Exit, Lease, Reaper, Resource, Scopes};

use super::fixture::{Fixture, Setup};
use super::limits::BOUND;
use super::report::{Breach, Verdict};
use super::unwind::while_unwinding;
use crate::panics::message;
use crate::poll::poll_n;

/// A slower drop may be blocking. A drop takes microseconds of work, a switch of threads takes a few milliseconds.
const QUIET: Duration = Duration::from_millis(10);

/// How many drops in a row have to be slow before the drop is blamed, and not the machine.
const TRIES: usize = 20;

/// How many slow drops are enough if they take longer than [`BOUND`] together.
const FEWEST_TRIES: usize = 5;

/// How long a drop may block the runtime. After this time the runtime runs on, because the drop may wait for a task.
const PROMPT: Duration = Duration::from_millis(100);

/// How long a drop may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(30);

type Begun = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Drops a handle without a release, as happens when its owner is dropped after the runtime.
pub(super) async fn handle_drops_quietly<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a handle dropped");
    drops_quietly(&fixture, async || Ok(fixture.acquire().await?.into_inner())).await
}

/// Drops the futures of `acquire` and `release`, in each of their states.
pub(super) async fn verb_futures_drop_quietly<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..4 {
        let fixture = setup.fixture(format!("the future of acquire dropped after {polls} polls"));
        let acquire = async || {
            let resource = Arc::clone(&fixture.resource);
            Ok(polled(polls, async move { drop(resource.acquire().await) }))
        };
        drops_quietly(&fixture, acquire).await?;
        let fixture = setup.fixture(format!("the future of release dropped after {polls} polls"));
        let release = async || {
            let resource = Arc::clone(&fixture.resource);
            let handle = fixture.acquire().await?;
            Ok(polled(polls, async move { drop(resource.release(handle, Exit::Failed).await) }))
        };
        drops_quietly(&fixture, release).await?;
    }
    Ok(())
}

/// Drops what the core has of the resource: a guard and its scope, a lease, a `get` and a close under way.
pub(super) async fn owners_drop_quietly<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    // A thread outside of the runtime does not see the paused clock of a test, which may be far ahead of the real one:
    // a deadline that begins on that thread may have passed already.
    let scopes = Scopes::builder().close_timeout(Duration::from_secs(86_400)).build();
    let fixture = setup.fixture("a guard and its scope dropped");
    let lent = async || {
        let scope = scopes.open();
        let answer = fixture.within("get", scope.lazy(&fixture.resource).get()).await?;
        Ok((fixture.success("get", answer)?, scope))
    };
    drops_quietly(&fixture, lent).await?;
    fixture.end().await?;

    let fixture = setup.fixture("a lease dropped");
    let leased = async || {
        let answer = fixture.within("Lease::acquire", Lease::acquire_in(scopes.reaper(), &fixture.resource)).await?;
        fixture.success("Lease::acquire", answer)
    };
    drops_quietly(&fixture, leased).await?;
    fixture.end().await?;

    let fixture = setup.fixture("a get under way and its scope dropped");
    // The acquisition waits at the gate. Else it would be cancelled on another thread, at an await that depends on the
    // machine's load, and this law would be blamed for what only breaks L3 and L6.
    fixture.resource.before_acquire.close();
    let getting = async || {
        let scope = scopes.open();
        let lazy = scope.lazy(&fixture.resource);
        Ok((polled(1, async move { drop(lazy.get().await) }), scope))
    };
    drops_quietly(&fixture, getting).await?;
    fixture.end().await?;

    let fixture = setup.settling_fixture("a close under way dropped");
    let closing = async || {
        let scope = scopes.open();
        let answer = fixture.within("get", scope.lazy(&fixture.resource).get()).await?;
        drop(fixture.success("get", answer)?);
        Ok(polled(1, async move { drop(scope.close(Exit::Completed).await) }))
    };
    drops_quietly(&fixture, closing).await?;
    fixture.end().await
}

/// Shuts a runtime down while a request holds a handle.
pub(super) async fn shutdown_is_quiet<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for leased in [false, true] {
        let what = if leased { "a lease was" } else { "a scope and a guard were" };
        let fixture = setup.fixture(format!("a runtime dropped while {what} open"));
        is_quick(&fixture, async || {
            let resource = Arc::clone(&fixture.resource);
            let took = on_a_thread(&fixture, move || shut_down(resource, leased)).await?;
            fixture.until("the handle was still there", || fixture.counts().live() == 0).await?;
            Ok(took)
        })
        .await?;
    }
    Ok(())
}

/// Returns how long a runtime takes to shut down under an open request.
fn shut_down<R: Resource>(resource: Arc<R>, leased: bool) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the system has a descriptor left");
    let (taken, both) = tokio::sync::oneshot::channel();
    runtime.spawn(async move {
        let scope = Scopes::new().open();
        // One at a time: the resource may have only one.
        let (lease, guard) = match leased {
            true => (Lease::acquire_in(&Reaper::new(), &resource).await.ok(), None),
            false => (None, scope.lazy(&resource).get().await.ok()),
        };
        // Fails if the acquisition took longer than the runtime was driven.
        let _driven = taken.send(());
        pending::<()>().await;
        drop((guard, lease, scope));
    });
    // An error means that the request has panicked. Then nothing is left that could delay the shutdown.
    drop(runtime.block_on(async { tokio::time::timeout(BOUND / 5, both).await }));
    let began = Instant::now();
    drop(runtime);
    began.elapsed()
}

/// Polls a future, and returns it in the state that it is in then.
fn polled(polls: usize, future: impl Future<Output = ()> + Send + 'static) -> Begun {
    let mut future: Begun = Box::pin(async move {
        future.await;
        // Never ready, so that another poll does not panic.
        pending().await
    });
    let _pending: Poll<()> = poll_n(polls, future.as_mut());
    future
}

/// Drops what `make` creates on another thread: first normally, then while that thread unwinds.
async fn drops_quietly<R: Resource, T: Send + 'static>(
    fixture: &Fixture<'_, R>,
    make: impl AsyncFn() -> Result<T, Breach>,
) -> Verdict {
    is_quick(fixture, async || {
        let made = make().await?;
        on_a_thread(fixture, move || {
            let began = Instant::now();
            drop(made);
            began.elapsed()
        })
        .await
    })
    .await?;
    // A drop that panics has been found by now. While unwinding it would abort the process.
    let made = make().await?;
    on_a_thread(fixture, move || while_unwinding(made)).await
}

/// Expects one quick drop. `timed_drop` drops something and returns how long that took.
async fn is_quick<R: Resource>(
    fixture: &Fixture<'_, R>,
    timed_drop: impl AsyncFn() -> Result<Duration, Breach>,
) -> Verdict {
    let (mut fastest, mut total) = (Duration::MAX, Duration::ZERO);
    for tries in 1..=TRIES {
        let took = timed_drop().await?;
        if took < QUIET {
            return Ok(());
        }
        fastest = fastest.min(took);
        total += took;
        if tries >= FEWEST_TRIES && total > BOUND {
            break;
        }
    }
    fixture.breach(format!("its drop blocked the thread for {fastest:?}"))
}

/// Runs `work` on a thread outside of any runtime, and waits for it.
///
/// The runtime stands still meanwhile, so that the machine's load does not decide which of its tasks run before `work`.
/// Only if `work` takes long, the runtime runs on, because `work` may be waiting for a task.
async fn on_a_thread<R: Resource, T: Send + 'static>(
    fixture: &Fixture<'_, R>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Breach> {
    let (running, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _until_it_returns_or_panics = running;
        work()
    });
    // In real time, whatever tokio's clock says.
    let began = Instant::now();
    let mut patience = PROMPT;
    while ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
        if began.elapsed() > HUNG {
            let hung = fixture.breach(format!("its drop has blocked the thread for {HUNG:?} and does not come back"));
            return hung.map_err(Breach::ending_the_run);
        }
        tokio::task::yield_now().await;
        patience = Duration::from_millis(1);
    }
    thread.join().or_else(|panic| fixture.breach(format!("its drop panicked: {}", message(&*panic))))
}
