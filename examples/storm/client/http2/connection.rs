//! A connection over HTTP/2 and its streams. h2 does the protocol; what h2 would not do is done to the socket directly.
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use hyper::Request;
use tokio::task::JoinHandle;

use super::frames::GO_AWAY;
use crate::client::hangup::{ANSWER_TIMEOUT, hang_up};
use crate::client::outcome::Answer;
use crate::client::plan::Hangup;

/// The flow-control window of the streams.
#[derive(Clone, Copy)]
pub(crate) enum Window {
    /// The default of h2.
    Open,
    /// No byte of a body may be sent.
    PoolShutdown,
}

/// The window of the whole connection. It is so large that an unread stream stops no other.
const CONNECTION_WINDOW: u32 = 16 << 20;

pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    /// A second descriptor of the socket that h2 has.
    socket: TcpStream,
    driver: JoinHandle<()>,
}

impl Connection {
    pub(crate) async fn open(target: SocketAddr, window: Window) -> io::Result<Connection> {
        let socket = TcpStream::connect_timeout(&target, ANSWER_TIMEOUT)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let io = tokio::net::TcpStream::from_std(socket.try_clone()?)?;
        let mut builder = Builder::new();
        builder.enable_push(false).initial_connection_window_size(CONNECTION_WINDOW);
        if let Window::PoolShutdown = window {
            builder.initial_window_size(0);
        }
        let (requests, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        // Each of the streams reports its error, too.
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok(Connection { requests, socket, driver })
    }

    /// Sends a request.
    pub(crate) async fn stream(&self, path: &'static str) -> io::Result<Stream> {
        let request = Request::get(format!("http://storm{path}")).body(()).map_err(io::Error::other)?;
        let mut requests = self.requests.clone().ready().await.map_err(io::Error::other)?;
        let (response, sender) = requests.send_request(request, true).map_err(io::Error::other)?;
        Ok(Stream { path, state: State::Waiting(response), sender })
    }

    /// Sends several requests.
    pub(crate) async fn streams(&self, paths: &[&'static str]) -> io::Result<Vec<Stream>> {
        let mut streams = Vec::new();
        for path in paths {
            streams.push(self.stream(path).await?);
        }
        Ok(streams)
    }

    /// Sends GOAWAY.
    pub(crate) fn go_away(&self) -> io::Result<()> {
        // h2 is polled by this thread, so not now, and it has left no frame half written: all that a client sends here
        // fits into the kernel's buffers many times.
        (&self.socket).write_all(&GO_AWAY)
    }

    /// Closes the connection, and with it all streams, without any frame.
    pub(crate) async fn hang_up(self, hangup: Hangup) -> io::Result<()> {
        let Connection { requests: _requests, socket, driver } = self;
        driver.abort();
        // Waits until h2 has dropped its descriptor, so that this one is the last.
        drop(driver.await);
        hang_up(socket, hangup)
    }

    /// Closes the connection after everything has been sent.
    pub(crate) async fn end(self) {
        let Connection { requests, socket: _socket, driver } = self;
        drop(requests);
        drop(driver.await);
    }
}

/// A request and its answer. Dropping it resets the stream unless that has ended.
pub(crate) struct Stream {
    path: &'static str,
    state: State,
    sender: SendStream<Bytes>,
}

enum State {
    Waiting(ResponseFuture),
    Reading { status: u16, body: RecvStream, read: Vec<u8> },
    AtEnd,
}

impl Stream {
    /// Waits for the head.
    pub(crate) async fn status(&mut self) -> io::Result<u16> {
        match &mut self.state {
            State::Waiting(response) => {
                // Dropped here, the stream is still waiting.
                let response = response.await.map_err(io::Error::other)?;
                let status = response.status().as_u16();
                self.state = State::Reading { status, body: response.into_body(), read: Vec::new() };
                Ok(status)
            }
            State::Reading { status, .. } => Ok(*status),
            State::AtEnd => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads up to `wanted` bytes of the body.
    pub(crate) async fn read(&mut self, wanted: usize) -> io::Result<()> {
        let State::Reading { body, read, .. } = &mut self.state else { return Ok(()) };
        while read.len() < wanted {
            // Dropped here, what was read is kept.
            let Some(chunk) = body.data().await else { break };
            let chunk = chunk.map_err(io::Error::other)?;
            body.flow_control().release_capacity(chunk.len()).map_err(io::Error::other)?;
            read.extend_from_slice(&chunk);
        }
        Ok(())
    }

    /// Waits for the whole answer.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let status = self.status().await?;
        self.read(usize::MAX).await?;
        match std::mem::replace(&mut self.state, State::AtEnd) {
            State::Reading { read: body, .. } => Ok(Answer { path: self.path, status, body }),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Returns whether the answer has been read to its end.
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self.state, State::AtEnd)
    }

    /// Sends RST_STREAM.
    pub(crate) fn reset(&mut self) {
        self.sender.send_reset(Reason::CANCEL);
    }
}
