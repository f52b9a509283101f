//! A client that does with its connection what no HTTP library would do.

mod frames;
mod http1;
mod http2;
mod socket;

use std::net::SocketAddr;

use anyhow::bail;
use http::header::CONTENT_LENGTH;

use crate::{Protocol, Seen};

pub(crate) use frames::{GOAWAY, RST_STREAM, get};
pub(crate) use socket::Socket;

/// A request, or the beginning of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) upload: Upload,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upload {
    /// None.
    None,
    /// So many bytes are announced, and so many of them sent.
    Sized { announced: usize, sent: usize },
    /// So many bytes in a chunk, and no end.
    Chunked { sent: usize },
}

impl Ask {
    pub(crate) const GET: Ask = Ask { method: "GET", headers: &[], upload: Upload::None };
    pub(crate) const HEAD: Ask = Ask { method: "HEAD", ..Ask::GET };
    pub(crate) const GET_WITH_TRAILERS: Ask = Ask { headers: &[("te", "trailers")], ..Ask::GET };
    pub(crate) const UPGRADE: Ask =
        Ask { headers: &[("connection", "upgrade"), ("upgrade", "websocket")], ..Ask::GET };

    pub(crate) const fn post(announced: usize, sent: usize) -> Ask {
        Ask { method: "POST", headers: &[], upload: Upload::Sized { announced, sent } }
    }
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
}

/// What there is of an answer, when it is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    pub(crate) head: Option<Head>,
    pub(crate) bytes: usize,
    pub(crate) trailers: bool,
    /// It came to its end, as its head announced it.
    pub(crate) complete: bool,
}

impl Whole {
    /// What the head says of its length.
    pub(crate) fn length(&self) -> Option<usize> {
        let length = self.head.as_ref()?.headers.get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    }

    pub(crate) fn seen(&self) -> Seen {
        match &self.head {
            None => Seen::Nothing,
            Some(head) if self.complete => Seen::Whole(head.status),
            Some(head) => Seen::Cut(head.status),
        }
    }
}

pub(crate) enum Client {
    Http1(http1::Client),
    Http2(http2::Client),
}

impl Client {
    pub(crate) async fn connect(protocol: Protocol, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::connect(address)?;
        Ok(match protocol {
            Protocol::Http1 => Client::Http1(http1::Client::new(socket)),
            Protocol::Http2 => Client::Http2(http2::Client::new(socket).await?),
        })
    }

    /// Sends a request, or as much of it as it says.
    pub(crate) async fn send(&mut self, ask: Ask) -> anyhow::Result<()> {
        match self {
            Client::Http1(client) => client.send(ask).await,
            Client::Http2(client) => client.send(ask).await,
        }
    }

    /// The same, and what was asked before goes on unheard. HTTP/2 only.
    pub(crate) async fn send_beside(&mut self, ask: Ask) -> anyhow::Result<()> {
        match self {
            Client::Http1(_) => bail!("HTTP/1 has no streams"),
            Client::Http2(client) => client.send_beside(ask).await,
        }
    }

    /// Reads the head of the answer; `None` if there is none.
    pub(crate) async fn head(&mut self) -> anyhow::Result<Option<Head>> {
        match self {
            Client::Http1(client) => client.head().await,
            Client::Http2(client) => client.head().await,
        }
    }

    /// Reads the answer to its end, or to that of the connection.
    pub(crate) async fn whole(&mut self) -> anyhow::Result<Whole> {
        match self {
            Client::Http1(client) => client.whole().await,
            Client::Http2(client) => client.whole().await,
        }
    }

    /// The same in short.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<Seen> {
        Ok(self.whole().await?.seen())
    }

    /// Asks for an upgrade to a WebSocket. Over HTTP/2 that is an extended CONNECT.
    pub(crate) async fn upgrade(&mut self) -> anyhow::Result<Option<Head>> {
        match self {
            Client::Http1(client) => {
                client.send(Ask::UPGRADE).await?;
            }
            Client::Http2(client) => client.connect().await?,
        }
        self.head().await
    }

    /// Sends a byte over an upgraded connection, or stream, and reads one.
    pub(crate) async fn echo(&mut self) -> anyhow::Result<()> {
        match self {
            Client::Http1(client) => client.echo().await,
            Client::Http2(client) => client.echo().await,
        }
    }

    /// Says that it will send no more over an upgraded connection, or stream.
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

    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Client::Http1(client) => client.socket(),
            Client::Http2(client) => client.socket(),
        }
    }

    /// Closes in good order.
    pub(crate) fn fin(self) -> anyhow::Result<()> {
        self.socket().shut_down()
    }

    /// Closes with a reset.
    pub(crate) fn rst(self) -> anyhow::Result<()> {
        self.socket().reset_on_close()
    }

    /// The legal half-close: says all has been sent, and waits for the answer.
    pub(crate) fn shut_down_write(&self) -> anyhow::Result<()> {
        self.socket().shut_down_write()
    }

    /// Neither hears nor says anything from now on. What it returns keeps the socket open.
    pub(crate) fn vanish(self) -> anyhow::Result<Socket> {
        self.socket().vanish()
    }

    /// HTTP/2 only.
    pub(crate) fn reset_stream(&mut self) -> anyhow::Result<()> {
        match self {
            Client::Http1(_) => bail!("HTTP/1 has no streams"),
            Client::Http2(client) => client.reset_stream(),
        }
    }
}
