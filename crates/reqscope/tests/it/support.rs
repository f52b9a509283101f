//! Shared by the tests: a server's scopes with a recording observer, a probe, and a check that their counters agree.

use std::error::Error as StdError;
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::observer::{Abandoned, Subject};
use reqscope::scope::ScopesBuilder;
use reqscope::stats::Stats;
use reqscope::{Exit, Guard, Lazy, Observer, Resource, Scopes};
use reqscope_testkit::{Probe, poll_once};
use tokio::runtime::{Builder, Runtime};

use crate::watchdog::watch;

/// One call of the [`Observer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Acquired,
    AcquireFailed,
    Late,
    LentTooLong,
    Released(Exit),
    ReleaseFailed(Exit),
    Abandoned(Exit, Abandoned),
    StillLent,
    TaskFailed,
    SecondResource,
}

/// An observer that records all events.
#[derive(Clone, Default)]
pub(crate) struct EventLog(Arc<Mutex<Vec<Entry>>>);

type Entry = (Event, Option<Subject>);

impl EventLog {
    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().iter().map(|(event, _)| *event).collect()
    }

    pub(crate) fn count(&self, event: Event) -> usize {
        self.all().into_iter().filter(|recorded| *recorded == event).count()
    }

    /// Returns the subject of the first event of this kind.
    pub(crate) fn subject(&self, event: Event) -> Subject {
        let entries = self.0.lock();
        let found = entries.iter().find(|(recorded, _)| *recorded == event);
        found.and_then(|(_, subject)| subject.clone()).expect("the event was reported, with its subject")
    }

    fn record(&self, event: Event, of: Subject) {
        self.0.lock().push((event, Some(of)));
    }
}

impl Observer for EventLog {
    fn acquired(&self, of: Subject, _waited: Duration) {
        self.record(Event::Acquired, of);
    }

    fn acquire_failed(&self, of: Subject, _error: &(dyn StdError + 'static)) {
        self.record(Event::AcquireFailed, of);
    }

    fn late(&self, of: Subject) {
        self.record(Event::Late, of);
    }

    fn lent_too_long(&self, of: Subject, _held_since: &'static Location<'static>) {
        self.record(Event::LentTooLong, of);
    }

    fn released(&self, of: Subject, exit: Exit) {
        self.record(Event::Released(exit), of);
    }

    fn release_failed(&self, of: Subject, exit: Exit, _error: &(dyn StdError + 'static)) {
        self.record(Event::ReleaseFailed(exit), of);
    }

    fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
        self.record(Event::Abandoned(exit, why), of);
    }

    fn still_lent(&self, of: Subject) {
        self.record(Event::StillLent, of);
    }

    fn task_failed(&self, _spawned_at: &'static Location<'static>, _error: &(dyn StdError + 'static)) {
        self.0.lock().push((Event::TaskFailed, None));
    }

    fn second_resource(&self, _resource: &'static str) {
        self.0.lock().push((Event::SecondResource, None));
    }
}

/// The scopes of a server, with a recording observer, and one probe to acquire.
pub(crate) struct Server {
    pub(crate) scopes: Scopes,
    pub(crate) events: EventLog,
    pub(crate) probe: Arc<Probe>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with(Probe::new())
    }

    pub(crate) fn with(probe: Probe) -> Self {
        Self::configured(probe, |builder| builder)
    }

    pub(crate) fn configured(probe: Probe, configure: impl FnOnce(ScopesBuilder) -> ScopesBuilder) -> Self {
        watch();
        let events = EventLog::default();
        let scopes = configure(Scopes::builder().observer(events.clone())).build();
        Server { scopes, events, probe: Arc::new(probe) }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.scopes.stats()
    }

    /// Returns the exits passed to the releases of the probe and its siblings, in order.
    pub(crate) fn exits(&self) -> Vec<Exit> {
        self.probe.releases().into_iter().map(|release| release.exit).collect()
    }

    /// Returns the numbers of the released handles, in order.
    pub(crate) fn order(&self) -> Vec<u64> {
        self.probe.releases().into_iter().map(|release| release.handle).collect()
    }

    /// Waits for everything that still runs, then asserts that nothing is open and that the counters agree.
    #[track_caller]
    pub(crate) fn finish(&self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        let drain = self.scopes.drain(Duration::from_secs(120));
        async move {
            let report = drain.await;
            assert_eq!((report.open_scopes, report.live), (0, 0), "{caller}: something is still open");
            self.compare_counters(caller);
        }
    }

    /// Asserts that the core's counters agree with the probe's own.
    #[track_caller]
    pub(crate) fn assert_balanced(&self) {
        self.compare_counters(Location::caller());
    }

    fn compare_counters(&self, caller: &Location<'_>) {
        let (stats, counts) = (self.stats(), self.probe.counts());
        let ended = stats.released + stats.abandoned + stats.taken;
        assert_eq!(stats.acquired, ended + stats.live, "{caller}: the counters do not balance: {stats:?}");
        assert_eq!(counts.double_released, 0, "{caller}: released twice");
        assert_eq!(counts.used_after_release, 0, "{caller}: used after its release");
        assert_eq!(stats.acquired, counts.acquired, "{caller}: acquired");
        assert_eq!(stats.released, counts.released + counts.reclaimed, "{caller}: released");
        assert_eq!(stats.live, counts.live(), "{caller}: live");
        assert_eq!(stats.observer_panics, 0, "{caller}: an observer panicked");
    }
}

/// Polls a `get` once, which must succeed.
#[track_caller]
pub(crate) fn get_now<R: Resource>(lazy: &Lazy<R>) -> Guard<R> {
    match poll_once(pin!(lazy.get())) {
        Poll::Ready(Ok(guard)) => guard,
        Poll::Ready(Err(error)) => panic!("an error instead of a guard: {error}"),
        Poll::Pending => panic!("the get has to wait"),
    }
}

/// Awaits the future, and fails instead of hanging if a deadline under test is missing. Meant for paused clocks.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(600), future).await.expect("the future never ends")
}

/// Lets every task run until all of them wait. The clock does not advance.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Builds a current-thread runtime with a paused clock, so that no deadline depends on the load of the machine.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Builds a current-thread runtime whose clock runs, for tests in which it waits for another thread.
pub(crate) fn real_time_runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Runs the code on a runtime that is shutting down, which drops a task as soon as it is spawned.
pub(crate) fn during_shutdown<T: Send + 'static>(code: impl FnOnce() -> T + Send + 'static) -> T {
    watch();
    let threads = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    threads.spawn(async move {
        begin.send(()).unwrap();
        while !tokio::spawn(std::future::pending::<()>()).is_finished() {
            std::thread::yield_now();
        }
        end.send(code()).unwrap();
    });
    begun.recv().unwrap();
    threads.shutdown_background();
    ended.recv().expect("the code returns")
}
