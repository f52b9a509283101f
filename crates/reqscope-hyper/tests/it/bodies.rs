//! How hyper polls response bodies, and how the lease in a body ends.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use reqscope::error::Chain;
use reqscope::{Error, Exit, Guard, Lease, Scopes};
use reqscope_hyper::{LeaseBody, RequestExt, ScopeService, ServeEvent, serve};
use reqscope_testkit::{Probe, Scripted, Verb};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::sleep;

use crate::support::{Answer, Client, Context, Event, InMemory, Server, Setup, Step};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// Detaches the request's handle from its scope, for the body.
async fn detached(request: &Request<Incoming>, context: &Context) -> Lease<Probe> {
    Guard::detach(request.scope().lazy(&context.probe).get().await.unwrap())
}

async fn known_length(request: Request<Incoming>, context: Context) -> Answer {
    let body = LeaseBody::new(Full::from("0123456789"), detached(&request, &context).await);
    Ok(Response::new(body.map_err(Into::into).boxed_unsync()))
}

/// Responds to `GET /<status>` with that status and an empty body.
async fn no_body(request: Request<Incoming>, context: Context) -> Answer {
    let status: StatusCode = request.uri().path()[1..].parse()?;
    let body = LeaseBody::new(Empty::new(), detached(&request, &context).await);
    Ok(Response::builder().status(status).body(body.map_err(Into::into).boxed_unsync())?)
}

async fn answer_to(server: &Server, request: &str) -> String {
    let mut client = Client::connect(server.address).await;
    client.send(request).await;
    String::from_utf8(client.read_to_end().await).unwrap()
}

#[tokio::test]
async fn body_of_known_length_keeps_its_length_and_completes() {
    for probe in [Probe::new(), Probe::new().settling()] {
        let server = Server::start_with(Setup::default(), probe, known_length).await;
        let answer = answer_to(&server, &get("/")).await.to_lowercase();
        assert!(answer.contains("content-length: 10\r\n") && answer.ends_with("0123456789"), "{answer}");
        server.expect_released(Exit::Completed).await;
    }
}

#[tokio::test]
async fn failed_commit_after_the_head_cuts_the_response() {
    let probe = Probe::new().settling();
    probe.on(Verb::Release).error();
    let server = Server::start_with(Setup::default(), probe, known_length).await;
    let answer = answer_to(&server, &get("/")).await;
    assert!(!answer.contains("0123456789"), "{answer}");
}

