//! `on_completed` and `ended`: what runs after the COMMIT, and what waits for it.

use std::future::pending;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::context::AcquireContext;
use reqscope::scope::{Problem, TooLate};
use reqscope::{Error, Exit, Lease, Observer, Resource, ScopeHandle, Scopes};
use reqscope_testkit::{Gate, Outcome, Probe, Verb, poll_once, quiet_panic};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::support::{Event, Server, bounded, during_shutdown, get_now, settle};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn add(&self, entry: &'static str) {
        self.0.lock().push(entry);
    }

    /// Registers a future that adds `entry`.
    fn on_completed(&self, request: &ScopeHandle, entry: &'static str) {
        let log = self.clone();
        request.on_completed(async move { log.add(entry) }).unwrap();
    }

    fn entries(&self) -> Vec<&'static str> {
        self.0.lock().clone()
    }
}

fn settling() -> Server {
    Server::with(Probe::new().settling())
}

#[tokio::test(start_paused = true)]
async fn work_runs_in_order_after_the_settling_release() {
    let (server, log) = (settling(), Log::default());
    server.probe.on(Verb::Release).close();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    log.on_completed(scope.handle(), "mail");
    log.on_completed(scope.handle(), "event");
    let close = tokio::spawn(scope.close(Exit::Completed));
    settle().await;
    assert_eq!(log.entries(), [""; 0]);
    server.probe.on(Verb::Release).ok();
    close.await.unwrap().unwrap();
    server.finish().await;
    assert_eq!(log.entries(), ["mail", "event"]);
}

#[tokio::test(start_paused = true)]
async fn work_runs_without_any_resource_and_with_an_unsettled_one() {
    let (server, log) = (Server::new(), Log::default());
    for used in [false, true] {
        let scope = server.scopes.open();
        if used {
            drop(get_now(&scope.lazy(&server.probe)));
        }
        log.on_completed(scope.handle(), "mail");
        scope.close(Exit::Completed).await.unwrap();
    }
    server.finish().await;
    assert_eq!(log.entries(), ["mail", "mail"]);
}

#[tokio::test(start_paused = true)]
async fn work_runs_once_if_the_close_is_dropped() {
    let (server, log) = (settling(), Log::default());
    server.probe.on(Verb::Release).slow(3);
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    log.on_completed(scope.handle(), "mail");
    drop(scope.close(Exit::Completed));
    server.finish().await;
    assert_eq!(log.entries(), ["mail"]);
}

/// The second panic in the drop of a list aborts the process.
#[tokio::test(start_paused = true)]
async fn work_whose_drops_all_panic_is_dropped_quietly() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("in a drop")
        }
    }
    let server = Server::new();
    for exit in [Some(Exit::Failed), None] {
        let scope = server.scopes.open();
        for _ in 0..3 {
            let bomb = Bomb;
            scope.handle().on_completed(async move { drop(bomb) }).unwrap();
        }
        match exit {
            Some(exit) => scope.close(exit).await.unwrap(),
            None => drop(scope),
        }
    }
    server.finish().await;
}

