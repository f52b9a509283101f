//! Clients that disconnect at each byte of a request and of its response, over a stream in memory. Whatever was sent, the
//! handle of the body is released once, and what was to follow its COMMIT runs if and only if that happened.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use reqscope::{Exit, Guard, Lease};
use reqscope_hyper::{LeaseBody, RequestExt};
use reqscope_testkit::{Outcome, Probe, Verb};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use crate::support::{Answer, BoxError, Context, InMemory, Server, Setup, Step};

const SECOND: Duration = Duration::from_secs(1);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

type Make = fn(Lease<Probe>, Work) -> UnsyncBoxBody<Bytes, BoxError>;
type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn empty(lease: Lease<Probe>, work: Work) -> UnsyncBoxBody<Bytes, BoxError> {
    LeaseBody::new(Empty::new(), lease).on_completed(work).map_err(Into::into).boxed_unsync()
}

fn known(lease: Lease<Probe>, work: Work) -> UnsyncBoxBody<Bytes, BoxError> {
    LeaseBody::new(Full::from("0123456789"), lease).on_completed(work).map_err(Into::into).boxed_unsync()
}

fn streamed(lease: Lease<Probe>, work: Work) -> UnsyncBoxBody<Bytes, BoxError> {
    let body = LeaseBody::unfold(lease, 2, |lease, left| async move {
        sleep(SECOND).await;
        Ok::<_, Infallible>((lease, left - 1, (left > 0).then(|| Bytes::from_static(b"row"))))
    });
    body.on_completed(work).map_err(Into::into).boxed_unsync()
}

/// What one client has seen, and what became of the handle.
struct Seen {
    answer: Vec<u8>,
    exit: Option<Exit>,
    ran: usize,
}

/// Sends `sent` bytes of a request, reads up to `read` bytes of the response, and disconnects.
async fn play(make: Make, sent: usize, read: usize) -> Seen {
    // One byte at a time, so that the server never runs ahead of the client.
    let (mut client, io) = duplex(1);
    let ran = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&ran);
    let handler = move |request: Request<Incoming>, context: Context| {
        let ran = Arc::clone(&counts);
        async move {
            let lease = Guard::detach(request.scope().lazy(&context.probe).get().await?);
            let work = Box::pin(async move { assert_eq!(ran.fetch_add(1, Relaxed), 0) });
            Answer::Ok(Response::new(make(lease, work)))
        }
    };
    let probe = Probe::new().settling();
    probe.on(Verb::Release).next(Outcome::ok().after(SECOND));
    let server = Server::start_on(InMemory::new([Step::Accepts(io)]), Setup::default(), probe, handler);
    let probe = Arc::clone(&server.probe);
    client.write_all(&GET[..sent]).await.unwrap();
    let mut answer = vec![0; read];
    let mut got = 0;
    // A request that is cut gets no answer.
    while let Ok(Ok(1..)) = timeout(5 * SECOND, client.read(&mut answer[got..=got])).await {
        got += 1;
        if got == read {
            break;
        }
    }
    answer.truncate(got);
    drop(client);
    let report = server.stop().await;
    assert!(report.is_clean(), "{sent} {read}: {report:?}");
    let counts = probe.counts();
    assert_eq!((counts.live(), counts.abandoned, counts.double_released), (0, 0, 0), "{sent} {read}");
    let releases = probe.releases();
    assert!(releases.len() <= 1, "{releases:?}");
    Seen { answer, exit: releases.first().map(|release| release.exit), ran: ran.load(Relaxed) }
}

#[tokio::test(start_paused = true)]
async fn client_that_disconnects_at_each_byte_of_the_response() {
    for make in [empty as Make, known, streamed] {
        let whole = play(make, GET.len(), 1000).await;
        assert_eq!((whole.exit, whole.ran), (Some(Exit::Completed), 1));
        for read in 1..=whole.answer.len() {
            let seen = play(make, GET.len(), read).await;
            assert_eq!(seen.ran, usize::from(seen.exit == Some(Exit::Completed)), "after {read} bytes");
            let is_whole = read == whole.answer.len();
            assert!(!is_whole || seen.exit == Some(Exit::Completed), "a whole response, and no COMMIT");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_disconnects_at_each_byte_of_the_request() {
    for sent in 0..GET.len() {
        let seen = play(streamed, sent, 1).await;
        assert_eq!((seen.exit, seen.ran, seen.answer.len()), (None, 0, 0), "after {sent} bytes");
    }
}

/// The client reads, but so slowly that the handle would be kept for hours.
#[tokio::test(start_paused = true)]
async fn client_that_drips_over_http1_loses_the_handle() {
    let (mut client, io) = duplex(1);
    let handler = move |request: Request<Incoming>, context: Context| async move {
        let lease = Guard::detach(request.scope().lazy(&context.probe).get().await?);
        let body = LeaseBody::from_fn(lease, |lease| async move {
            Ok::<_, Infallible>((lease, Some(Bytes::from_static(&[0; 16 << 10]))))
        });
        Answer::Ok(Response::new(body.map_err(Into::into).boxed_unsync()))
    };
    let server = Server::start_on(InMemory::new([Step::Accepts(io)]), Setup::default(), Probe::new(), handler);
    client.write_all(GET).await.unwrap();
    for _ in 0..40 {
        client.read_exact(&mut [0; 100]).await.unwrap();
        sleep(SECOND).await;
    }
    server.expect_released(Exit::Cancelled).await;
}

/// The runtime of the server ends while a body is streamed, in whatever order its tasks are dropped.
#[test]
fn runtime_that_ends_midway_leaves_no_handle() {
    for make in [empty as Make, known, streamed] {
        for seconds in 0..4 {
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let (probe, client, server) = runtime.block_on(async {
                let (mut client, io) = duplex(64);
                let probe = Probe::new().settling();
                probe.on(Verb::Release).next(Outcome::ok().after(SECOND));
                let handler = move |request: Request<Incoming>, context: Context| async move {
                    let lease = Guard::detach(request.scope().lazy(&context.probe).get().await?);
                    Answer::Ok(Response::new(make(lease, Box::pin(async {}))))
                };
                let server = Server::start_on(InMemory::new([Step::Accepts(io)]), Setup::default(), probe, handler);
                client.write_all(GET).await.unwrap();
                sleep(seconds * SECOND + SECOND / 2).await;
                (Arc::clone(&server.probe), client, server)
            });
            drop(runtime);
            let counts = probe.counts();
            assert_eq!((counts.live(), counts.double_released), (0, 0), "after {seconds} s: {counts:?}");
            assert_eq!(server.scopes.stats().live, 0);
            drop(client);
        }
    }
}
