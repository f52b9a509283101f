//! The port of a proxy: open, or closed and kept for later.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many clients may have connected that are not accepted yet: as std has it.
const BACKLOG: u32 = 128;

pub(super) enum Listener {
    Open(TcpListener),
    /// Nobody listens, so the system refuses. The socket keeps the port: nobody else gets it meanwhile, nor does a
    /// client that connects to it by chance connect to itself.
    Refusing(Option<TcpSocket>),
    /// The proxy is gone.
    Closed,
}

impl Listener {
    /// Opens one on some port.
    pub(super) fn open() -> io::Result<(Listener, SocketAddr)> {
        let listener = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        Ok((Listener::Open(listener), addr))
    }

    /// Closes it. What has connected and is not accepted yet is reset.
    pub(super) fn refuse(&mut self, addr: SocketAddr) -> io::Result<()> {
        *self = Listener::Refusing(None); // the listener goes first: two cannot have the port
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
    // Connections that the port had before do not stand in the way of binding it again. On Windows they never do, and
    // the option means something else.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
