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
/// The server does not open scopes: [`ScopeService`](crate::ScopeService) does, or the tower layer around a router.
/// Compared with a plain accept loop, `serve` adds the [disconnect watch](crate::DisconnectWatch), sockets that [detect
/// a dead peer](crate::Tcp), a limit on connections, pauses after failed accepts, a hook for the [TLS
/// handshake](Serve::handshake), and a shutdown that accounts for every handle.
///
/// Await the returned [`Serve`]. It returns no error: failed accepts and connections are counted and reported. A port
/// that is in use is an error of `bind`, before there is a listener.
///
/// The service is a hyper service. [`TowerToHyperService`](crate::TowerToHyperService) converts a tower service, such
/// as axum's `Router`. The extensions of each request contain the [`Connection`](crate::Connection) that it arrived on.
///
/// # Shutdown
///
/// When the [`graceful`](Serve::graceful) signal is ready:
///
/// 1. The listener is closed. Connections that wait for a request or are in their handshake are closed at once, the
///    others as soon as the request in flight is answered. Upgraded connections can be ended cleanly only by their
///    owners, which are notified by [`Connection::shutting_down`](crate::Connection::shutting_down).
/// 2. After the [`request_grace`](Serve::request_grace) the remaining connections are cut: handlers are dropped, and
///    upgraded connections fail at the next read or write.
/// 3. The open scopes and pending releases have the [`release_grace`](Serve::release_grace) to end.
///
/// The future returns as soon as nothing is left. The [`ServeReport`] counts what did not end in time. A handler that
/// blocks its thread cannot be dropped; it is reported and left running. On a single-threaded runtime such a handler
/// blocks the server too.
///
/// # Cancel safety
///
/// Dropping the future closes the listener and drops all connections with their handlers, whose scopes close as
/// `Cancelled`; upgraded connections fail. To wait for the releases, call [`Scopes::drain`].
///
/// # Panics
///
/// The future panics if it is polled outside a tokio runtime with I/O and timers.
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
pub fn serve<L, S: HyperService>(listener: L, service: S, scopes: &Scopes) -> Serve<L, S> {
    Serve {
        listener,
        service,
        scopes: scopes.clone(),
        signal: pending(),
        handshake: NoHandshake,
        settings: Settings::default(),
    }
}

