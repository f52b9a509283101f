use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::phase::{Phase, reached};

/// The connection that a request arrived on: its peer, and whether the server is shutting down.
///
/// [`serve`](crate::serve) puts it into the extensions of each request. The [`Listener`](crate::Listener) determines
/// the type of the peer: an address for TCP, the credentials of the process for a Unix socket. Any type other than the
/// address must be named: `get::<Connection<UCred>>()`.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use reqscope_hyper::Connection;
///
/// fn log<B>(request: &Request<B>) {
///     if let Some(connection) = request.extensions().get::<Connection>() {
///         println!("{} requests {}", connection.peer(), request.uri().path());
///     }
/// }
/// ```
///
/// In axum, extract it with `Extension<Connection>`. For code that uses axum's own `ConnectInfo`, add a layer:
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::extract::{ConnectInfo, Request};
/// use axum::middleware::map_request;
/// use axum::{Extension, Router, routing::get};
/// use reqscope_hyper::Connection;
///
/// async fn peer(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
///     peer.to_string()
/// }
///
/// async fn connect_info(Extension(connection): Extension<Connection>, mut request: Request) -> Request {
///     request.extensions_mut().insert(ConnectInfo(*connection.peer()));
///     request
/// }
///
/// let router: Router = Router::new().route("/", get(peer)).layer(map_request(connect_info));
/// ```
pub struct Connection<P = SocketAddr>(Arc<Shared<P>>);

struct Shared<P> {
    peer: P,
    phase: watch::Receiver<Phase>,
}

impl<P> Connection<P> {
    pub(crate) fn new(peer: P, phase: watch::Receiver<Phase>) -> Self {
        Connection(Arc::new(Shared { peer, phase }))
    }

    /// Returns the peer, as reported by the [`Listener`](crate::Listener).
    pub fn peer(&self) -> &P {
        &self.0.peer
    }

    /// Returns whether the server has begun to shut down.
    pub fn is_shutting_down(&self) -> bool {
        *self.0.phase.borrow() != Phase::Serving
    }

    /// Waits until the server begins to shut down, or is dropped.
    ///
    /// Use it in work that lasts as long as the client wishes: an upgraded connection, a stream of events. After the
    /// [`request_grace`](crate::Serve::request_grace) the connection is cut.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: a later call continues to wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use reqscope_hyper::Connection;
    /// use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    ///
    /// async fn echo(mut io: impl AsyncRead + AsyncWrite + Unpin, connection: Connection) -> std::io::Result<()> {
    ///     loop {
    ///         tokio::select! {
    ///             byte = io.read_u8() => io.write_u8(byte?).await?,
    ///             () = connection.shutting_down() => return io.write_all(b"goodbye").await,
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn shutting_down(&self) {
        reached(self.0.phase.clone(), Phase::Stopping).await;
    }
}

impl<P> Clone for Connection<P> {
    fn clone(&self) -> Self {
        Connection(Arc::clone(&self.0))
    }
}

impl<P: fmt::Debug> fmt::Debug for Connection<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", self.peer())
            .field("is_shutting_down", &self.is_shutting_down())
            .finish()
    }
}
