//! What the tests share: a server's scopes with somebody who listens, a probe, and the books of both compared.

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
    SecondResource,
}

/// Writes down what an observer hears.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Line>>>);

type Line = (Event, Option<Subject>);

impl Heard {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().iter().map(|(event, _)| *event).collect()
    }

    pub(crate) fn count(&self, event: Event) -> usize {
        self.events().into_iter().filter(|heard| *heard == event).count()
    }

    /// What the first event of this kind was about.
    pub(crate) fn subject(&self, event: Event) -> Subject {
        let heard = self.0.lock();
        let found = heard.iter().find(|(heard, _)| *heard == event);
        found.and_then(|(_, subject)| *subject).expect("the event was heard, with its subject")
    }

    fn hear(&self, event: Event, of: Subject) {
        self.0.lock().push((event, Some(of)));
    }
}

impl Observer for Heard {
    fn acquired(&self, of: Subject, _waited: Duration) {
        self.hear(Event::Acquired, of);
    }

    fn acquire_failed(&self, of: Subject, _error: &(dyn StdError + 'static)) {
        self.hear(Event::AcquireFailed, of);
    }

    fn late(&self, of: Subject) {
        self.hear(Event::Late, of);
    }

    fn lent_too_long(&self, of: Subject, _held_since: &'static Location<'static>) {
        self.hear(Event::LentTooLong, of);
    }

    fn released(&self, of: Subject, exit: Exit) {
        self.hear(Event::Released(exit), of);
    }

    fn release_failed(&self, of: Subject, exit: Exit, _error: &(dyn StdError + 'static)) {
        self.hear(Event::ReleaseFailed(exit), of);
    }

    fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
        self.hear(Event::Abandoned(exit, why), of);
    }

    fn still_lent(&self, of: Subject) {
        self.hear(Event::StillLent, of);
    }

    fn second_resource(&self, _resource: &'static str) {
        self.0.lock().push((Event::SecondResource, None));
    }
}

/// The scopes of a server, with a listener, and one probe to acquire.
pub(crate) struct Server {
    pub(crate) scopes: Scopes,
    pub(crate) heard: Heard,
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
        let heard = Heard::default();
        let scopes = configure(Scopes::builder().observer(heard.clone())).build();
        Server { scopes, heard, probe: Arc::new(probe) }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.scopes.stats()
    }

    /// The exits that the probe and its siblings were told, in the order of their releases.
    pub(crate) fn exits(&self) -> Vec<Exit> {
        self.probe.releases().into_iter().map(|release| release.exit).collect()
    }

    /// The numbers of the handles, in the order of their releases.
    pub(crate) fn order(&self) -> Vec<u64> {
        self.probe.releases().into_iter().map(|release| release.handle).collect()
    }

    /// Waits for everything that still runs, and then compares the books: all is over, and nothing is missing.
    #[track_caller]
    pub(crate) fn at_the_end(&self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        let drain = self.scopes.drain(Duration::from_secs(30));
        async move {
            let report = drain.await;
            assert_eq!((report.open_scopes, report.live), (0, 0), "{caller}: something is still open");
            self.compare_books(caller);
        }
    }

    /// Compares the core's books with the probe's own.
    #[track_caller]
    pub(crate) fn balanced(&self) {
        self.compare_books(Location::caller());
    }

    fn compare_books(&self, caller: &Location<'_>) {
        let (stats, counts) = (self.stats(), self.probe.counts());
        let ended = stats.released + stats.abandoned + stats.taken;
        assert_eq!(stats.acquired, ended + stats.live, "{caller}: the books do not balance: {stats:?}");
        assert_eq!(counts.double_released, 0, "{caller}: released twice");
        assert_eq!(counts.used_after_release, 0, "{caller}: used after its release");
        assert_eq!(stats.acquired, counts.acquired, "{caller}: acquired");
        assert_eq!(stats.released, counts.released + counts.reclaimed, "{caller}: released");
        assert_eq!(stats.live, counts.live(), "{caller}: live");
        assert_eq!(stats.observer_panics, 0, "{caller}: a listener panicked");
    }
}

/// A `get` that has to succeed at its first poll.
#[track_caller]
pub(crate) fn get_now<R: Resource>(lazy: &Lazy<R>) -> Guard<R> {
    match poll_once(pin!(lazy.get())) {
        Poll::Ready(Ok(guard)) => guard,
        Poll::Ready(Err(error)) => panic!("an error instead of a guard: {error}"),
        Poll::Pending => panic!("it has to wait"),
    }
}

/// For tests of deadlines, under a paused clock: where there is none, it fails instead of hanging.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(600), future).await.expect("it waits for ever")
}

/// Lets everything run that can, without a clock.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// A tokio runtime on this thread, as most servers have it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// A panic that a test means, out of the way of its own.
pub(crate) fn panics<T>(code: impl FnOnce() -> T) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(code)).is_err()
}

/// Runs it on a runtime whose doors are closed: a task is dropped there as soon as it is spawned.
pub(crate) fn while_it_shuts_down<T: Send + 'static>(code: impl FnOnce() -> T + Send + 'static) -> T {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
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
    ended.recv_timeout(Duration::from_secs(5)).expect("it comes back")
}