/// A server, configured by the methods below and started by awaiting it. Returned by [`serve`].
///
/// # Examples
///
/// ```
/// use reqscope_hyper::{Serve, serve};
/// use std::time::Duration;
///
/// # type Service = reqscope_hyper::TowerToHyperService<axum::Router>;
/// # fn f(listener: tokio::net::TcpListener, service: Service, scopes: &reqscope::Scopes) {
/// let server: Serve<_, _, _> = serve(listener, service, scopes)
///     .max_connections(1000)
///     .first_request_timeout(Duration::from_secs(10))
///     .header_read_timeout(Duration::from_secs(10))
///     .watch(true)
///     .half_close(false)
///     .graceful(async { tokio::signal::ctrl_c().await.expect("ctrl-c can be handled") })
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
    /// Sets the future that starts a graceful shutdown when it completes; see [`serve`]. Defaults to none, because the
    /// signal depends on the program; without one, the server runs until it is dropped.
    pub fn graceful<G: Future<Output = ()>>(self, signal: G) -> Serve<L, S, G, H> {
        let Serve { listener, service, scopes, signal: _, handshake, settings } = self;
        Serve { listener, service, scopes, signal, handshake, settings }
    }

    /// Sets how long a graceful shutdown waits for requests in flight and upgraded connections before it cuts them.
    /// Defaults to 15 s, because together with the release grace this stays below the 30 s after which container
    /// platforms kill a process.
    pub fn request_grace(mut self, grace: Duration) -> Self {
        self.settings.request_grace = grace;
        self
    }

    /// Sets how long a graceful shutdown then waits for open scopes and pending releases. Defaults to 10 s, twice the
    /// default timeout of a release, so that a release that hangs is abandoned and reported before the grace elapses.
    pub fn release_grace(mut self, grace: Duration) -> Self {
        self.settings.release_grace = grace;
        self
    }

    /// Sets whether each connection has a [`DisconnectWatch`](crate::DisconnectWatch) that drops the handler when the
    /// client disconnects. Defaults to `true`, because hyper alone often does not notice: while a body is unread, a
    /// byte is left in its buffer, or the client has already sent its next request.
    pub fn watch(mut self, watch: bool) -> Self {
        self.settings.watch = watch;
        self
    }

    /// Sets whether a client may shut down its write side and still receive its response. Defaults to `false`, as in
    /// hyper, because a client that disconnects looks the same.
    ///
    /// With `true` the watch notices resets only. A client that closes its socket cleanly is then noticed when a
    /// response is written to it.
    pub fn half_close(mut self, half_close: bool) -> Self {
        self.settings.half_close = half_close;
        self.settings.http.http1().half_close(half_close);
        self
    }

    /// Sets the maximum number of open connections; further ones wait in the kernel's queue. Defaults to three quarters
    /// of the descriptors that the process may open (`ulimit -n`), divided by two if the watch is on, because the watch
    /// needs a second one.
    ///
    /// An upgraded connection counts until it is closed, because it holds a descriptor too.
    ///
    /// # Panics
    ///
    /// Panics if `max` is 0.
    pub fn max_connections(mut self, max: usize) -> Self {
        assert!(max > 0, "the maximum number of connections must not be 0");
        self.settings.max_connections = Some(max);
        self
    }

    /// Sets what is done on each new connection before HTTP starts, such as a TLS handshake. Defaults to
    /// [`NoHandshake`], because plain HTTP needs none.
    ///
    /// The handshake runs in the connection's own task, limited by [`handshake_timeout`](Serve::handshake_timeout).
    /// Failures are counted, and reported to [`on_event`](Serve::on_event). Configure TLS to offer both `h2` and
    /// `http/1.1` by ALPN: both are served.
    ///
    /// # Examples
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
    /// # type Service = reqscope_hyper::TowerToHyperService<axum::Router>;
    /// # fn f(listener: tokio::net::TcpListener, service: Service, scopes: &reqscope::Scopes, tls: TlsAcceptor) {
    /// serve(listener, service, scopes).handshake(move |socket: TcpStream| {
    ///     let tls = tls.clone(); // for example from tokio-rustls
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

    /// Sets the maximum time for a [`handshake`](Serve::handshake), after which the connection is closed. Defaults to
    /// 10 s, because a handshake takes a few round trips, and this leaves time for some lost packets.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake = timeout;
        self
    }

    /// Sets the maximum time from accepting a connection to its first request, after which the connection is closed.
    /// Includes the handshake. Defaults to 30 s, because that is hyper's limit [for a request's
    /// head](Serve::header_read_timeout).
    ///
    /// hyper's limit starts when the version of HTTP is known, so without this timeout a client that sends nothing at
    /// all would occupy its connection forever.
    pub fn first_request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.first_request = timeout;
        self
    }

    /// Sets the maximum time for an HTTP/1 client to send the head of a request, from the end of the previous request.
    /// Defaults to hyper's 30 s, because no well-behaved client needs that long.
    ///
    /// This timeout also limits how long an idle connection is kept alive. A client that sends its next request later
    /// needs a new connection, which costs one round trip.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.settings.http.http1().header_read_timeout(timeout);
        self
    }

    /// Changes the settings of hyper. Defaults to those of hyper, plus timers and pings to HTTP/2 peers.
    ///
    /// An HTTP/2 peer is pinged every 20 s and has 20 s to answer, so a frozen or dead peer is noticed within 40 s.
    /// This also works behind a proxy, where TCP only detects a dead proxy. Set half-close with
    /// [`half_close`](Serve::half_close), which configures the watch too.
    ///
    /// # Examples
    ///
    /// ```
    /// # use reqscope_hyper::serve;
    /// # type Service = reqscope_hyper::TowerToHyperService<axum::Router>;
    /// # fn f(listener: tokio::net::TcpListener, service: Service, scopes: &reqscope::Scopes) {
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

    /// Sets a function that is called with each [`ServeEvent`], for a log. Defaults to none, because the
    /// [`ServeReport`] counts the events.
    pub fn on_event(mut self, report: impl Fn(ServeEvent<'_>) + Send + Sync + 'static) -> Self {
        self.settings.on_event = Arc::new(report);
        self
    }

    /// Returns the metrics of this server, which can be read while it runs: the number of connections.
    pub fn metrics(&self) -> ServeMetrics {
        self.settings.metrics.clone()
    }
}

/// A bound that every hyper service satisfies, for the compiler's message about one that is not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a hyper service",
    note = "`serve` takes a `hyper::service::Service<Request<Incoming>>`",
    note = "for a tower service, such as axum's `Router`, write `serve(listener, TowerToHyperService::new(router), &scopes)`"
)]
pub trait HyperService {}

#[diagnostic::do_not_recommend]
impl<S: Service<Request<Incoming>>> HyperService for S {}

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
