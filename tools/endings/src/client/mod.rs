//! A client that can break off, reset or silence its connection at any point, which HTTP libraries do not offer.

mod frames;
mod http1;
mod http2;
mod seen;
mod socket;

use std::net::SocketAddr;

use anyhow::bail;
use http::header::CONTENT_LENGTH;

use crate::Protocol;
use http1::Http1Client;
use http2::Http2Client;

pub(crate) use frames::{GOAWAY, RST_STREAM, get};
pub use seen::Seen;
pub(crate) use socket::Socket;

/// A request, or the beginning of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestSpec {
    pub(crate) method: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) upload: Upload,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upload {
    /// No body.
    None,
    /// A body of known length, of which a part is sent.
    Sized { announced: usize, sent: usize },
    /// One chunk of a body whose end is not sent.
    Chunked { sent: usize },
}

impl RequestSpec {
    pub(crate) const GET: RequestSpec = RequestSpec { method: "GET", headers: &[], upload: Upload::None };
    pub(crate) const HEAD: RequestSpec = RequestSpec { method: "HEAD", ..RequestSpec::GET };
    pub(crate) const GET_WITH_TRAILERS: RequestSpec =
        RequestSpec { headers: &[("te", "trailers")], ..RequestSpec::GET };
    pub(crate) const UPGRADE: RequestSpec =
        RequestSpec { headers: &[("connection", "upgrade"), ("upgrade", "websocket")], ..RequestSpec::GET };

    /// Returns a POST whose body is announced with one length and sent up to another.
    pub(crate) const fn post(announced: usize, sent: usize) -> RequestSpec {
        RequestSpec { method: "POST", headers: &[], upload: Upload::Sized { announced, sent } }
    }
}

/// The head of a response.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
}

/// What a client received of a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) head: Option<Head>,
    pub(crate) bytes: usize,
    pub(crate) trailers: bool,
    /// Whether the response came to its end, as announced by its head.
    pub(crate) complete: bool,
}

impl Received {
    /// Returns the content length in the head.
    pub(crate) fn length(&self) -> Option<usize> {
        let length = self.head.as_ref()?.headers.get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    }

    /// Returns this in short.
    pub(crate) fn seen(&self) -> Seen {
        match &self.head {
            None => Seen::Nothing,
            Some(head) if self.complete => Seen::Complete(head.status),
            Some(head) => Seen::Cut(head.status),
        }
    }
}

/// A client over either protocol.
pub(crate) enum Client {
    Http1(Http1Client),
    Http2(Http2Client),
}

impl Client {
    /// Connects to the server.
    pub(crate) async fn connect(protocol: Protocol, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::connect(address)?;
        Ok(match protocol {
            Protocol::Http1 => Client::Http1(Http1Client::new(socket)),
            Protocol::Http2 => Client::Http2(Http2Client::new(socket).await?),
        })
    }

    /// Sends a request, or the part of it that its upload says.
    pub(crate) async fn send(&mut self, request: RequestSpec) -> anyhow::Result<()> {
        match self {
            Client::Http1(client) => client.send(request).await,
            Client::Http2(client) => client.send(request).await,
        }
    }

    /// Sends a request on another stream, without waiting for the earlier ones. HTTP/2 only.
    pub(crate) async fn send_concurrently(&mut self, request: RequestSpec) -> anyhow::Result<()> {
        match self {
            Client::Http1(_) => bail!("HTTP/1 has no streams"),
            Client::Http2(client) => client.send_concurrently(request).await,
        }
    }

    /// Reads the head of the response; `None` if the connection or stream ends before.
    pub(crate) async fn head(&mut self) -> anyhow::Result<Option<Head>> {
        match self {
            Client::Http1(client) => client.head().await,
            Client::Http2(client) => client.head().await,
        }
    }

    /// Reads the response to its end, or to that of the connection.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Received> {
        match self {
            Client::Http1(client) => client.receive().await,
            Client::Http2(client) => client.receive().await,
        }
    }

    /// Reads the response like [`receive`](Client::receive), and returns what was seen.
    pub(crate) async fn seen(&mut self) -> anyhow::Result<Seen> {
        Ok(self.receive().await?.seen())
    }

    /// Requests an upgrade to a WebSocket, over HTTP/2 by an extended CONNECT, and reads the head.
    pub(crate) async fn upgrade(&mut self) -> anyhow::Result<Option<Head>> {
        match self {
            Client::Http1(client) => {
                client.send(RequestSpec::UPGRADE).await?;
            }
            Client::Http2(client) => client.connect().await?,
        }
        self.head().await
    }

    /// Sends a byte over an upgraded connection or stream, and reads one.
    pub(crate) async fn echo(&mut self) -> anyhow::Result<()> {
        match self {
            Client::Http1(client) => client.echo().await,
            Client::Http2(client) => client.echo().await,
        }
    }

    /// Ends the sending side of an upgraded connection or stream.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        match self {
            Client::Http1(client) => client.socket().shut_down_write(),
            Client::Http2(client) => client.end(),
        }
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn closed(&mut self) -> anyhow::Result<()> {
        match self {
            Client::Http1(client) => client.closed().await,
            Client::Http2(client) => client.closed().await,
        }
    }

    /// Returns the socket, to act on it directly.
    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Client::Http1(client) => client.socket(),
            Client::Http2(client) => client.socket(),
        }
    }

    /// Closes the connection with a FIN.
    pub(crate) fn fin(self) -> anyhow::Result<()> {
        self.socket().shut_down()
    }

    /// Closes the connection with a reset.
    pub(crate) fn rst(self) -> anyhow::Result<()> {
        self.socket().reset_on_close()
    }

    /// Half-closes the connection: nothing more is sent, and the response is still read.
    pub(crate) fn shut_down_write(&self) -> anyhow::Result<()> {
        self.socket().shut_down_write()
    }

    /// Makes the client vanish, as a machine that loses power: see [`Socket::vanish`]. The returned socket keeps the
    /// connection open.
    pub(crate) fn vanish(self) -> anyhow::Result<Socket> {
        self.socket().vanish()
    }

    /// Resets the stream of the last request. HTTP/2 only.
    pub(crate) fn reset_stream(&mut self) -> anyhow::Result<()> {
        match self {
            Client::Http1(_) => bail!("HTTP/1 has no streams"),
            Client::Http2(client) => client.reset_stream(),
        }
    }
}
