use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::phase::{Phase, reached};

/// The connection that a request came on: whose it is, and whether the server shuts down.
///
/// [`serve`](crate::serve) puts it into the extensions of each request. The type of the peer is that of the
/// [`Listener`](crate::Listener): an address for TCP, the process's credentials for a Unix socket. Name it when you ask
/// for a connection that is not TCP: `get::<Connection<UCred>>()`.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use reqscope_hyper::Connection;
///
/// fn log<B>(request: &Request<B>) {
///     if let Some(connection) = request.extensions().get::<Connection>() {
///         println!("{} asks for {}", connection.peer(), request.uri().path());
///     }
/// }
/// ```
///
/// In axum it is `Extension<Connection>`. Where code wants axum's own `ConnectInfo`, one layer translates:
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::extract::{ConnectInfo, Request};
/// use axum::middleware::map_request;
/// use axum::{Extension, Router, routing::get};
/// use reqscope_hyper::Connection;
///
/// async fn who(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
///     peer.to_string()
/// }
///
/// async fn connect_info(Extension(connection): Extension<Connection>, mut request: Request) -> Request {
///     request.extensions_mut().insert(ConnectInfo(*connection.peer()));
///     request
/// }
///
/// let router: Router = Router::new().route("/", get(who)).layer(map_request(connect_info));
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

    /// Who is at the other end, as the [`Listener`](crate::Listener) saw it.
    pub fn peer(&self) -> &P {
        &self.0.peer
    }

    /// Whether the server has begun to shut down.
    pub fn is_shutting_down(&self) -> bool {
        *self.0.phase.borrow() != Phase::Serving
    }

    /// Waits until the server begins to shut down, or is dropped.
    ///
    /// For what would go on for as long as the client likes: an upgraded connection, a stream of events. It has the
    /// [`request_grace`](crate::Serve::request_grace) to say goodbye, and is cut then.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the next call goes on waiting.
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
