use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream, unix::UCred};

use crate::DisconnectWatch;

/// Where [`serve`](crate::serve) gets its connections from.
///
/// Implemented for tokio's [`TcpListener`](tokio::net::TcpListener) (IPv4 and IPv6), for [`Tcp`](crate::Tcp), which
/// lets you choose the options of its sockets, and for [`UnixListener`]. Implement it to count, filter or tag
/// connections, or for a test without sockets.
///
/// # Examples
///
/// A listener that knows how many connections there have been:
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
///         let accepted = Listener::accept(&mut self.inner).await?; // with keepalive and all that
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
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Who is at its other end; the handlers find it in the [`Connection`](crate::Connection).
    type Peer: Send + Sync + 'static;

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// An error ends neither the server nor the listener: [`serve`](crate::serve) pauses and calls again.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped and made anew whenever something else happens, so it must not lose a connection then.
    /// Do nothing slow here either, such as a TLS handshake: all other clients would wait for it.
    /// There is a [`Handshake`](crate::Handshake) for that.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Peer)>> + Send;

    /// The watch over a connection's socket; with `half_close` one that heeds resets only.
    ///
    /// The default never answers and is right for what is not a socket.
    ///
    /// # Errors
    ///
    /// Where no descriptor is left the connection waits, and this is called again after a pause. After any other
    /// error it is closed, as if [`accept`](Listener::accept) had failed.
    fn watch(&self, io: &Self::Io, half_close: bool) -> io::Result<DisconnectWatch> {
        let (_io, _half_close) = (io, half_close);
        Ok(DisconnectWatch::never())
    }
}

/// The peer is the process that has connected: its user, its group, its number.
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
