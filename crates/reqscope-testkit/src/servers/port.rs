use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1, for one server and as long as it may be restarted.
///
/// On Linux it is held: a socket is bound to it and does not listen. So nobody else gets it while the server is down,
/// be it as the near end of a connection, and clients are refused; a server that sets `SO_REUSEADDR`, as servers do,
/// can listen nevertheless. Elsewhere two cannot have it, so it is found free and given back, and another process may
/// be quicker than the server.
pub(super) struct Port {
    number: u16,
    _held: Option<Socket>,
}

impl Port {
    pub(super) fn find() -> io::Result<Port> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        let hold = cfg!(all(target_os = "linux", not(reqscope_portable)));
        Ok(Port { number: address.port(), _held: hold.then_some(socket) })
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }
}
