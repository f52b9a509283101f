use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::Watch;

/// Where [`serve`](crate::serve) gets its connections from.
///
/// Implemented for tokio's [`TcpListener`] (IPv4 and IPv6) and [`UnixListener`]. Implement it to count, filter or
/// tag connections, or for a test without sockets.
///
/// # Examples
///
/// A listener that knows how many connections there have been:
///
/// ```
/// use reqscope_hyper::{Listener, Watch};
/// use tokio::net::{TcpListener, TcpStream};
///
/// struct Counting {
///     inner: TcpListener,
///     accepted: u64,
/// }
///
/// impl Listener for Counting {
///     type Io = TcpStream;
///
///     async fn accept(&mut self) -> std::io::Result<TcpStream> {
///         let socket = Listener::accept(&mut self.inner).await?;
///         self.accepted += 1;
///         Ok(socket)
///     }
///
///     fn watch(&self, socket: &TcpStream, half_close: bool) -> std::io::Result<Watch> {
///         self.inner.watch(socket, half_close)
///     }
/// }
/// ```
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

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
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// The watch over a connection's socket; with `half_close` one that heeds resets only.
    ///
    /// The default never answers and is right for what is not a socket.
    ///
    /// # Errors
    ///
    /// Where no descriptor is left the connection waits, and this is called again after a pause. After any other
    /// error it is closed, as if [`accept`](Listener::accept) had failed.
    fn watch(&self, io: &Self::Io, half_close: bool) -> io::Result<Watch> {
        let (_io, _half_close) = (io, half_close);
        Ok(Watch::never())
    }
}

/// Nagle's algorithm is switched off: an answer goes out when it is written.
impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (socket, _peer) = TcpListener::accept(self).await?;
        // Fails only on a socket that is dead already, and then reading from it says so too.
        socket.set_nodelay(true).ok();
        Ok(socket)
    }

    fn watch(&self, socket: &TcpStream, half_close: bool) -> io::Result<Watch> {
        if half_close { Watch::for_reset(socket) } else { Watch::new(socket) }
    }
}

#[cfg(unix)]
impl Listener for UnixListener {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<UnixStream> {
        let (socket, _peer) = UnixListener::accept(self).await?;
        Ok(socket)
    }

    fn watch(&self, socket: &UnixStream, half_close: bool) -> io::Result<Watch> {
        if half_close { Watch::for_reset(socket) } else { Watch::new(socket) }
    }
}
