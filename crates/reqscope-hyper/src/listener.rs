use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream, unix::UCred};

use crate::DisconnectWatch;

/// Accepts connections for [`serve`](crate::serve).
///
/// Implemented for tokio's [`TcpListener`](tokio::net::TcpListener) (IPv4 and IPv6), for [`Tcp`](crate::Tcp), which has
/// settings for its sockets, and for [`UnixListener`]. Implement it to count, filter or tag connections, or for a test
/// without sockets.
///
/// # Examples
///
/// A listener that counts its connections:
///
/// ```
/// use std::net::SocketAddr;
///
/// use reqscope_hyper::{Listener, DisconnectWatch};
/// use tokio::net::{TcpListener, TcpStream};
///
/// struct Counting {
///     inner: TcpListener,
///     accepted: u64,
/// }
///
/// impl Listener for Counting {
///     type Io = TcpStream;
///     type Peer = SocketAddr;
///
///     async fn accept(&mut self) -> std::io::Result<(TcpStream, SocketAddr)> {
///         let accepted = Listener::accept(&mut self.inner).await?; // sets keepalive too
///         self.accepted += 1;
///         Ok(accepted)
///     }
///
///     fn watch(&self, socket: &TcpStream, half_close: bool) -> std::io::Result<DisconnectWatch> {
///         self.inner.watch(socket, half_close)
///     }
/// }
/// ```
pub trait Listener: Send + 'static {
    /// The stream of a connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The peer of a connection; handlers find it in the [`Connection`](crate::Connection).
    type Peer: Send + Sync + 'static;

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// An error does not stop the server: [`serve`](crate::serve) pauses and calls again.
    ///
    /// # Cancel safety
    ///
    /// Must be cancel safe: [`serve`](crate::serve) drops the future and calls again at any time, and no connection may
    /// be lost then. Do nothing slow here, such as a TLS handshake, because all other clients would wait for it. Use a
    /// [`Handshake`](crate::Handshake) instead.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Peer)>> + Send;

    /// Creates the watch of a connection. With `half_close` it must notice resets only.
    ///
    /// Defaults to [`DisconnectWatch::never`], which is right for a stream that is not a socket.
    ///
    /// # Errors
    ///
    /// If no descriptor is left, the connection waits and this is called again after a pause. After any other error the
    /// connection is closed, as if [`accept`](Listener::accept) had failed.
    fn watch(&self, io: &Self::Io, half_close: bool) -> io::Result<DisconnectWatch> {
        let (_io, _half_close) = (io, half_close);
        Ok(DisconnectWatch::never())
    }
}

/// The peer is the process that has connected: its user, group and process id.
#[cfg(unix)]
impl Listener for UnixListener {
    type Io = UnixStream;
    type Peer = UCred;

    async fn accept(&mut self) -> io::Result<(UnixStream, UCred)> {
        let (socket, _unnamed) = UnixListener::accept(self).await?;
        let peer = socket.peer_cred()?;
        Ok((socket, peer))
    }

    fn watch(&self, socket: &UnixStream, half_close: bool) -> io::Result<DisconnectWatch> {
        if half_close { DisconnectWatch::for_reset(socket) } else { DisconnectWatch::new(socket) }
    }
}
