//! Where connections come from, and what goes wrong there.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use reqscope::Exit;
use reqscope_hyper::RequestExt;
use reqscope_testkit::{Probe, until};
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
            // A machine without IPv6 cannot tell us anything about it.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && address.starts_with('[') => continue,
            listener => listener.unwrap(),
        };
        let address = listener.local_addr().unwrap();
        let server = Server::start_on(listener, Setup::default(), Probe::new(), hello);
        is_answered(TcpStream::connect(address).await.unwrap()).await;
        assert!(server.stop().await.is_clean());
    }
}

/// A socket file that goes with the test.
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
async fn a_unix_socket_is_served() {
    let file = SocketFile::new("served");
    let server = Server::start_on(UnixListener::bind(&file.0).unwrap(), Setup::default(), Probe::new(), hello);
    is_answered(UnixStream::connect(&file.0).await.unwrap()).await;
    assert!(server.stop().await.is_clean());
}

#[cfg(not(reqscope_portable))]
#[tokio::test]
async fn a_unix_socket_is_watched() {
    for half_close in [false, true] {
        let file = SocketFile::new(if half_close { "half" } else { "whole" });
        let setup = Setup { half_close, ..Setup::default() };
        let mut server = Server::start_on(UnixListener::bind(&file.0).unwrap(), setup, Probe::new(), waits);
        let mut client = UnixStream::connect(&file.0).await.unwrap();
        client.write_all([GET, GET].concat().as_bytes()).await.unwrap();
        server.hears(Event::Waits).await;
        if half_close {
            client.shutdown().await.unwrap();
            server.is_silent().await;
        }
        drop(client);
        server.cuts_the_handler().await;
        assert!(server.stop().await.is_clean());
    }
}

/// What hyper does with a request that is followed by its close at once: the handler is called, and never polled.
#[tokio::test]
async fn in_memory_a_request_and_its_close_are_polled_zero_times() {
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
async fn a_listener_that_fails_for_ever_is_asked_ever_less_often_and_ends_nothing() {
    let listener = InMemory::new([Step::FailsForEver(too_many_files)]);
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
async fn after_the_error_the_next_connection_is_served() {
    let (client, io) = duplex(1024);
    let steps = [Step::Fails(too_many_files), Step::Fails(too_many_files), Step::Accepts(io)];
    let server = Server::start_on(InMemory::new(steps), Setup::default(), Probe::new(), hello);
    is_answered(client).await;
    let report = server.stop().await;
    assert_eq!((report.accept_errors, report.connections), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_aborted_connection_does_not_keep_the_next_one_waiting() {
    let (client, io) = duplex(1024);
    let steps = [Step::Fails(|| rustix::io::Errno::CONNABORTED.into()), Step::Accepts(io)];
    let server = Server::start_on(InMemory::new(steps), Setup::default(), Probe::new(), hello);
    let began = Instant::now();
    is_answered(client).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(server.stop().await.accept_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_but_aborted_connections_is_no_spin() {
    let listener = InMemory::new([Step::FailsForEver(|| rustix::io::Errno::CONNABORTED.into())]);
    let accepts = listener.accepts();
    let server = Server::start_on(listener, Setup::default(), Probe::new(), hello);
    sleep(Duration::from_secs(10)).await;
    assert!(accepts.load(Relaxed) < 100, "{accepts:?}");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_watched_is_closed_and_counted() {
    let ((mut first, unwatched), (second, io)) = (duplex(1024), duplex(1024));
    let steps = [Step::AcceptsUnwatched(unwatched, || io::Error::other("no socket")), Step::Accepts(io)];
    let server = Server::start_on(InMemory::new(steps), Setup::default(), Probe::new(), hello);
    assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
    is_answered(second).await;
    let report = server.stop().await;
    assert_eq!((report.accept_errors, report.connections), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_only_lacks_a_descriptor_waits_for_it() {
    let (client, unwatched) = duplex(1024);
    let listener = InMemory::new([Step::AcceptsUnwatched(unwatched, too_many_files)]);
    let server = Server::start_on(listener, Setup::default(), Probe::new(), hello);
    is_answered(client).await;
    let report = server.stop().await;
    assert_eq!((report.accept_errors, report.connections), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_the_watch_nobody_asks_for_one() {
    let (client, unwatched) = duplex(1024);
    let listener = InMemory::new([Step::AcceptsUnwatched(unwatched, || io::Error::other("no socket"))]);
    let setup = Setup { watch: false, ..Setup::default() };
    let server = Server::start_on(listener, setup, Probe::new(), hello);
    is_answered(client).await;
    assert_eq!(server.stop().await.accept_errors, 0);
}

#[tokio::test]
async fn beyond_the_limit_connections_wait_for_one_to_end() {
    let mut server = Server::start(Setup { max_connections: 1, ..Setup::default() }, waits).await;
    let mut first = Client::connect(server.address).await;
    first.send(GET).await;
    server.hears(Event::Waits).await;
    let mut second = Client::connect(server.address).await;
    second.send(GET).await;
    server.is_silent().await;

    first.rst();
    server.hears(Event::Dropped).await;
    server.hears(Event::Waits).await;
    server.open_gate();
    second.read_until("done").await;
    server.releases(Exit::Completed).await;
}

#[tokio::test]
#[should_panic = "serves nobody"]
async fn a_limit_of_zero_is_refused() {
    Server::start(Setup { max_connections: 0, ..Setup::default() }, waits).await;
}

/// hyper's own limit for a request's head begins when it knows the version of HTTP.
#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_request_does_not_hold_its_place() {
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
async fn a_request_may_take_longer_than_the_first_one_may_take_to_come() {
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

/// The trouble that nobody awaits is told.
#[tokio::test(start_paused = true)]
async fn trouble_is_heard() {
    use reqscope_hyper::{ServeEvent, serve};

    let (mut client, io): (DuplexStream, _) = duplex(1024);
    let heard: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let hear = Arc::clone(&heard);
    let service = hyper::service::service_fn(|_| async { Err::<Response<String>, _>("no answer") });
    let serving =
        serve(InMemory::new([Step::Fails(too_many_files), Step::Accepts(io)]), service, &reqscope::Scopes::new())
            .on_event(move |event| {
                hear.lock().unwrap().push(match event {
                    ServeEvent::AcceptFailed(error) => error.to_string(),
                    ServeEvent::ConnectionFailed(error) => std::error::Error::source(error).unwrap().to_string(),
                    _ => unreachable!(),
                });
            })
            .graceful(sleep(BOUND));
    client.write_all(GET.as_bytes()).await.unwrap();
    let report = serving.await;
    assert_eq!((report.accept_errors, report.failed), (1, 1));
    let heard = heard.lock().unwrap();
    assert!(heard[0].contains("Too many open files") && heard[1].contains("no answer"), "{heard:?}");
}