#[tokio::test]
async fn body_of_a_head_response_is_dropped_unpolled() {
    let server = Server::start(Setup::default(), known_length).await;
    let answer = answer_to(&server, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.to_lowercase();
    assert!(answer.contains("content-length: 10\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    server.expect_released(Exit::Cancelled).await;
}

/// hyper asks for the end of an empty body, because it reports no length. It does not ask where a response has no body.
#[tokio::test]
async fn empty_body_completes_where_a_response_has_a_body() {
    for (status, exit) in [(200, Exit::Completed), (204, Exit::Cancelled), (304, Exit::Cancelled)] {
        for probe in [Probe::new(), Probe::new().settling()] {
            let server = Server::start_with(Setup::default(), probe, no_body).await;
            let answer = answer_to(&server, &get(&format!("/{status}"))).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")));
            server.expect_released(exit).await;
        }
    }
}

/// The response was never sent, so its transaction must not be committed, nor its mail sent.
#[tokio::test]
async fn empty_body_of_an_unsent_response_is_cancelled() {
    async fn replaced(request: Request<Incoming>, context: Context) -> Answer {
        drop(no_body(request, context).await?);
        Ok(Response::builder().status(500).body(crate::support::empty())?)
    }
    let server = Server::start_with(Setup::default(), Probe::new().settling(), replaced).await;
    assert!(answer_to(&server, &get("/200")).await.starts_with("HTTP/1.1 500 "));
    server.expect_released(Exit::Cancelled).await;
}

#[tokio::test]
async fn failed_commit_of_an_empty_body_cuts_the_response() {
    let probe = Probe::new().settling();
    probe.on(Verb::Release).error();
    let server = Server::start_with(Setup::default(), probe, no_body).await;
    let answer = answer_to(&server, &get("/200")).await;
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
}

/// A body without a lease: the wrapper of the scope does not make it chunked.
#[tokio::test]
async fn wrapper_preserves_lengths_and_ends() {
    async fn plain(request: Request<Incoming>, _context: Context) -> Answer {
        let body = match request.uri().path() {
            "/empty" => crate::support::empty(),
            _ => crate::support::full("plain"),
        };
        Ok(Response::new(body))
    }
    let server = Server::start(Setup::default(), plain).await;
    for (path, length) in [("/empty", 0), ("/full", 5)] {
        let answer = answer_to(&server, &get(path)).await.to_lowercase();
        assert!(answer.contains(&format!("content-length: {length}\r\n")) && !answer.contains("chunked"), "{answer}");
    }
}

#[tokio::test]
async fn trailers_are_sent_after_the_commit() {
    struct WithTrailers(Vec<Frame<Bytes>>);

    impl http_body::Body for WithTrailers {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(self.0.pop().map(Ok))
        }
    }

    async fn trailers(request: Request<Incoming>, context: Context) -> Answer {
        let trailers = HeaderMap::from_iter([("x-sum".parse()?, "42".parse()?)]);
        let frames = WithTrailers(vec![Frame::trailers(trailers), Frame::data(Bytes::from("rows"))]);
        let body = LeaseBody::new(frames, detached(&request, &context).await);
        Ok(Response::builder().header("trailer", "x-sum").body(body.map_err(Into::into).boxed_unsync())?)
    }

    let get = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n";
    let server = Server::start_with(Setup::default(), Probe::new().settling(), trailers).await;
    let answer = answer_to(&server, get).await;
    assert!(answer.contains("rows") && answer.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{answer}");
    server.expect_released(Exit::Completed).await;

    let probe = Probe::new().settling();
    probe.on(Verb::Release).error();
    let server = Server::start_with(Setup::default(), probe, trailers).await;
    let answer = answer_to(&server, get).await;
    assert!(!answer.contains("x-sum: 42"), "{answer}");
}

mod streamed_body {
    use super::*;

    /// Sends one chunk, and the next one when the test opens the gate.
    async fn streams(request: Request<Incoming>, context: Context) -> Answer {
        let lease = detached(&request, &context).await;
        let mut made = 0;
        let body = LeaseBody::from_fn(lease, move |lease| {
            made += 1;
            let context = context.clone();
            async move {
                if made == 2 {
                    context.wait_here().await;
                }
                let chunk = (made <= 2).then(|| Bytes::from(format!("chunk {made}")));
                Ok::<_, std::convert::Infallible>((lease, chunk))
            }
        });
        Ok(Response::new(body.map_err(Into::into).boxed_unsync()))
    }

    async fn waiting(watch: bool) -> (Server, Client) {
        let mut server = Server::start(Setup { watch, ..Setup::default() }, streams).await;
        let mut client = Client::connect(server.address).await;
        client.send(get("/")).await;
        client.read_until("chunk 1").await;
        server.expect_event(Event::Waits).await;
        assert_eq!(server.scopes.stats().open_scopes, 0, "the scope closes when the handler returns");
        (server, client)
    }

    #[tokio::test]
    async fn completes_at_its_end() {
        let (mut server, mut client) = waiting(true).await;
        server.open_gate();
        server.expect_event(Event::Finished).await;
        client.read_until("chunk 2\r\n0\r\n\r\n").await;
        server.expect_released(Exit::Completed).await;
    }

    #[tokio::test]
    async fn is_dropped_when_its_client_disconnects() {
        for watch in [false, true] {
            let (mut server, client) = waiting(watch).await;
            client.fin();
            server.expect_handler_dropped().await;

            let (mut server, client) = waiting(watch).await;
            client.rst();
            server.expect_handler_dropped().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn outlives_the_timeout_of_the_handler() {
        let setup = Setup { timeout: Some(Duration::from_secs(1)), ..Setup::default() };
        let (mut client, io) = duplex(1024);
        let mut server = Server::start_on(InMemory::new([Step::Accepts(io)]), setup, Probe::new(), streams);
        client.write_all(get("/").as_bytes()).await.unwrap();
        server.expect_event(Event::Waits).await;
        sleep(Duration::from_secs(600)).await;
        server.open_gate();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("chunk 2") && answer.ends_with("0\r\n\r\n"), "{answer}");
        server.expect_event(Event::Finished).await;
        server.expect_released(Exit::Completed).await;
    }
}

/// The client sees that the response is not complete; the hook of the server sees why.
#[tokio::test(start_paused = true)]
async fn body_that_fails_midway_is_reported_as_event() {
    let (mut client, io) = duplex(1024);
    let scopes = Scopes::new();
    let probe = Arc::new(Probe::new());
    let service = ScopeService::new(
        &scopes,
        service_fn(move |request: Request<Incoming>| {
            let lazy = request.scope().lazy(&probe);
            async move {
                let lease = Guard::detach(lazy.get().await?);
                let body = LeaseBody::unfold(lease, 2, |lease, left| async move {
                    match left {
                        0 => Err(io::Error::other("the disk is full")),
                        _ => Ok((lease, left - 1, Some(Bytes::from_static(b"row")))),
                    }
                });
                Ok::<_, Error<Scripted>>(Response::new(body))
            }
        }),
    );
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let reported = Arc::clone(&events);
    let serving = serve(InMemory::new([Step::Accepts(io)]), service, &scopes)
        .on_event(move |event| match event {
            ServeEvent::ConnectionFailed(error) => reported.lock().unwrap().push(Chain(error).to_string()),
            _ => unreachable!(),
        })
        .graceful(async move {
            client.write_all(get("/").as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
        });
    assert_eq!(serving.await.failed, 1);
    let events = events.lock().unwrap();
    assert!(events.len() == 1 && events[0].contains("response body failed: the disk is full"), "{events:?}");
}

/// hyper drops a body before its last write, so the drop does not mean that the client has received it.
#[tokio::test]
async fn big_chunk_completes_before_its_client_has_read_it() {
    async fn big(request: Request<Incoming>, context: Context) -> Answer {
        let body = LeaseBody::new(Full::from(vec![0; 10 << 20]), detached(&request, &context).await);
        Ok(Response::new(body.map_err(Into::into).boxed_unsync()))
    }
    let server = Server::start(Setup::default(), big).await;
    let mut client = Client::connect(server.address).await;
    client.send(get("/")).await;
    server.expect_released(Exit::Completed).await;
    client.rst();
}
