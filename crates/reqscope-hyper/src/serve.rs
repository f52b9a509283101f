use std::fmt;
use std::future::{Future, IntoFuture, Pending, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use reqscope::Scopes;

use crate::accept::accept;
use crate::drive::BoxError;
use crate::settings::Settings;
use crate::{Handshake, Listener, NoHandshake, ServeEvent, ServeMetrics, ServeReport};

/// Serves HTTP/1 and HTTP/2 on `listener` until the [`graceful`](Serve::graceful) signal, and then drains `scopes`.
///
/// It opens no scope: that is what [`ScopeService`](crate::ScopeService) does, or the tower layer around a router.
/// What it adds to an accept loop of your own is the [disconnect watch](crate::DisconnectWatch), sockets that notice a
/// [vanished peer](crate::Tcp), a limit on connections, pauses after failed accepts, a place for the
/// [TLS handshake](Serve::handshake), and an end at which every handle is accounted for.
///
/// Await the [`Serve`] that it returns. It never fails: nothing that a client or the kernel does ends it. A port in
/// use is an error of `bind`, before there is a listener.
///
/// The service is one of hyper. A service of tower, such as axum's `Router`, becomes one by
/// [`TowerToHyperService`](crate::TowerToHyperService). Each request has the [`Connection`](crate::Connection) that it
/// came on in its extensions.
///
/// # Shutdown
///
/// When the [`graceful`](Serve::graceful) signal is ready:
///
/// 1. The listener is closed. Connections that wait for a request, or are in their handshake, are closed; the others
///    when the request in flight is answered. Upgraded connections, which only their owners can end in good order, are
///    told by [`Connection::shutting_down`](crate::Connection::shutting_down).
/// 2. After the [`request_grace`](Serve::request_grace) what is left is cut: handlers are dropped, and upgraded
///    connections fail on the next read or write.
/// 3. The open scopes and pending releases have the [`release_grace`](Serve::release_grace) to end.
///
/// It returns as soon as nothing is left, and the [`ServeReport`] says what was not done in time. A handler that blocks
/// its thread cannot be dropped: it is named, and left behind. On a runtime of one thread it holds up the server, too.
///
/// # Cancel safety
///
/// Dropping the future closes the listener and drops all connections with their handlers, whose scopes close as
/// `Cancelled`; upgraded connections fail. Nobody waits for the releases then; [`Scopes::drain`] does.
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
///
/// With axum, where `ScopeLayer` of `reqscope-tower` opens the scopes:
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use reqscope::Scopes;
/// use reqscope_hyper::{Connection, TowerToHyperService, serve};
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let scopes = Scopes::new();
/// let hello = |Extension(connection): Extension<Connection>| async move { format!("hello {}", connection.peer()) };
/// let router = Router::new().route("/", get(hello)); // .layer(ScopeLayer::new(&scopes))
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let ctrl_c = std::future::ready(());
/// serve(listener, TowerToHyperService::new(router), &scopes).graceful(ctrl_c).await;
/// # Ok(())
/// # }
/// ```
pub fn serve<L, S>(listener: L, service: S, scopes: &Scopes) -> Serve<L, S> {
    Serve {
        listener,
        service,
        scopes: scopes.clone(),
        signal: pending(),
        handshake: NoHandshake,
        settings: Settings::default(),
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
///     .header_read_timeout(Duration::from_secs(10))
///     .watch(true)
///     .half_close(false)
///     .graceful(async { tokio::signal::ctrl_c().await.expect("a signal handler can be set") })
///     .request_grace(Duration::from_secs(15))
///     .release_grace(Duration::from_secs(10))
///     .on_event(|event| eprintln!("{event:?}"));
/// # drop(server);
/// # }
/// ```
#[must_use = "a server does nothing unless it is awaited"]
pub struct Serve<L, S, F = Pending<()>, H = NoHandshake> {
    listener: L,
    service: S,
    scopes: Scopes,
    signal: F,
    handshake: H,
    settings: Settings,
}

impl<L, S, F, H> Serve<L, S, F, H> {
    /// Shuts down gracefully when `signal` is ready; see [`serve`].
    ///
    /// By default the server never ends.
    pub fn graceful<G: Future<Output = ()>>(self, signal: G) -> Serve<L, S, G, H> {
        let Serve { listener, service, scopes, signal: _, handshake, settings } = self;
        Serve { listener, service, scopes, signal, handshake, settings }
    }

    /// How long a graceful shutdown waits for requests in flight, and for upgraded connections, before it cuts them.
    ///
    /// The default is 15 s: with the release grace it stays below the 30 s that container platforms give.
    pub fn request_grace(mut self, grace: Duration) -> Self {
        self.settings.request_grace = grace;
        self
    }

    /// How long a graceful shutdown then waits for open scopes and pending releases.
    ///
    /// The default is 10 s, twice the deadline of a release: one that hangs is abandoned and reported before.
    pub fn release_grace(mut self, grace: Duration) -> Self {
        self.settings.release_grace = grace;
        self
    }

    /// Whether each connection has a [`DisconnectWatch`](crate::DisconnectWatch) that drops the handler when the client has gone.
    ///
    /// On by default. Without it hyper alone decides, and it often does not see the client go: while a body is
    /// unread, a byte is left in its buffer, or the client has sent its next request already.
    pub fn watch(mut self, watch: bool) -> Self {
        self.settings.watch = watch;
        self
    }

    /// Whether a client may shut down its write side and still get its answer.
    ///
    /// Off by default, as in hyper, because a client that hangs up looks the same. When on, the watch heeds resets
    /// only, and a client that closes its socket in good order is noticed only when an answer is written to it.
    pub fn half_close(mut self, half_close: bool) -> Self {
        self.settings.half_close = half_close;
        self.settings.http.http1().half_close(half_close);
        self
    }

    /// How many connections are open at once; more wait in the kernel's queue.
    ///
    /// The default is three quarters of the descriptors that the process may open (`ulimit -n`), divided by two
    /// where the watch is on, as it takes a second one. An upgraded connection counts until it is closed: it has a
    /// descriptor, too.
    ///
    /// # Panics
    ///
    /// If `max` is 0.
    pub fn max_connections(mut self, max: usize) -> Self {
        assert!(max > 0, "a server without connections serves nobody");
        self.settings.max_connections = Some(max);
        self
    }

    /// What is done on each connection before HTTP is spoken on it, such as a TLS handshake.
    ///
    /// By default nothing. It runs in the connection's own task, bounded by
    /// [`handshake_timeout`](Serve::handshake_timeout); failures are counted and told to
    /// [`on_event`](Serve::on_event). Let TLS offer both `h2` and `http/1.1` (ALPN): both are served.
    ///
    /// ```
    /// # use reqscope_hyper::serve;
    /// # use std::io;
    /// # use tokio::net::TcpStream;
    /// # #[derive(Clone)]
    /// # struct TlsAcceptor;
    /// # impl TlsAcceptor {
    /// #     async fn accept(&self, socket: TcpStream) -> io::Result<TcpStream> {
    /// #         Ok(socket)
    /// #     }
    /// # }
    /// # fn f(listener: tokio::net::TcpListener, service: (), scopes: &reqscope::Scopes, tls: TlsAcceptor) {
    /// serve(listener, service, scopes).handshake(move |socket: TcpStream| {
    ///     let tls = tls.clone(); // of tokio-rustls, for example
    ///     async move { tls.accept(socket).await }
    /// })
    /// # ;}
    /// ```
    pub fn handshake<G>(self, handshake: G) -> Serve<L, S, F, G>
    where
        L: Listener,
        G: Handshake<L::Io>,
    {
        let Serve { listener, service, scopes, signal, handshake: _, settings } = self;
        Serve { listener, service, scopes, signal, handshake, settings }
    }

    /// How long a [`handshake`](Serve::handshake) may take before the connection is closed.
    ///
    /// The default is 10 s: a handshake is a few round trips, and this lets it lose some packets on the way.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake = timeout;
        self
    }

    /// How long a connection may stay without its first request before it is closed, the handshake included.
    ///
    /// The default is 30 s, as [for a request's head](Serve::header_read_timeout). That one begins when the version of
    /// HTTP is known, so a client that says nothing at all would hold its place for ever.
    pub fn first_request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.first_request = timeout;
        self
    }

    /// How long an HTTP/1 client may take to send the head of a request, counted from the end of the one before.
    ///
    /// So it is also how long a connection is kept alive between two requests. The default is hyper's 30 s: no honest
    /// client takes as long for a head, and one that comes back later pays one round trip for a new connection.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.settings.http.http1().header_read_timeout(timeout);
        self
    }

    /// Changes the settings of hyper.
    ///
    /// They begin as hyper's own, with timers. An HTTP/2 peer is pinged every 20 s and has 20 s to answer, so one that
    /// is frozen or gone is noticed within 40 s, also by proxies' connections, where TCP alone sees only the proxy. Say
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
        set(&mut self.settings.http);
        self
    }

    /// Hears of what goes wrong where no caller can be told; see [`ServeEvent`]. Write it to a log.
    ///
    /// By default these are only counted, in the [`ServeReport`].
    pub fn on_event(mut self, on_event: impl Fn(ServeEvent<'_>) + Send + Sync + 'static) -> Self {
        self.settings.on_event = Arc::new(on_event);
        self
    }

    /// How many connections there are, to be read while the server runs.
    pub fn metrics(&self) -> ServeMetrics {
        self.settings.metrics.clone()
    }
}

impl<L, S, F, H, B> IntoFuture for Serve<L, S, F, H>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    F: Future<Output = ()> + Send + 'static,
    H: Handshake<L::Io>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Output = ServeReport;
    type IntoFuture = Pin<Box<dyn Future<Output = ServeReport> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Serve { listener, service, scopes, signal, handshake, settings } = self;
        Box::pin(accept(listener, service, handshake, signal, scopes, settings))
    }
}

impl<L, S, F, H> fmt::Debug for Serve<L, S, F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("settings", &self.settings).finish_non_exhaustive()
    }
}
