use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest, handshake};
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Head, Received, RequestSpec, Socket, Upload};
use crate::BOUND;
use crate::event::until;

/// A client over HTTP/2.
pub(crate) struct Http2Client {
    socket: Socket,
    requests: SendRequest<Bytes>,
    /// The task that reads and writes frames. It ends with the connection.
    driver: JoinHandle<()>,
    /// The body of the request that was sent last.
    upload: Option<SendStream<Bytes>>,
    response: Option<ResponseFuture>,
    /// Responses to earlier requests, kept because dropping one resets its stream.
    earlier: Vec<ResponseFuture>,
    body: Option<RecvStream>,
    head: Option<Head>,
}

impl Http2Client {
    pub(super) async fn new(socket: Socket) -> anyhow::Result<Self> {
        let (requests, connection) = handshake(socket.stream()?).await?;
        let driver = tokio::spawn(async move {
            // Each request gets the error of the connection as well.
            connection.await.ok();
        });
        Ok(Http2Client {
            socket,
            requests,
            driver,
            upload: None,
            response: None,
            earlier: Vec::new(),
            body: None,
            head: None,
        })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) async fn send(&mut self, request: RequestSpec) -> anyhow::Result<()> {
        let RequestSpec { method, headers, upload } = request;
        let mut request = Request::builder().method(method).uri("http://a/").body(())?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse()?);
        }
        let (sent, rest) = match upload {
            Upload::None => (0, false),
            Upload::Sized { announced, sent } => {
                request.headers_mut().insert("content-length", announced.into());
                (sent, sent < announced)
            }
            Upload::Chunked { sent } => (sent, true),
        };
        let mut requests = timeout(BOUND, self.requests.clone().ready()).await.context("a free stream")??;
        let bare = sent == 0 && !rest;
        let (response, mut upload) = requests.send_request(request, bare)?;
        if sent > 0 {
            upload.send_data("x".repeat(sent).into(), !rest)?;
        }
        (self.response, self.upload, self.body, self.head) = (Some(response), Some(upload), None, None);
        Ok(())
    }

    /// Sends an extended CONNECT, as soon as the server has announced that it allows that.
    pub(super) async fn connect(&mut self) -> anyhow::Result<()> {
        until("the server allows an extended CONNECT", || self.requests.is_extended_connect_protocol_enabled())
            .await?;
        let mut request = Request::builder().method("CONNECT").uri("http://a/").body(())?;
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (response, upload) = self.requests.send_request(request, false)?;
        (self.response, self.upload) = (Some(response), Some(upload));
        Ok(())
    }

    pub(super) async fn echo(&mut self) -> anyhow::Result<()> {
        self.upload.as_mut().context("no request was sent")?.send_data("x".into(), false)?;
        let body = self.body.as_mut().context("no head was received")?;
        let data = timeout(BOUND, body.data()).await.context("an echo")?;
        ensure!(data.context("the end of the stream")?? == "x", "not an echo");
        Ok(())
    }

    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.upload.as_mut().context("no request was sent")?.send_data(Bytes::new(), true)?)
    }

    /// Sends a request on another stream, without waiting for the earlier ones.
    pub(super) async fn send_concurrently(&mut self, request: RequestSpec) -> anyhow::Result<()> {
        self.earlier.extend(self.response.take());
        self.send(request).await
    }

    pub(super) async fn head(&mut self) -> anyhow::Result<Option<Head>> {
        let response = self.response.take().context("no request was sent")?;
        let Ok(response) = timeout(BOUND, response).await.context("the server responds, or closes")? else {
            return Ok(None);
        };
        let (parts, body) = response.into_parts();
        self.body = Some(body);
        self.head = Some(Head { status: parts.status.as_u16(), headers: parts.headers });
        Ok(self.head.clone())
    }

    pub(super) async fn receive(&mut self) -> anyhow::Result<Received> {
        if self.head.is_none() {
            self.head().await?;
        }
        let mut received = Received { head: self.head.take(), ..Received::default() };
        let Some(mut body) = self.body.take() else { return Ok(received) };
        loop {
            match timeout(BOUND, body.data()).await.context("the server sends more, or closes")? {
                None => break,
                Some(Err(_)) => return Ok(received),
                Some(Ok(data)) => {
                    received.bytes += data.len();
                    body.flow_control().release_capacity(data.len())?;
                }
            }
        }
        match timeout(BOUND, body.trailers()).await.context("trailers, or none")? {
            Ok(trailers) => received.trailers = trailers.is_some(),
            Err(_) => return Ok(received),
        }
        received.complete = true;
        Ok(received)
    }

    pub(super) fn reset_stream(&mut self) -> anyhow::Result<()> {
        self.upload.as_mut().context("no request was sent")?.send_reset(Reason::CANCEL);
        Ok(())
    }

    pub(super) async fn closed(&mut self) -> anyhow::Result<()> {
        timeout(BOUND, &mut self.driver).await.context("the server closes")??;
        ensure!(self.driver.is_finished(), "it was awaited");
        Ok(())
    }
}

impl Drop for Http2Client {
    fn drop(&mut self) {
        // Otherwise the task, and its descriptor of the socket, would live until the server closes.
        self.driver.abort();
    }
}
