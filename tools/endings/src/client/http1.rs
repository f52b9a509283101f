use anyhow::{Context, ensure};
use http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Head, Received, RequestSpec, Socket, Upload};
use crate::BOUND;

/// A client over HTTP/1.1.
pub(crate) struct Http1Client {
    socket: Socket,
    /// Created on first use: a client may send before any other task of this thread runs.
    stream: Option<TcpStream>,
    unread: Vec<u8>,
    head: Option<Head>,
    /// The methods of the requests sent, oldest first: a response to HEAD has no body.
    methods: std::collections::VecDeque<&'static str>,
}

impl Http1Client {
    pub(super) fn new(socket: Socket) -> Self {
        Http1Client { socket, stream: None, unread: Vec::new(), head: None, methods: Default::default() }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    fn stream(&mut self) -> anyhow::Result<&mut TcpStream> {
        if self.stream.is_none() {
            self.stream = Some(self.socket.stream()?);
        }
        self.stream.as_mut().context("the stream was created above")
    }

    pub(super) async fn send(&mut self, request: RequestSpec) -> anyhow::Result<()> {
        self.methods.push_back(request.method);
        let bytes = bytes_of(request);
        let stream = self.stream()?;
        timeout(BOUND, stream.write_all(&bytes)).await.context("the request is sent")??;
        Ok(())
    }

    /// Reads more bytes. Returns `false` at the end of the connection, by FIN or reset.
    async fn read(&mut self) -> anyhow::Result<bool> {
        let mut more = std::mem::take(&mut self.unread);
        let read = timeout(BOUND, self.stream()?.read_buf(&mut more)).await;
        self.unread = more;
        Ok(matches!(read.context("the server sends more, or closes")?, Ok(1..)))
    }

    pub(super) async fn head(&mut self) -> anyhow::Result<Option<Head>> {
        loop {
            if let Some((head, length)) = parse(&self.unread)? {
                self.unread.drain(..length);
                self.head = Some(head.clone());
                return Ok(Some(head));
            }
            if !self.read().await? {
                ensure!(self.unread.is_empty(), "an incomplete head: {:?}", String::from_utf8_lossy(&self.unread));
                return Ok(None);
            }
        }
    }

    pub(super) async fn receive(&mut self) -> anyhow::Result<Received> {
        if self.head.is_none() {
            self.head().await?;
        }
        let mut received = Received { head: self.head.take(), ..Received::default() };
        let Some(Head { status, headers }) = &received.head else { return Ok(received) };
        let method = self.methods.pop_front();
        let length =
            headers.get(CONTENT_LENGTH).map(|length| length.to_str()?.parse::<usize>().map_err(anyhow::Error::from));
        if method == Some("HEAD") || matches!(status, 100..200 | 204 | 304) {
            received.complete = true;
        } else if headers.contains_key(TRANSFER_ENCODING) {
            while let Some(size) = self.chunk().await? {
                received.bytes += size;
                received.complete = size == 0;
                if received.complete {
                    received.trailers = self.trailers().await?;
                    break;
                }
            }
        } else {
            let length = length.context("the body has neither a length nor chunks")??;
            while self.unread.len() < length && self.read().await? {}
            received.bytes = self.unread.len().min(length);
            self.unread.drain(..received.bytes);
            received.complete = received.bytes == length;
        }
        Ok(received)
    }

    /// Reads a line; `None` if the connection ends before.
    async fn line(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8(self.unread[..end].to_vec())?;
                self.unread.drain(..end + 2);
                return Ok(Some(line));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Skips the next chunk and returns its size; `None` if the connection ends before.
    async fn chunk(&mut self) -> anyhow::Result<Option<usize>> {
        let Some(line) = self.line().await? else { return Ok(None) };
        let size = usize::from_str_radix(&line, 16).with_context(|| format!("not a chunk size: {line:?}"))?;
        if size > 0 {
            while self.unread.len() < size + 2 {
                if !self.read().await? {
                    return Ok(None);
                }
            }
            self.unread.drain(..size + 2);
        }
        Ok(Some(size))
    }

    /// Reads the trailers, and returns whether there are any.
    async fn trailers(&mut self) -> anyhow::Result<bool> {
        let mut trailers = false;
        while let Some(line) = self.line().await? {
            if line.is_empty() {
                break;
            }
            trailers = true;
        }
        Ok(trailers)
    }

    pub(super) async fn echo(&mut self) -> anyhow::Result<()> {
        self.socket.inject(b"x")?;
        while self.unread.is_empty() {
            ensure!(self.read().await?, "the server closes instead of an echo");
        }
        self.unread.remove(0);
        Ok(())
    }

    pub(super) async fn closed(&mut self) -> anyhow::Result<()> {
        while self.read().await? {}
        Ok(())
    }
}

/// Returns a request as bytes.
fn bytes_of(request: RequestSpec) -> Vec<u8> {
    let RequestSpec { method, headers, upload } = request;
    let mut text = format!("{method} / HTTP/1.1\r\nHost: a\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match upload {
        Upload::None => text.push_str("\r\n"),
        Upload::Sized { announced, sent } => {
            text.push_str(&format!("Content-Length: {announced}\r\n\r\n{}", "x".repeat(sent)));
        }
        Upload::Chunked { sent } => {
            text.push_str(&format!("Transfer-Encoding: chunked\r\n\r\n{sent:x}\r\n{}\r\n", "x".repeat(sent)));
        }
    }
    text.into_bytes()
}

/// Parses a head and returns it with its length; `None` if it is incomplete.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Head, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
    let mut headers = HeaderMap::new();
    for field in response.headers.iter() {
        headers.append(HeaderName::from_bytes(field.name.as_bytes())?, HeaderValue::from_bytes(field.value)?);
    }
    Ok(Some((Head { status: response.code.context("a head has a status")?, headers }, length)))
}
