use std::future::Future;
use std::io;

use http::Extensions;
use tokio::io::{AsyncRead, AsyncWrite};

/// Prepares a new connection before HTTP starts: a TLS handshake, a PROXY protocol header.
///
/// Set it with [`Serve::handshake`](crate::Serve::handshake). A closure from a socket to a future is a `Handshake`.
/// Implement the trait to pass to handlers what the handshake has learned, such as the client's certificate.
///
/// A handshake runs in the connection's own task, not in the accept loop, so a slow client does not delay others. The
/// disconnect watch is created on the raw socket before the handshake, and works independently of the layers above.
///
/// # Examples
///
/// A byte that every client must send first:
///
/// ```
/// use std::io;
///
/// use http::Extensions;
/// use reqscope_hyper::Handshake;
/// use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
///
/// /// Found in the extensions of each request of the connection.
/// #[derive(Clone)]
/// struct Greeting(u8);
///
/// #[derive(Clone)]
/// struct Greeted;
///
/// impl<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static> Handshake<Io> for Greeted {
///     type Io = Io;
///
///     async fn handshake(&self, mut socket: Io, extensions: &mut Extensions) -> io::Result<Io> {
///         extensions.insert(Greeting(socket.read_u8().await?));
///         Ok(socket)
///     }
/// }
/// ```
pub trait Handshake<Io>: Clone + Send + Sync + 'static {
    /// The stream that carries HTTP.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Turns the socket into the stream that carries HTTP. `extensions` are added to each request of this connection.
    ///
    /// # Errors
    ///
    /// After an error the connection is closed, and a
    /// [`ServeEvent::HandshakeFailed`](crate::ServeEvent::HandshakeFailed) is reported.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped together with the socket when the
    /// [`handshake_timeout`](crate::Serve::handshake_timeout) elapses, the peer disconnects or the server shuts down.
    fn handshake(&self, socket: Io, extensions: &mut Extensions)
    -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl<Io, H, F, T> Handshake<Io> for H
where
    H: Fn(Io) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = io::Result<T>> + Send,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Io = T;

    fn handshake(&self, socket: Io, _extensions: &mut Extensions) -> impl Future<Output = io::Result<T>> + Send {
        self(socket)
    }
}

/// Leaves the socket as it is. The default of [`serve`](crate::serve).
///
/// # Examples
///
/// ```
/// use http::Extensions;
/// use reqscope_hyper::{Handshake, NoHandshake};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (_client, socket) = tokio::io::duplex(64);
/// assert!(NoHandshake.handshake(socket, &mut Extensions::new()).await.is_ok());
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NoHandshake;

impl<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static> Handshake<Io> for NoHandshake {
    type Io = Io;

    async fn handshake(&self, socket: Io, _extensions: &mut Extensions) -> io::Result<Io> {
        Ok(socket)
    }
}
