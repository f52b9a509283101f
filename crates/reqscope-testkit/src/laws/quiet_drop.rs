//! L15: what is dropped is dropped at once, without a panic, on any thread, with or without a runtime.
//!
//! Everything is dropped on a thread of its own, which no runtime has entered, and the drop is timed. One quick drop out
//! of many is enough: on a busy machine some are slow, a drop that blocks is slow each time.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use reqscope::{Exit, Lease, Reaper, Resource, Scopes};

use super::fixture::{BOUND, Fixture, Setup};
use super::report::{Breach, Verdict};
use super::unwind::while_unwinding;
use crate::panics::message;
use crate::poll::poll_n;

/// What takes longer is not quiet. A drop has microseconds of work, a switch of threads takes a few milliseconds.
const QUIET: Duration = Duration::from_millis(10);

/// How many drops in a row have to be slow before it is the drop that is blamed, and not the machine.
const TRIES: usize = 20;

/// Fewer are enough where they have taken longer than [`BOUND`] together.
const FEWEST_TRIES: usize = 5;

/// How long a thread may block ours before we let the runtime run, for a drop that waits for one of its tasks.
const PROMPT: Duration = Duration::from_millis(100);

/// After this time a drop does not come back at all.
const HUNG: Duration = Duration::from_secs(30);

type Begun = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A handle that nobody releases: where its owner was dropped there was no runtime left.
pub(super) async fn a_handle_drops_quietly<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a handle dropped");
    drops_quietly(&fixture, async || Ok(fixture.acquire().await?.into_inner())).await
}

/// The verbs' futures, in each of their states.
pub(super) async fn a_verb_drops_quietly<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..4 {
        let fixture = setup.fixture(format!("the future of acquire dropped after {polls} polls"));
        let acquire = async || {
            let outside = Arc::clone(&fixture.resource);
            Ok(polled(polls, async move { drop(outside.acquire().await) }))
        };
        drops_quietly(&fixture, acquire).await?;
        let fixture = setup.fixture(format!("the future of release dropped after {polls} polls"));
        let release = async || {
            let outside = Arc::clone(&fixture.resource);
            let handle = fixture.acquire().await?;
            Ok(polled(polls, async move { drop(outside.release(handle, Exit::Failed).await) }))
        };
        drops_quietly(&fixture, release).await?;
    }
    Ok(())
}

/// What the core holds of it: a guard and its scope, a lease, a `get` and a close under way.
pub(super) async fn its_owners_drop_quietly<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    // A thread outside of the runtime does not see that the test has paused the clock, and how far ahead it is: a
    // deadline that begins there may be over by then.
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
    // Held at the gate, or the acquisition would be cut in a poll of its own on another thread: in which one depends on
    // the machine's load, and what a cut leaves behind is for L3 and L6 to judge.
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

/// A runtime that shuts down while a request holds a handle.
pub(super) async fn a_shutdown_is_quiet<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for leased in [false, true] {
        let what = if leased { "a lease was" } else { "a scope and a guard were" };
        let fixture = setup.fixture(format!("a runtime dropped while {what} open"));
        is_quick(&fixture, async || {
            let outside = Arc::clone(&fixture.resource);
            let took = on_a_thread(&fixture, move || shut_down(outside, leased)).await?;
            fixture.until("the handle was not gone", || fixture.counts().live() == 0).await?;
            Ok(took)
        })
        .await?;
    }
    Ok(())
}

/// How long a runtime takes to shut down under an open request.
fn shut_down<R: Resource>(resource: Arc<R>, leased: bool) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let (taken, both) = tokio::sync::oneshot::channel();
    runtime.spawn(async move {
        let scope = Scopes::new().open();
        // One at a time: a resource may have no more.
        let (lease, guard) = match leased {
            true => (Lease::acquire_in(&Reaper::new(), &resource).await.ok(), None),
            false => (None, scope.lazy(&resource).get().await.ok()),
        };
        taken.send(()).expect("whoever shuts down waits for it");
        pending::<()>().await;
        drop((guard, lease, scope));
    });
    // An error says that the request has panicked; then there is nothing left to hold up the shutdown.
    drop(runtime.block_on(async { tokio::time::timeout(BOUND / 5, both).await }));
    let began = Instant::now();
    drop(runtime);
    began.elapsed()
}

/// Ready or not, it is dropped in the state that it is in then.
fn polled(polls: usize, future: impl Future<Output = ()> + Send + 'static) -> Begun {
    let mut future: Begun = Box::pin(async move {
        future.await;
        // Not ready, so that it can be polled once more without a panic.
        pending().await
    });
    let _pending: Poll<()> = poll_n(polls, future.as_mut());
    future
}

/// Drops what `make` makes on another thread: first as it is, then while that thread unwinds.
async fn drops_quietly<R: Resource, T: Send + 'static>(
    fixture: &Fixture<R>,
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
    // A drop that panics has been found by now; while unwinding it would end the process.
    let made = make().await?;
    on_a_thread(fixture, move || while_unwinding(made)).await
}

/// Expects one quick drop. `timed_drop` drops something and returns how long that took.
async fn is_quick<R: Resource>(
    fixture: &Fixture<R>,
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
/// The runtime stands still meanwhile, so that it does not depend on the machine's load which of its tasks have run
/// before `work`, unless `work` takes so long that it may be waiting for one of them.
async fn on_a_thread<R: Resource, T: Send + 'static>(
    fixture: &Fixture<R>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Breach> {
    let (running, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _until_it_returns_or_panics = running;
        work()
    });
    // In real time, whatever tokio's clock says: a thread knows no other.
    let began = Instant::now();
    let mut patience = PROMPT;
    while ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
        if began.elapsed() > HUNG {
            return fixture.breach(format!("its drop has blocked the thread for {HUNG:?} and does not come back"));
        }
        tokio::task::yield_now().await;
        patience = Duration::from_millis(1);
    }
    thread.join().or_else(|panic| fixture.breach(format!("its drop panicked: {}", message(&*panic))))
}
