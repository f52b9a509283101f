use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest, handshake};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Ask, Head, Socket, Upload, Whole};
use crate::BOUND;
use crate::event::until;

pub(crate) struct Client {
    socket: Socket,
    requests: SendRequest<Bytes>,
    /// Reads and writes frames. It ends with the connection.
    driver: JoinHandle<()>,
    /// The request that was sent last.
    upload: Option<SendStream<Bytes>>,
    answer: Option<ResponseFuture>,
    /// What nobody listens to any more.
    beside: Vec<ResponseFuture>,
    body: Option<RecvStream>,
    head: Option<Head>,
}

impl Client {
    pub(super) async fn new(socket: Socket) -> anyhow::Result<Self> {
        let (requests, connection) = handshake(socket.stream()?).await?;
        let driver = tokio::spawn(async move {
            // How the connection ended, each request hears for itself.
            connection.await.ok();
        });
        Ok(Client {
            socket,
            requests,
            driver,
            upload: None,
            answer: None,
            beside: Vec::new(),
            body: None,
            head: None,
        })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) async fn send(&mut self, ask: Ask) -> anyhow::Result<()> {
        let Ask { method, headers, upload } = ask;
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
        let (answer, mut upload) = requests.send_request(request, bare)?;
        if sent > 0 {
            upload.send_data("x".repeat(sent).into(), !rest)?;
        }
        (self.answer, self.upload, self.body, self.head) = (Some(answer), Some(upload), None, None);
        Ok(())
    }

    /// Asks to speak another protocol on a stream, as soon as the server has said that it allows that.
    pub(super) async fn connect(&mut self) -> anyhow::Result<()> {
        until("the server allows it", || self.requests.is_extended_connect_protocol_enabled()).await?;
        let mut request = Request::builder().method("CONNECT").uri("http://a/").body(())?;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let (answer, upload) = self.requests.send_request(request, false)?;
        (self.answer, self.upload) = (Some(answer), Some(upload));
        Ok(())
    }

    pub(super) async fn echo(&mut self) -> anyhow::Result<()> {
        self.upload.as_mut().context("nothing was asked")?.send_data("x".into(), false)?;
        let body = self.body.as_mut().context("nothing was answered")?;
        let data = timeout(BOUND, body.data()).await.context("an echo")?;
        ensure!(data.context("the end of the stream")?? == "x", "not an echo");
        Ok(())
    }

    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.upload.as_mut().context("nothing was asked")?.send_data(Bytes::new(), true)?)
    }

    /// Dropping an answer resets its stream, so it is kept.
    pub(super) async fn send_beside(&mut self, ask: Ask) -> anyhow::Result<()> {
        self.beside.extend(self.answer.take());
        self.send(ask).await
    }

    pub(super) async fn head(&mut self) -> anyhow::Result<Option<Head>> {
        let answer = self.answer.take().context("nothing was asked")?;
        let Ok(answer) = timeout(BOUND, answer).await.context("the server answers, or closes")? else {
            return Ok(None);
        };
        let (parts, body) = answer.into_parts();
        self.body = Some(body);
        self.head = Some(Head { status: parts.status.as_u16(), headers: parts.headers });
        Ok(self.head.clone())
    }

    pub(super) async fn whole(&mut self) -> anyhow::Result<Whole> {
        if self.head.is_none() {
            self.head().await?;
        }
        let mut whole = Whole { head: self.head.take(), ..Whole::default() };
        let Some(mut body) = self.body.take() else { return Ok(whole) };
        loop {
            match timeout(BOUND, body.data()).await.context("the server says more, or closes")? {
                None => break,
                Some(Err(_)) => return Ok(whole),
                Some(Ok(data)) => {
                    whole.bytes += data.len();
                    body.flow_control().release_capacity(data.len())?;
                }
            }
        }
        match timeout(BOUND, body.trailers()).await.context("trailers, or none")? {
            Ok(trailers) => whole.trailers = trailers.is_some(),
            Err(_) => return Ok(whole),
        }
        whole.complete = true;
        Ok(whole)
    }

    pub(super) fn reset_stream(&mut self) -> anyhow::Result<()> {
        self.upload.as_mut().context("nothing was asked")?.send_reset(Reason::CANCEL);
        Ok(())
    }

    pub(super) async fn closed(&mut self) -> anyhow::Result<()> {
        timeout(BOUND, &mut self.driver).await.context("the server closes")??;
        ensure!(self.driver.is_finished(), "it was awaited");
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It would go on until the server closes; with it goes its descriptor.
        self.driver.abort();
    }
}
