//! Listeners: accepting connections, and errors while doing so.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use reqscope::Exit;
use reqscope_hyper::RequestExt;
use reqscope_testkit::{Probe, expect_panic, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, BOUND, Client, Context, Event, InMemory, Server, Setup, Step, full, too_many_files};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

async fn hello(_request: Request<Incoming>, _context: Context) -> Answer {
    Ok(Response::new(full("hello")))
}

async fn waits(request: Request<Incoming>, context: Context) -> Answer {
    context.wait(request.scope().clone()).await;
    Ok(Response::new(full("done")))
}

async fn is_answered<Io: AsyncReadExt + AsyncWriteExt + Unpin>(mut io: Io) {
    io.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn tcp_v4_and_v6_are_served() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = match TcpListener::bind(address).await {
            // This machine has no IPv6.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && address.starts_with('[') => continue,
            listener => listener.unwrap(),
        };
        let address = listener.local_addr().unwrap();
        let server = Server::start_on(listener, Setup::default(), Probe::new(), hello);
        is_answered(TcpStream::connect(address).await.unwrap()).await;
        assert!(server.stop().await.is_clean());
    }
}

/// A socket file that is removed when the test ends.
struct SocketFile(std::path::PathBuf);

impl SocketFile {
    fn new(name: &str) -> Self {
        SocketFile(std::env::temp_dir().join(format!("reqscope-{}-{name}", std::process::id())))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[tokio::test]
async fn unix_socket_is_served() {
    let file = SocketFile::new("served");
    let server = Server::start_on(UnixListener::bind(&file.0).unwrap(), Setup::default(), Probe::new(), hello);
    is_answered(UnixStream::connect(&file.0).await.unwrap()).await;
    assert!(server.stop().await.is_clean());
}

#[cfg(not(reqscope_portable))]
#[tokio::test]
async fn unix_socket_is_watched() {
    for half_close in [false, true] {
        let file = SocketFile::new(if half_close { "half" } else { "whole" });
        let setup = Setup { half_close, ..Setup::default() };
        let mut server = Server::start_on(UnixListener::bind(&file.0).unwrap(), setup, Probe::new(), waits);
        let mut client = UnixStream::connect(&file.0).await.unwrap();
        client.write_all([GET, GET].concat().as_bytes()).await.unwrap();
        server.expect_event(Event::Waits).await;
        if half_close {
            client.shutdown().await.unwrap();
            server.expect_no_event().await;
        }
        drop(client);
        server.expect_handler_dropped().await;
        assert!(server.stop().await.is_clean());
    }
}

/// If the close arrives together with the request, hyper calls the handler and never polls it.
#[tokio::test]
async fn request_closed_at_once_is_called_and_never_polled() {
    let (mut client, io) = duplex(1024);
    client.write_all(GET.as_bytes()).await.unwrap();
    drop(client);
    let (called, polled) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (calls, polls) = (Arc::clone(&called), Arc::clone(&polled));
    let handler = move |request: Request<Incoming>, context: Context| {
        calls.fetch_add(1, Relaxed);
        let polls = Arc::clone(&polls);
        let mut waits = Box::pin(waits(request, context));
        poll_fn(move |cx| {
            polls.fetch_add(1, Relaxed);
            waits.as_mut().poll(cx)
        })
    };
    let server = Server::start_on(InMemory::new([Step::Accepts(io)]), Setup::default(), Probe::new(), handler);
    until(BOUND, || called.load(Relaxed) == 1 && server.scopes.stats().open_scopes == 0).await;
    assert_eq!(server.scopes.stats().opened_scopes, 1, "opened in `call`");
    assert_eq!(polled.load(Relaxed), 0);
    assert!(server.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn listener_that_always_fails_is_retried_less_and_less() {
    let listener = InMemory::new([Step::FailsAlways(too_many_files)]);
    let accepts = listener.accepts();
    let server = Server::start_on(listener, Setup::default(), Probe::new(), hello);
    sleep(Duration::from_secs(10)).await;
    // 5, 10, 20, .. 640 ms, and then each second.
    assert!((16..=19).contains(&accepts.load(Relaxed)), "{accepts:?}");
    let began = Instant::now();
    let report = server.stop().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "a pause does not delay the shutdown");
    assert_eq!(report.accept_errors, accepts.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn connection_after_an_error_is_served() {
    let (client, io) = duplex(1024);
    let steps = [Step::Fails(too_many_files), Step::Fails(too_many_files), Step::Accepts(io)];
    let server = Server::start_on(InMemory::new(steps), Setup::default(), Probe::new(), hello);
    is_answered(client).await;
    let report = server.stop().await;
    assert_eq!((report.accept_errors, report.connections), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn aborted_connection_does_not_delay_the_next_one() {
    let (client, io) = duplex(1024);
    let steps = [Step::Fails(|| rustix::io::Errno::CONNABORTED.into()), Step::Accepts(io)];
    let server = Server::start_on(InMemory::new(steps), Setup::default(), Probe::new(), hello);
    let began = Instant::now();
    is_answered(client).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(server.stop().await.accept_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn listener_with_only_aborted_connections_does_not_spin() {
    let listener = InMemory::new([Step::FailsAlways(|| rustix::io::Errno::CONNABORTED.into())]);
    let accepts = listener.accepts();
    let server = Server::start_on(listener, Setup::default(), Probe::new(), hello);
    sleep(Duration::from_secs(10)).await;
    assert!(accepts.load(Relaxed) < 100, "{accepts:?}");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn connection_that_cannot_be_watched_is_closed_and_counted() {
    let ((mut first, unwatched), (second, io)) = (duplex(1024), duplex(1024));
    let steps = [Step::AcceptsUnwatched(unwatched, || io::Error::other("no socket")), Step::Accepts(io)];
    let server = Server::start_on(InMemory::new(steps), Setup::default(), Probe::new(), hello);
    assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
    is_answered(second).await;
    let report = server.stop().await;
    assert_eq!((report.accept_errors, report.connections), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn connection_without_a_descriptor_waits_for_one() {
    let (client, unwatched) = duplex(1024);
    let listener = InMemory::new([Step::AcceptsUnwatched(unwatched, too_many_files)]);
    let server = Server::start_on(listener, Setup::default(), Probe::new(), hello);
    is_answered(client).await;
    let report = server.stop().await;
    assert_eq!((report.accept_errors, report.connections), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn disabled_watch_is_never_created() {
    let (client, unwatched) = duplex(1024);
    let listener = InMemory::new([Step::AcceptsUnwatched(unwatched, || io::Error::other("no socket"))]);
    let setup = Setup { watch: false, ..Setup::default() };
    let server = Server::start_on(listener, setup, Probe::new(), hello);
    is_answered(client).await;
    assert_eq!(server.stop().await.accept_errors, 0);
}

#[tokio::test]
async fn connection_over_the_limit_waits_for_another_to_end() {
    let mut server = Server::start(Setup { max_connections: 1, ..Setup::default() }, waits).await;
    let mut first = Client::connect(server.address).await;
    first.send(GET).await;
    server.expect_event(Event::Waits).await;
    let mut second = Client::connect(server.address).await;
    second.send(GET).await;
    server.expect_no_event().await;

    first.rst();
    server.expect_event(Event::Dropped).await;
    server.expect_event(Event::Waits).await;
    server.open_gate();
    second.read_until("done").await;
    server.expect_released(Exit::Completed).await;
}

#[tokio::test]
async fn limit_of_zero_panics() {
    let listener = InMemory::new([]);
    let setup = Setup { max_connections: 0, ..Setup::default() };
    let message = expect_panic(|| Server::start_on(listener, setup, Probe::new(), hello));
    assert!(message.contains("must not be 0"), "{message}");
}

/// hyper's own limit for the head of a request starts when the version of HTTP is known.
#[tokio::test(start_paused = true)]
async fn client_without_a_request_is_closed_after_30_s() {
    for sent in ["", "PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHo"] {
        let (mut client, io) = duplex(1024);
        client.write_all(sent.as_bytes()).await.unwrap();
        let server = Server::start_on(InMemory::new([Step::Accepts(io)]), Setup::default(), Probe::new(), hello);
        let began = Instant::now();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 30, "{sent:?}");
        assert_eq!(server.stop().await.failed, 1, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_may_take_longer_than_the_first_request_timeout() {
    let (mut client, io) = duplex(1024);
    client.write_all(GET.as_bytes()).await.unwrap();
    let slow = |_, _| async {
        sleep(Duration::from_secs(100)).await;
        Ok(Response::new(full("slow")))
    };
    let server = Server::start_on(InMemory::new([Step::Accepts(io)]), Setup::default(), Probe::new(), slow);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("slow"), "{answer}");
    let report = server.stop().await;
    assert!(report.is_clean(), "{report:?}");
}

/// Failures that no caller receives are reported.
#[tokio::test(start_paused = true)]
async fn failures_are_reported_as_events() {
    use reqscope_hyper::{ServeEvent, serve};

    let (mut client, io): (DuplexStream, _) = duplex(1024);
    let events: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let reported = Arc::clone(&events);
    let service = hyper::service::service_fn(|_| async { Err::<Response<String>, _>("no answer") });
    let serving =
        serve(InMemory::new([Step::Fails(too_many_files), Step::Accepts(io)]), service, &reqscope::Scopes::new())
            .on_event(move |event| {
                reported.lock().unwrap().push(match event {
                    ServeEvent::AcceptFailed(error) => error.to_string(),
                    ServeEvent::ConnectionFailed(error) => std::error::Error::source(error).unwrap().to_string(),
                    _ => unreachable!(),
                });
            })
            .graceful(sleep(BOUND));
    client.write_all(GET.as_bytes()).await.unwrap();
    let report = serving.await;
    assert_eq!((report.accept_errors, report.failed), (1, 1));
    let events = events.lock().unwrap();
    assert!(events[0].contains("Too many open files") && events[1].contains("no answer"), "{events:?}");
}