/// A handle from the global reaper would outlive the drain.
#[tokio::test(start_paused = true)]
async fn lease_acquired_by_work_is_counted_and_drained() {
    let server = Server::new();
    let scope = server.scopes.open();
    for direct in [false, true] {
        server.probe.on(Verb::Release).next(Outcome::ok().after(Duration::from_secs(1)));
        let probe = Arc::clone(&server.probe);
        let work = async move { drop(Lease::acquire(&probe).await.unwrap()) };
        if direct { server.scopes.reaper().spawn(work) } else { scope.handle().on_completed(work).unwrap() }
    }
    scope.close(Exit::Completed).await.unwrap();
    assert!(server.scopes.drain(Duration::from_secs(60)).await.is_clean());
    assert_eq!((server.stats().acquired, server.stats().released, server.probe.counts().released), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn work_has_the_label_of_its_request_but_not_its_deadline() {
    let scopes = Scopes::new();
    let scope = scopes.open();
    scope.set_label("POST /orders");
    scope.set_deadline(std::time::Instant::now());
    let seen = Arc::new(Mutex::new(None));
    let note = Arc::clone(&seen);
    let work = async move {
        let context = AcquireContext::current().unwrap();
        *note.lock() = Some((context.label().map(str::to_owned), context.deadline()));
    };
    scope.handle().on_completed(work).unwrap();
    scope.close(Exit::Completed).await.unwrap();
    assert!(scopes.drain(Duration::from_secs(60)).await.is_clean());
    assert_eq!(seen.lock().take(), Some((Some("POST /orders".to_owned()), None)));
}

/// `?` needs an error that is `Sync`.
#[test]
fn future_that_comes_back_need_not_be_sync() {
    fn convert<F: Future<Output = ()> + Send + 'static>(
        error: TooLate<F>,
    ) -> Box<dyn std::error::Error + Send + Sync> {
        error.into()
    }
    let server = Server::new();
    let scope = server.scopes.open();
    let request = scope.handle().clone();
    drop(scope);
    let not_sync = std::cell::Cell::new(1);
    let too_late = request.on_completed(async move { not_sync.set(2) }).unwrap_err();
    assert!(convert(too_late).to_string().starts_with("the scope is closed"));
}

/// The response of a request that failed may be the only trace of it.
#[tokio::test(start_paused = true)]
async fn work_of_a_scope_that_did_not_complete_is_dropped() {
    let (server, log) = (settling(), Log::default());
    let open = || {
        let scope = server.scopes.open();
        drop(get_now(&scope.lazy(&server.probe)));
        log.on_completed(scope.handle(), "mail");
        scope
    };
    for exit in [Exit::Failed, Exit::Cancelled, Exit::Panicked] {
        open().close(exit).await.unwrap();
    }
    drop(open());
    let marked = open();
    marked.handle().mark_failed();
    marked.close(Exit::Completed).await.unwrap_err();
    let lent = open();
    let guard = get_now(&lent.lazy(&server.probe));
    lent.close(Exit::Completed).await.unwrap_err();
    drop(guard);
    server.finish().await;
    assert_eq!((log.entries(), server.stats().tasks_failed), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn work_after_a_failed_or_unknown_release_is_dropped() {
    let outcomes: [fn(&Gate) -> &Gate; 2] = [Gate::error, Gate::never];
    for outcome in outcomes {
        let (server, log) = (settling(), Log::default());
        outcome(server.probe.on(Verb::Release));
        let scope = server.scopes.open();
        drop(get_now(&scope.lazy(&server.probe)));
        log.on_completed(scope.handle(), "mail");
        bounded(scope.close(Exit::Completed)).await.unwrap_err();
        server.scopes.drain(Duration::from_secs(60)).await;
        assert_eq!(log.entries(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn work_comes_back_from_a_closed_scope() {
    let server = Server::new();
    let scope = server.scopes.open();
    let request = scope.handle().clone();
    scope.close(Exit::Completed).await.unwrap();
    let too_late = request.on_completed(async {}).unwrap_err();
    assert!(too_late.to_string().starts_with("the scope is closed"));
    too_late.into_inner().await;
}

#[tokio::test(start_paused = true)]
async fn panicking_work_is_reported_and_the_next_one_runs() {
    let (server, log) = (Server::new(), Log::default());
    let scope = server.scopes.open();
    scope.handle().on_completed(async { quiet_panic("no mail server") }).unwrap();
    log.on_completed(scope.handle(), "event");
    scope.close(Exit::Completed).await.unwrap();
    server.finish().await;
    assert_eq!((log.entries(), server.events.count(Event::TaskFailed)), (vec!["event"], 1));
    assert_eq!(server.stats().tasks_failed, 1);
}

#[tokio::test(start_paused = true)]
async fn hanging_work_ends_at_its_deadline_and_the_next_one_runs() {
    let (server, log) =
        (Server::configured(Probe::new(), |builder| builder.task_timeout(Duration::from_secs(3))), Log::default());
    let scope = server.scopes.open();
    scope.handle().on_completed(pending()).unwrap();
    log.on_completed(scope.handle(), "event");
    let began = Instant::now();
    scope.close(Exit::Completed).await.unwrap();
    assert!(server.scopes.drain(Duration::from_secs(60)).await.is_clean());
    assert_eq!((began.elapsed().as_secs(), log.entries()), (3, vec!["event"]));
    assert_eq!(server.events.count(Event::TaskFailed), 1);
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_work_that_has_not_begun_yet() {
    let (server, log) = (settling(), Log::default());
    server.probe.on(Verb::Release).slow(2);
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    let slow = log.clone();
    let work = async move {
        sleep(Duration::from_secs(5)).await;
        slow.add("mail");
    };
    scope.handle().on_completed(work).unwrap();
    drop(scope.close(Exit::Completed));
    let report = server.scopes.drain(Duration::from_secs(1)).await;
    assert_eq!((report.is_clean(), report.tasks, report.acquiring), (false, 1, 0));
    let report = server.scopes.drain(Duration::from_secs(60)).await;
    assert!(report.is_clean());
    assert_eq!((report.waited.as_secs(), log.entries(), server.stats().tasks), (4, vec!["mail"], 0));
}

#[test]
fn work_that_loses_its_runtime_is_reported() {
    let server = settling();
    let (scopes, probe) = (server.scopes.clone(), Arc::clone(&server.probe));
    during_shutdown(move || {
        let scope = scopes.open();
        drop(get_now(&scope.lazy(&probe)));
        scope.handle().on_completed(async {}).unwrap();
        assert!(poll_once(pin!(scope.close(Exit::Completed))).is_ready());
    });
    assert_eq!(server.events.count(Event::TaskFailed), 1);
}

/// Reports the line of a failed task.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(u32, String)>>>);

impl Observer for Lines {
    fn task_failed(&self, spawned_at: &'static Location<'static>, error: &(dyn std::error::Error + 'static)) {
        assert!(spawned_at.file().ends_with("after_the_end.rs"));
        self.0.lock().push((spawned_at.line(), error.to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn failed_work_is_reported_with_the_line_of_its_caller() {
    let lines = Lines::default();
    let scopes = Scopes::builder().observer(lines.clone()).build();
    let scope = scopes.open();
    let line = line!() + 1;
    scope.handle().on_completed(async { quiet_panic("no mail server") }).unwrap();
    scopes.reaper().spawn(pending());
    scope.close(Exit::Completed).await.unwrap();
    scopes.drain(Duration::from_secs(60)).await;
    let expected = [
        (line, "the resource panicked while working in the background: no mail server".to_owned()),
        (line + 1, "timed out after 30.0 s while working in the background".to_owned()),
    ];
    assert_eq!(*lines.0.lock(), expected);
}

#[tokio::test(start_paused = true)]
async fn end_is_known_to_early_and_late_callers() {
    let server = settling();
    for (exit, marked) in [(Exit::Completed, false), (Exit::Failed, false), (Exit::Failed, true)] {
        let scope = server.scopes.open();
        drop(get_now(&scope.lazy(&server.probe)));
        let request = scope.handle().clone();
        let early = tokio::spawn(request.ended());
        settle().await;
        if marked {
            request.mark_failed();
        }
        scope.close(exit).await.unwrap();
        assert_eq!(bounded(early).await.unwrap().unwrap(), exit);
        assert_eq!(bounded(request.ended()).await.unwrap(), exit);
    }
    let dropped = server.scopes.open();
    let request = dropped.handle().clone();
    drop(dropped);
    assert_eq!(bounded(request.ended()).await.unwrap(), Exit::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn end_is_an_error_if_the_release_fails() {
    let server = settling();
    server.probe.on(Verb::Release).error();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    let request = scope.handle().clone();
    scope.close(Exit::Completed).await.unwrap_err();
    let error = request.ended().await.unwrap_err();
    assert!(matches!(error.problems(), [Problem::ReleaseFailed { .. }]), "{error}");
}

#[tokio::test(start_paused = true)]
async fn end_waits_for_the_release_also_if_the_close_is_dropped() {
    let server = settling();
    server.probe.on(Verb::Release).close();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    let request = scope.handle().clone();
    let mut ended = pin!(request.ended());
    drop(scope.close(Exit::Completed));
    settle().await;
    assert!(poll_once(ended.as_mut()).is_pending());
    server.probe.on(Verb::Release).ok();
    assert_eq!(bounded(ended).await.unwrap(), Exit::Completed);
}

#[tokio::test(start_paused = true)]
async fn end_of_a_close_that_hangs_is_an_unknown_outcome() {
    let server = settling();
    server.probe.on(Verb::Release).never();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    let request = scope.handle().clone();
    let elsewhere = Builder::new_current_thread().enable_time().build().unwrap();
    // It is dropped on a runtime that ends, and goes on at home, where its release never ends.
    let close = scope.close(Exit::Completed);
    std::thread::spawn(move || {
        let _entered = elsewhere.enter();
        drop(close);
    })
    .join()
    .unwrap();
    let error = bounded(request.ended()).await.unwrap_err();
    assert!(error.is_unknown_outcome(), "{error}");
}

/// The close continues on a runtime that is alive, but that no thread drives.
#[test]
fn end_on_an_undriven_runtime_is_an_unknown_outcome_in_time() {
    let undriven = Builder::new_current_thread().enable_time().build().unwrap();
    let server = settling();
    server.probe.on(Verb::Release).close();
    let request = undriven.block_on(async {
        let scope = server.scopes.open();
        drop(get_now(&scope.lazy(&server.probe)));
        let request = scope.handle().clone();
        drop(scope.close(Exit::Completed));
        request
    });
    let live = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    live.block_on(async {
        let error = bounded(request.ended()).await.unwrap_err();
        assert!(error.is_unknown_outcome(), "{error}");
    });
}

#[tokio::test(start_paused = true)]
async fn detached_lease_does_not_delay_the_end() {
    let server = settling();
    let scope = server.scopes.open();
    let lease = reqscope::Guard::detach(get_now(&scope.lazy(&server.probe)));
    let request = scope.handle().clone();
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(bounded(request.ended()).await.unwrap(), Exit::Completed);
    drop(lease);
    server.finish().await;
}

/// A store in which only committed values can be seen.
struct Rows(Mutex<Vec<u32>>);

impl Resource for Rows {
    type Handle = Vec<u32>;
    type Cause = std::convert::Infallible;

    async fn acquire(&self) -> Result<Vec<u32>, Error<Self::Cause>> {
        Ok(Vec::new())
    }

    async fn release(&self, rows: Vec<u32>, exit: Exit) -> Result<(), Error<Self::Cause>> {
        tokio::task::yield_now().await;
        if exit.is_completed() {
            self.0.lock().extend(rows);
        }
        Ok(())
    }

    fn settles(&self, exit: Exit) -> bool {
        exit.is_completed()
    }
}

/// With `closed()` such a task saw the old state in a third of the runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_that_waits_for_the_end_sees_the_committed_row() {
    let (scopes, rows) = (Scopes::new(), Arc::new(Rows(Mutex::default())));
    for run in 0..1000 {
        let scope = scopes.open();
        let request = scope.handle().clone();
        let committed = Arc::clone(&rows);
        let task =
            tokio::spawn(async move { request.ended().await.map(|exit| (exit, committed.0.lock().contains(&run))) });
        scope.lazy(&rows).get().await.unwrap().push(run);
        if run % 2 == 0 {
            scope.close(Exit::Completed).await.unwrap();
        } else {
            drop(scope.close(Exit::Completed));
        }
        assert_eq!(task.await.unwrap().unwrap(), (Exit::Completed, true), "run {run}");
    }
}

/// The waiter's own waker may be called by anything.
#[tokio::test(start_paused = true)]
async fn waiter_for_the_end_of_an_open_scope_stays_pending() {
    let server = Server::new();
    let scope = server.scopes.open();
    let mut ended = pin!(scope.handle().ended());
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(ended.as_mut().poll(&mut cx).is_pending());
    }
}
