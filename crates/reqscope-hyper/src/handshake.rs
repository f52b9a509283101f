use std::future::Future;
use std::io;

use http::Extensions;
use tokio::io::{AsyncRead, AsyncWrite};

/// What is done on a new connection before HTTP is spoken on it: a TLS handshake, a PROXY protocol header.
///
/// Given to [`Serve::handshake`](crate::Serve::handshake). A closure from a socket to a future is one. Implement the
/// trait to tell the handlers what the handshake has learned, such as the client's certificate.
///
/// It runs in the connection's own task, never in the accept loop, so a client that dawdles keeps nobody waiting. The
/// disconnect watch is made before, over the raw socket, and sees the peer go whatever the layers above do.
///
/// # Examples
///
/// A first byte that every client must send:
///
/// ```
/// use std::io;
///
/// use http::Extensions;
/// use reqscope_hyper::Handshake;
/// use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
///
/// /// Lies in the extensions of each request of the connection.
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
    /// What HTTP is spoken on.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Turns the socket into what HTTP is spoken on. What is put into `extensions` comes with each request of this
    /// connection.
    ///
    /// # Errors
    ///
    /// The connection is closed, and [`ServeEvent::HandshakeFailed`](crate::ServeEvent::HandshakeFailed) told.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped with the socket when its time is over, when the peer has gone and when the server shuts
    /// down.
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

/// HTTP is spoken on the socket as it is. The default of [`serve`](crate::serve).
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
