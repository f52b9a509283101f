use std::fmt;
use std::future::{Future, IntoFuture, Pending, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use reqscope::Scopes;
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;
use crate::connection::{self, BoxError, Http, Keep};
use crate::limit::{default_max_connections, is_out_of_descriptors};
use crate::report::{Hear, Tally};
use crate::{Listener, ServeReport, Trouble, Watch};

/// For the requests in flight; with the next one it stays below the 30 s that container platforms give by default.
const REQUEST_GRACE: Duration = Duration::from_secs(15);
/// Twice the deadline of a release, so that one that hangs is abandoned, and reported, before this is over.
const RELEASE_GRACE: Duration = Duration::from_secs(10);
/// An HTTP/2 peer that answers no ping for so long after one is gone.
const PING: Duration = Duration::from_secs(20);
/// As long as hyper gives for the head of a request once it knows the version of HTTP.
const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// Serves HTTP/1 and HTTP/2 on `listener` until the [`graceful`](Serve::graceful) signal, and then drains `scopes`.
///
/// It opens no scope: that is what [`ScopeService`](crate::ScopeService) does, or the tower layer around a router.
/// What it adds to an accept loop of your own is the [disconnect watch](crate::Watch), a limit on connections,
/// pauses after failed accepts, and an end at which every handle is accounted for.
///
/// Await the [`Serve`] that it returns. It never fails: nothing that a client or the kernel does ends it. A port in
/// use is an error of `bind`, before there is a listener.
///
/// # Cancel safety
///
/// Dropping the future closes the listener and drops all connections with their handlers, whose scopes close as
/// `Cancelled`. Nobody waits for the releases then; [`Scopes::drain`] does.
///
/// # Panics
///
/// The future panics when it is polled outside a tokio runtime with I/O and timers.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper::body::Incoming;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use reqscope::Scopes;
/// use reqscope_hyper::{ScopeService, serve};
/// use tokio::net::TcpListener;
///
/// async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
///     Ok(Response::new(Full::from("hello")))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let scopes = Scopes::new();
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let service = ScopeService::new(&scopes, service_fn(hello));
///
/// # let ctrl_c = std::future::ready(());
/// let report = serve(listener, service, &scopes).graceful(ctrl_c).await;
/// assert!(report.is_clean());
/// # Ok(())
/// # }
/// ```
pub fn serve<L, S>(listener: L, service: S, scopes: &Scopes) -> Serve<L, S> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new());
    http.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
    Serve {
        listener,
        service,
        scopes: scopes.clone(),
        signal: pending(),
        http,
        watch: true,
        half_close: false,
        max_connections: None,
        first_request: FIRST_REQUEST,
        request_grace: REQUEST_GRACE,
        release_grace: RELEASE_GRACE,
        on_trouble: Arc::new(|_| ()),
    }
}

/// A server that is being set up by [`serve`], and starts when it is awaited.
///
/// ```
/// use reqscope_hyper::{Serve, serve};
/// use std::time::Duration;
///
/// # fn f(listener: tokio::net::TcpListener, service: (), scopes: &reqscope::Scopes) {
/// let server: Serve<_, _, _> = serve(listener, service, scopes)
///     .max_connections(1000)
///     .first_request_timeout(Duration::from_secs(10))
///     .watch(true)
///     .half_close(false)
///     .graceful(async { tokio::signal::ctrl_c().await.expect("a signal handler can be set") })
///     .request_grace(Duration::from_secs(15))
///     .release_grace(Duration::from_secs(10))
///     .on_trouble(|trouble| eprintln!("{trouble:?}"));
/// # drop(server);
/// # }
/// ```
#[must_use = "a server does nothing unless it is awaited"]
pub struct Serve<L, S, F = Pending<()>> {
    listener: L,
    service: S,
    scopes: Scopes,
    signal: F,
    http: Http,
    watch: bool,
    half_close: bool,
    max_connections: Option<usize>,
    first_request: Duration,
    request_grace: Duration,
    release_grace: Duration,
    on_trouble: Hear,
}

impl<L, S, F> Serve<L, S, F> {
    /// Shuts down gracefully when `signal` is ready: accepts nothing more, lets the requests in flight be answered,
    /// then drains the scopes.
    ///
    /// By default the server never ends.
    pub fn graceful<G: Future<Output = ()>>(self, signal: G) -> Serve<L, S, G> {
        Serve {
            signal,
            listener: self.listener,
            service: self.service,
            scopes: self.scopes,
            http: self.http,
            watch: self.watch,
            half_close: self.half_close,
            max_connections: self.max_connections,
            first_request: self.first_request,
            request_grace: self.request_grace,
            release_grace: self.release_grace,
            on_trouble: self.on_trouble,
        }
    }

    /// How long a graceful shutdown waits for requests in flight before it cuts them.
    ///
    /// The default is 15 s: with the release grace it stays below the 30 s that container platforms give.
    pub fn request_grace(mut self, grace: Duration) -> Self {
        self.request_grace = grace;
        self
    }

    /// How long a graceful shutdown then waits for open scopes and pending releases.
    ///
    /// The default is 10 s, twice the deadline of a release: one that hangs is abandoned and reported before.
    pub fn release_grace(mut self, grace: Duration) -> Self {
        self.release_grace = grace;
        self
    }

