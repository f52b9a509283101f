//! How connections end, over whatever protocol.
use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::client::plan::Hangup;

/// How long a client waits for an answer before it calls the server dead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Takes the last one of a socket's descriptors.
///
/// A close alone would turn into a RST if a byte of the answer is unread: a FIN has to be asked for.
pub(crate) fn hang_up(stream: TcpStream, hangup: Hangup) -> io::Result<()> {
    match hangup {
        Hangup::Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        Hangup::Fin => match stream.shutdown(Shutdown::Both) {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(()),
        },
    }
}

/// The other side was first.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected)
}

/// The other side never came.
pub(crate) fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}"))
}
