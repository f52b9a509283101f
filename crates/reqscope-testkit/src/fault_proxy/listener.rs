//! The port of a proxy: open, or closed and reserved.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections may wait to be accepted. The same as in std.
const BACKLOG: u32 = 128;

pub(super) enum Listener {
    Open(TcpListener),
    /// Not listening, so the system refuses. The socket reserves the port: no other process gets it meanwhile, and a
    /// client that happens to use it as its own port does not connect to itself.
    Refusing(Option<TcpSocket>),
    /// The proxy was dropped.
    Closed,
}

impl Listener {
    /// Opens a listener on a free port.
    pub(super) fn open() -> io::Result<(Listener, SocketAddr)> {
        let listener = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        Ok((Listener::Open(listener), addr))
    }

    /// Closes it. Connections that are not accepted yet are reset.
    pub(super) fn refuse(&mut self, addr: SocketAddr) -> io::Result<()> {
        *self = Listener::Refusing(None); // the listener goes first: only one socket can have the port
        *self = Listener::Refusing(Some(bound(addr)?));
        Ok(())
    }

    /// Opens it again.
    pub(super) fn reopen(&mut self, addr: SocketAddr) -> io::Result<()> {
        if let Listener::Refusing(kept) = self {
            let socket = match kept.take() {
                Some(socket) => socket,
                None => bound(addr)?,
            };
            *self = Listener::Open(socket.listen(BACKLOG)?);
        }
        Ok(())
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        match self {
            Listener::Open(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| stream),
            Listener::Refusing(_) | Listener::Closed => Poll::Pending,
        }
    }
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Earlier connections on this port do not prevent binding it again. On Windows they never do, and the option means
    // something else.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
