use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1, reserved for one server across its restarts.
///
/// On Linux a socket that does not listen is bound to it. So no other process gets the port while the server is down,
/// not even as the local port of a connection, and clients are refused. A server that sets `SO_REUSEADDR`, as servers
/// do, can still listen. On other systems two sockets cannot share the port: it is found free and closed again, and
/// another process may take it before the server does.
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
