use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use reqscope::{Exit, ScopeHandle, Scopes};
use reqscope_hyper::{Handshake, Listener, NoHandshake, ScopeService, ServeReport, serve};
use reqscope_testkit::{Probe, until};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::BOUND;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Answer = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// The settings of a test server.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) watch: bool,
    pub(crate) half_close: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_connections: usize,
    pub(crate) request_grace: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) release_grace: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            watch: true,
            half_close: false,
            timeout: None,
            max_connections: 64,
            request_grace: BOUND,
            close_timeout: BOUND,
            release_grace: BOUND,
        }
    }
}

/// The events that handlers report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The handler holds its handle and reads the body of the request.
    Reads,
    /// The handler holds its handle and waits for the gate.
    Waits,
    /// The handler passed the gate and finished.
    Finished,
    /// The handler was dropped while it waited.
    Dropped,
}

/// What the test passes to its handlers.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) probe: Arc<Probe>,
    events: mpsc::UnboundedSender<Event>,
    gate: Arc<Semaphore>,
}

impl Context {
    /// Acquires the handle and waits until the test opens the gate.
    pub(crate) async fn wait(&self, scope: ScopeHandle) {
        let handle = scope.lazy(&self.probe).get().await.unwrap();
        self.wait_here().await;
        drop(handle);
    }

    pub(crate) fn report(&self, event: Event) {
        self.events.send(event).unwrap();
    }

    /// Reports that the handler waits, and waits until the test opens the gate.
    pub(crate) async fn wait_here(&self) {
        let mut end = End { events: self.events.clone(), event: Event::Dropped };
        self.report(Event::Waits);
        self.gate.acquire().await.unwrap().forget();
        end.event = Event::Finished;
    }
}

struct End {
    events: mpsc::UnboundedSender<Event>,
    event: Event,
}

impl Drop for End {
    fn drop(&mut self) {
        // The receiver is dropped at the end of a test.
        self.events.send(self.event).ok();
    }
}

/// A server in this process whose handlers are controlled by the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) probe: Arc<Probe>,
    pub(crate) scopes: Scopes,
    events: mpsc::UnboundedReceiver<Event>,
    gate: Arc<Semaphore>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<ServeReport>,
}

impl Server {
    /// Starts a server for `handler` on a loopback port.
    pub(crate) async fn start<H, F>(setup: Setup, handler: H) -> Self
    where
        H: Fn(Request<Incoming>, Context) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_with(setup, Probe::new(), handler).await
    }

    /// The same with this resource.
    pub(crate) async fn start_with<H, F>(setup: Setup, probe: Probe, handler: H) -> Self
    where
        H: Fn(Request<Incoming>, Context) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Server { address, ..Self::start_on(listener, setup, probe, handler) }
    }

    /// The same with any listener; `address` is not set.
    pub(crate) fn start_on<L, H, F>(listener: L, setup: Setup, probe: Probe, handler: H) -> Self
    where
        L: Listener,
        H: Fn(Request<Incoming>, Context) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_with_handshake(listener, NoHandshake, setup, probe, handler)
    }

    /// The same with a handshake.
    pub(crate) fn start_with_handshake<L, T, H, F>(
        listener: L,
        handshake: T,
        setup: Setup,
        probe: Probe,
        handler: H,
    ) -> Self
    where
        L: Listener,
        T: Handshake<L::Io>,
        H: Fn(Request<Incoming>, Context) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let probe = Arc::new(probe);
        let (events, received) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let context = Context { probe: Arc::clone(&probe), events, gate: Arc::clone(&gate) };
        let scopes = Scopes::builder().close_timeout(setup.close_timeout).build();
        let handler = service_fn(move |request| handler(request, context.clone()));
        let mut service = ScopeService::new(&scopes, handler);
        if let Some(timeout) = setup.timeout {
            service = service.timeout(timeout);
        }
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, service, &scopes)
            .handshake(handshake)
            .watch(setup.watch)
            .half_close(setup.half_close)
            .max_connections(setup.max_connections)
            .request_grace(setup.request_grace)
            .release_grace(setup.release_grace)
            .graceful(async { stopped.await.unwrap_or(()) });
        let served = tokio::spawn(serving.into_future());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Server { address, probe, scopes, events: received, gate, stop, served }
    }

    /// Waits for the next event, which must be this one.
    #[track_caller]
    pub(crate) fn expect_event(&mut self, expected: Event) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let event = timeout(BOUND, self.events.recv()).await;
            assert_eq!(event.ok().flatten(), Some(expected), "at {caller}");
        }
    }

    /// Waits until the handler is dropped and its handle released as `Cancelled`.
    pub(crate) async fn expect_handler_dropped(&mut self) {
        self.expect_event(Event::Dropped).await;
        self.expect_released(Exit::Cancelled).await;
    }

    /// Checks that nothing happens for a while, and that the handler finishes when the gate opens.
    pub(crate) async fn expect_handler_to_finish(&mut self) {
        self.expect_no_event().await;
        self.open_gate();
        self.expect_event(Event::Finished).await;
        self.expect_released(Exit::Completed).await;
    }

    /// Waits until every handle is released, the last one with this exit.
    pub(crate) async fn expect_released(&self, exit: Exit) {
        let last = || self.probe.releases().last().map(|release| release.exit);
        until(BOUND, || {
            let stats = self.scopes.stats();
            stats.live == 0 && stats.open_scopes == 0 && last().is_some()
        })
        .await;
        until(BOUND, || last() == Some(exit)).await;
        assert_eq!(self.probe.counts().live(), 0);
    }

    /// Returns the gate, for tests that open it during the shutdown.
    pub(crate) fn gate(&self) -> Arc<Semaphore> {
        Arc::clone(&self.gate)
    }

    /// Lets one handler pass.
    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(1);
    }

    /// Checks that no event is reported for a while.
    pub(crate) async fn expect_no_event(&mut self) {
        let early = timeout(Duration::from_millis(100), self.events.recv()).await;
        assert!(early.is_err(), "{early:?}");
    }

    /// Shuts down gracefully.
    pub(crate) async fn stop(self) -> ServeReport {
        self.begin_to_stop().await.unwrap()
    }

    /// Signals the shutdown, without waiting for its end.
    pub(crate) fn begin_to_stop(self) -> JoinHandle<ServeReport> {
        self.stop.send(()).unwrap();
        tokio::spawn(async { timeout(2 * BOUND, self.served).await.expect("the shutdown ends").unwrap() })
    }

    /// Drops the server's future.
    pub(crate) async fn abort(&mut self) {
        self.served.abort();
        assert!((&mut self.served).await.unwrap_err().is_cancelled());
    }
}

pub(crate) fn empty() -> UnsyncBoxBody<Bytes, BoxError> {
    Empty::new().map_err(Into::into).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(bytes.into()).map_err(Into::into).boxed_unsync()
}