    /// Whether each connection has a [`Watch`](crate::Watch) that drops the handler when the client has gone.
    ///
    /// On by default. Without it hyper alone decides, and it often does not see the client go: while a body is
    /// unread, a byte is left in its buffer, or the client has sent its next request already.
    pub fn watch(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// Whether a client may shut down its write side and still get its answer.
    ///
    /// Off by default, as in hyper, because a client that hangs up looks the same. When on, the watch heeds resets
    /// only, and a client that closes its socket in good order is noticed only when an answer is written to it.
    pub fn half_close(mut self, half_close: bool) -> Self {
        self.half_close = half_close;
        self.http.http1().half_close(half_close);
        self
    }

    /// How many connections are open at once; more wait in the kernel's queue.
    ///
    /// The default is three quarters of the descriptors that the process may open (`ulimit -n`), divided by two
    /// where the watch is on, as it takes a second one. An upgraded connection no longer counts.
    ///
    /// # Panics
    ///
    /// If `max` is 0.
    pub fn max_connections(mut self, max: usize) -> Self {
        assert!(max > 0, "a server without connections serves nobody");
        self.max_connections = Some(max);
        self
    }

    /// How long a connection may stay without its first request before it is closed.
    ///
    /// The default is 30 s, as hyper's for a request's head. hyper's begins when the version of HTTP is known, so a
    /// client that says nothing at all would hold its place for ever.
    pub fn first_request_timeout(mut self, timeout: Duration) -> Self {
        self.first_request = timeout;
        self
    }

    /// Changes the settings of hyper.
    ///
    /// They begin as hyper's own, with timers, so that the time for a request's head is bounded (30 s, also between
    /// two requests of a connection), and with an HTTP/2 ping every 20 s, so that a frozen peer is noticed. Say
    /// `half_close` through [`half_close`](Serve::half_close), which tells the watch too.
    ///
    /// ```
    /// # use reqscope_hyper::serve;
    /// # fn f(listener: tokio::net::TcpListener, service: (), scopes: &reqscope::Scopes) {
    /// serve(listener, service, scopes).http(|http| {
    ///     http.http1().max_buf_size(64 * 1024);
    ///     http.http2().max_concurrent_streams(100);
    /// })
    /// # ;}
    /// ```
    pub fn http(mut self, set: impl FnOnce(&mut auto::Builder<TokioExecutor>)) -> Self {
        set(&mut self.http);
        self
    }

    /// Hears of what goes wrong where no caller can be told; see [`Trouble`]. Write it to a log.
    ///
    /// By default these are only counted, in the [`ServeReport`].
    pub fn on_trouble(mut self, hear: impl Fn(Trouble<'_>) + Send + Sync + 'static) -> Self {
        self.on_trouble = Arc::new(hear);
        self
    }
}

impl<L, S, F, B> IntoFuture for Serve<L, S, F>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    F: Future<Output = ()> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Output = ServeReport;
    type IntoFuture = Pin<Box<dyn Future<Output = ServeReport> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<L, S, F, B> Serve<L, S, F>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    F: Future<Output = ()> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn run(self) -> ServeReport {
        let Serve { mut listener, service, scopes, signal, http, half_close, first_request, .. } = self;
        let descriptors = if self.watch { 2 } else { 1 };
        let limit = self.max_connections.unwrap_or_else(|| default_max_connections(descriptors));
        let permits = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        let http = Arc::new(http);
        let (stop, stopped) = watch::channel(false);
        let mut signal = pin!(signal);
        let mut backoff = Backoff::default();
        let mut tally = Tally::new(self.on_trouble);
        // Dropped with this future, and then it drops all connections.
        let mut connections = JoinSet::new();

        // A connection that was accepted and has no watch yet.
        let mut accepted: Option<(L::Io, OwnedSemaphorePermit)> = None;

        loop {
            // Made anew in each turn: every step of it may be dropped without losing a connection.
            let accept = async {
                backoff.wait().await;
                if accepted.is_none() {
                    let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
                    accepted = Some((listener.accept().await?, permit));
                }
                Ok(())
            };
            let outcome = select! {
                biased;
                () = signal.as_mut() => break,
                Some(ended) = connections.join_next() => {
                    tally.ended(ended);
                    continue;
                }
                outcome = accept => outcome,
            };
            let watch = outcome.and_then(|()| match &accepted {
                Some((io, _permit)) if self.watch => listener.watch(io, half_close),
                _ => Ok(Watch::never()),
            });
            let connection = accepted.take();
            let watch = match watch {
                Ok(watch) => watch,
                Err(error) => {
                    // Where only a descriptor is wanting, the client waits with those who are not accepted yet.
                    accepted = connection.filter(|_| is_out_of_descriptors(&error));
                    backoff.failed(&error);
                    tally.accept_failed(&error);
                    continue;
                }
            };
            let (io, permit) = connection.expect("what accepts without an error leaves a connection");
            backoff.succeeded();
            tally.accepted();
            let (http, keep) = (Arc::clone(&http), Keep { watch, permit, first_request });
            connections.spawn(connection::run(io, service.clone(), http, keep, stopped.clone()));
        }

        drop(listener);
        stop.send_replace(true);
        let grace = Instant::now() + self.request_grace;
        while let Ok(Some(ended)) = timeout_at(grace, connections.join_next()).await {
            tally.ended(ended);
        }
        connections.abort_all();
        // A handler whose poll blocks cannot be cut; it must not hold up the shutdown.
        let grace = Instant::now() + self.release_grace;
        while let Ok(Some(ended)) = timeout_at(grace, connections.join_next()).await {
            tally.ended(ended);
        }
        let stuck = connections.len();
        let drained = scopes.drain(grace.saturating_duration_since(Instant::now())).await;
        tally.report(stuck, drained)
    }
}

impl<L, S, F> fmt::Debug for Serve<L, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("watch", &self.watch)
            .field("half_close", &self.half_close)
            .field("max_connections", &self.max_connections)
            .field("request_grace", &self.request_grace)
            .field("release_grace", &self.release_grace)
            .finish_non_exhaustive()
    }
}
