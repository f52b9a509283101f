//! Timeouts for a peer that is alive and silent. The clock is paused, so the times are exact.

use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use reqscope::Scopes;
use reqscope_hyper::{RequestExt, serve};
use reqscope_testkit::Probe;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use crate::http2::{PING, frame, get};
use crate::support::{Answer, Context, Event, InMemory, Server, Serving, Setup, Step};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn waits(request: Request<Incoming>, context: Context) -> Answer {
    context.wait(request.scope().clone()).await;
    Ok(Response::new(crate::support::full("done")))
}

fn hello(io: DuplexStream, header_read_timeout: Duration) -> Serving {
    let service = hyper::service::service_fn(|_: Request<Incoming>| async {
        Ok::<_, std::convert::Infallible>(Response::new(String::from("hello")))
    });
    Serving::start(|signal| {
        serve(InMemory::new([Step::Accepts(io)]), service, &Scopes::new())
            .header_read_timeout(header_read_timeout)
            .graceful(signal)
            .into_future()
    })
}

#[tokio::test(start_paused = true)]
async fn head_of_a_request_is_limited() {
    let (mut client, io) = duplex(1024);
    let serving = hello(io, Duration::from_secs(7));
    let began = Instant::now();
    client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    sleep(Duration::from_secs(5)).await;
    // Sending a part of the head does not restart the limit.
    client.write_all(b"st").await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 7);
    assert_eq!(serving.stop().await.failed, 1);
}

#[tokio::test(start_paused = true)]
async fn keep_alive_is_limited() {
    let (mut client, io) = duplex(1024);
    let serving = hello(io, Duration::from_secs(7));
    for _ in 0..3 {
        client.write_all(GET.as_bytes()).await.unwrap();
        assert!(client.read(&mut [0; 1024]).await.unwrap() > 0);
        sleep(Duration::from_secs(6)).await;
    }
    let began = Instant::now();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 1);
    let report = serving.stop().await;
    assert_eq!(report.failed, 0, "an idle connection that is closed has not failed: {report:?}");
}

#[tokio::test(start_paused = true)]
async fn frozen_http2_peer_is_dropped_after_40_s() {
    let (mut client, io) = duplex(1024);
    client.write_all(&get()).await.unwrap();
    let mut server = Server::start_on(InMemory::new([Step::Accepts(io)]), Setup::default(), Probe::new(), waits);
    server.expect_event(Event::Waits).await;
    sleep(Duration::from_millis(39_800)).await;
    server.expect_no_event().await;
    sleep(Duration::from_millis(200)).await;
    server.expect_handler_dropped().await;
    assert!(server.stop().await.is_clean());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn http2_peer_that_answers_pings_is_kept() {
    let (mut client, io) = duplex(1024);
    client.write_all(&get()).await.unwrap();
    let mut server = Server::start_on(InMemory::new([Step::Accepts(io)]), Setup::default(), Probe::new(), waits);
    let answers = tokio::spawn(async move {
        let mut pings = 0;
        let mut head = [0; 9];
        while client.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
            client.read_exact(&mut payload).await.unwrap();
            if head[3] == PING && head[4] == 0 {
                client.write_all(&frame(PING, 1, 0, &payload)).await.unwrap();
                pings += 1;
            }
        }
        pings
    });
    server.expect_event(Event::Waits).await;
    sleep(Duration::from_secs(100)).await;
    server.expect_handler_to_finish().await;
    assert!(server.stop().await.is_clean());
    assert!(answers.await.unwrap() >= 4);
}
