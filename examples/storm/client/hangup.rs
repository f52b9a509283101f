//! How connections end, whatever the protocol.
use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::client::plan::Hangup;

/// How long a client waits for an answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Closes a connection with a FIN or a RST. `stream` must be the last descriptor of the socket.
///
/// A close alone would send a RST if a byte of the answer is unread, so a FIN is sent by a shutdown.
pub(crate) fn hang_up(stream: TcpStream, hangup: Hangup) -> io::Result<()> {
    match hangup {
        Hangup::Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        Hangup::Fin => match stream.shutdown(Shutdown::Both) {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(()),
        },
    }
}

/// Returns whether the error says that the other side has closed the connection.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected)
}

/// Returns the error of a client that has waited for too long.
pub(crate) fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ANSWER_TIMEOUT:?}"))
}
